"""The command `python -m loadtest`: settings in, report and exit code out."""

import asyncio
import selectors
import sys
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from loadtest.arrivals import ClosedLoop, Load, open_loop
from loadtest.client import Client, Endpoint
from loadtest.corpus import MOST_TEXTS, CorpusError, generate_texts, read_texts, split_into_requests
from loadtest.measurement import Measurement
from loadtest.routes import ROUTES
from loadtest.runner import Limits, ServerError, probe, run
from loadtest.settings import Settings

SUCCESS, VIOLATED, BOTTLENECK, NOT_RUN, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (by default the process's own) and return its exit code."""
    try:
        settings = CliApp.run(Settings, cli_args=list(sys.argv[1:] if arguments is None else arguments))
        return load_and_report(settings)
    except ValidationError as error:
        return _refuse("\n".join(_describe(problem["loc"], problem["msg"]) for problem in error.errors()))
    except (SettingsError, CorpusError, ServerError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED


def load_and_report(settings: Settings) -> int:
    """Apply the load that `settings` describe, print and write the report, and return the exit code.

    Raises:
        CorpusError: the user's texts cannot be used.
        ServerError: there is no server to load.
    """
    # Imported here: `--help` and refused settings need neither.
    from rich.console import Console

    from loadtest.report import make_report, print_report, write_json
    from loadtest.slo import check, parse_objective

    measurement = _measure(settings)
    report = make_report(
        measurement,
        check([parse_objective(text) for text in settings.slo], measurement),
        texts_per_request=ROUTES[settings.route].texts(settings.texts_per_request),
        paced=settings.clients is None,
        settings=settings.model_dump(mode="json"),
    )
    print_report(report, Console())
    if settings.json_file is not None:
        try:
            write_json(report, settings.json_file)
        except OSError as error:
            return _refuse(f"--json: {settings.json_file}: {error.strerror}")
    if report.ending == "interrupted":
        return INTERRUPTED
    if report.generator.bottlenecks:
        return BOTTLENECK
    failed = report.ending == "too many errors" or not report.requests.succeeded
    return VIOLATED if failed or not all(verdict.holds for verdict in report.slo) else SUCCESS


def _measure(settings: Settings) -> Measurement:
    load = _load(settings)
    endpoint, requests = _requests(settings)
    # epoll waits in whole milliseconds, select in microseconds: requests leave on time without burning a core.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(_probe_and_run(settings, endpoint, requests, load))


async def _probe_and_run(settings: Settings, endpoint: Endpoint, requests: list[bytes], load: Load) -> Measurement:
    route = ROUTES[settings.route]
    texts = route.texts(settings.texts_per_request)

    def is_answer(body: bytes) -> bool:
        return route.is_answer(body, texts)

    limits = Limits(
        warmup=settings.warmup,
        duration=settings.duration,
        timeout=settings.timeout,
        max_requests=settings.max_requests,
        max_errors=settings.max_errors,
    )
    client = Client(endpoint, connections=settings.clients or settings.connections)
    try:
        await probe(client, requests[0], is_answer, timeout=settings.timeout)
        return await run(client, requests, is_answer, load, limits)
    except ServerError as error:
        raise ServerError(f"{_target(settings)}: {error}") from error
    finally:
        await client.close()


def _load(settings: Settings) -> Load:
    seconds = settings.warmup + settings.duration
    if settings.clients is not None:
        return ClosedLoop(settings.clients, seconds)
    assert settings.rate is not None  # the settings fill it in where --clients is absent
    return open_loop(settings.arrivals, rate=settings.rate, seconds=seconds, seed=settings.seed)


def _requests(settings: Settings) -> tuple[Endpoint, list[bytes]]:
    route = ROUTES[settings.route]
    if settings.corpus is None:
        texts = generate_texts(MOST_TEXTS, seed=settings.seed)
    else:
        texts = read_texts(settings.corpus, seed=settings.seed)
    endpoint = Endpoint.from_url(_target(settings))
    api_key = settings.api_key.get_secret_value() if settings.api_key else None
    batches = split_into_requests(texts, route.texts(settings.texts_per_request))
    return endpoint, [endpoint.request(route.encode(batch, settings.model), api_key=api_key) for batch in batches]


def _target(settings: Settings) -> str:
    return str(settings.url).rstrip("/") + ROUTES[settings.route].path


def _describe(location: tuple[int | str, ...], message: str) -> str:
    flag = f"--{str(location[0]).replace('_', '-')}: " if location else ""
    return flag + message.removeprefix("Value error, ")


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
