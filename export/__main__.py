"""`python -m export`: parses the command line and turns the outcome into an exit code. Exports nothing itself."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import NoReturn

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from bundle.errors import DiscoError
from export.benchmark.cli import benchmark_command
from export.errors import ExportError
from export.settings import ExportSettings

UNEXPECTED = 1
BAD_INPUT = 2
SYSTEM_FAILED = 4
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one export and return its exit code; see `python -m export --help` for what each means."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["benchmark"]:
        return _in_exit_codes(partial(benchmark_command, arguments[1:]), show_traceback=True)
    try:
        settings = CliApp.run(ExportSettings, cli_args=arguments)
    except ValidationError as error:
        return _fail("; ".join(_in_words(item["loc"], item["msg"]) for item in error.errors()), BAD_INPUT)
    except SettingsError as error:
        return _fail(str(error), BAD_INPUT)
    return _in_exit_codes(partial(_export, settings), show_traceback=settings.traceback)


def _in_exit_codes(run: Callable[[], None], *, show_traceback: bool) -> int:
    try:
        run()
    except ExportError as error:
        return _fail(str(error), error.exit_code)
    except DiscoError as error:
        return _fail(str(error), BAD_INPUT)
    except OSError as error:
        return _fail(str(error), SYSTEM_FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written", INTERRUPTED)
    except Exception as error:  # noqa: BLE001  # a process boundary: a bug becomes one line and an exit code too
        if show_traceback:
            traceback.print_exc()
        return _fail(f"unexpected {type(error).__name__}: {_one_line(str(error))}", UNEXPECTED)
    return 0


def _export(settings: ExportSettings) -> None:
    # Both are read when the libraries are imported, so they must be set before anything heavy is.
    os.environ.setdefault("HF_HUB_ENABLE_HF_TRANSFER", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would report its use and leave a file in /tmp
    from rich.console import Console

    from bundle.sts import data_directory, with_sts
    from export.build import build

    build(settings, data=with_sts(data_directory()), console=Console())


def _in_words(location: tuple[int | str, ...], message: str) -> str:
    flag = "--" + str(location[0]).replace("_", "-") if location else "settings"
    return f"{flag}: {message}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fail(message: str, code: int) -> int:
    print(f"error: {_one_line(message)}", file=sys.stderr)
    return code


def _exit_on_signal(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    # Half-written folders are removed as an exception passes, and SIGTERM on its own raises none.
    signal.signal(signal.SIGTERM, _exit_on_signal)
    sys.exit(main())
