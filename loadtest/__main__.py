"""The command `python -m loadtest`: settings in, report and exit code out."""

import asyncio
import sys
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from loadtest.corpus import CorpusError
from loadtest.exits import INTERRUPTED, NOT_RUN
from loadtest.lengths import LengthsError
from loadtest.runner import ServerError
from loadtest.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (by default the process's own) and return its exit code."""
    try:
        settings = CliApp.run(Settings, cli_args=list(sys.argv[1:] if arguments is None else arguments))
        # Imported here: `--help` and refused settings need no terminal and no reports.
        from loadtest.commands import load_and_report, search_and_report

        return search_and_report(settings) if settings.find_capacity else load_and_report(settings)
    except ValidationError as error:
        return _refuse("\n".join(_describe(problem["loc"], problem["msg"]) for problem in error.errors()))
    except (SettingsError, CorpusError, LengthsError, ServerError) as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED


def _describe(location: tuple[int | str, ...], message: str) -> str:
    flag = f"--{str(location[0]).replace('_', '-')}: " if location else ""
    return flag + message.removeprefix("Value error, ")


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
