"""The command `python -m loadtest.peers`: settings in, record and exit code out."""

import shlex
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from loadtest.peers.errors import PreparationError
from loadtest.peers.settings import Settings

SUCCESS, NOT_RUN, INTERRUPTED = 0, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (by default the process's own) and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        settings = CliApp.run(Settings, cli_args=words)
    except (ValidationError, SettingsError) as error:
        return _refuse(str(error))

    # Imported here: `--help` and refused settings need neither.
    from loadtest.peers.comparison import compare
    from loadtest.peers.record import write

    # Servers are to be ended in that case as well.
    handler = signal.signal(signal.SIGTERM, _interrupt)
    try:
        write(compare(settings, f"python -m loadtest.peers {shlex.join(words)}"), settings.json_file)
    except (PreparationError, OSError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, handler)
    return SUCCESS


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
