"""`python -m server`: reads the settings and runs the application until SIGTERM or Ctrl-C."""

import os
import sys

from pydantic import ValidationError
from pydantic_settings import CliApp

from server.settings import ServerSettings


def main() -> int:
    """Serve; returns the exit status: 0 after an orderly end, 1 for a bundle that cannot be served, 2 for settings."""
    try:
        settings = CliApp.run(ServerSettings)
    except ValidationError as error:
        for problem in error.errors():
            flag = "".join(f"--{part}: " for part in problem["loc"]).replace("_", "-")
            print(f"python -m server: {flag}{problem['msg']}", file=sys.stderr)
        return 2
    return serve(settings)


def serve(settings: ServerSettings) -> int:
    """Run the application until it is told to stop."""
    # The few texts of one request gain nothing from more threads, which would take the engine's cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Imported here so that --help and wrong flags are answered at once.
    from bundle.errors import DiscoError
    from server.logs import configure_logging

    if settings.front_ends == 1:
        from server.process import run
    else:
        from server.supervisor import run

    configure_logging(settings.log_level, as_json=settings.json_logs)
    status = 0
    try:
        run(settings)
    except* DiscoError as failures:  # Litestar's lifespan wraps what it raises into a group
        for error in failures.exceptions:
            print(f"python -m server: {error}", file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
