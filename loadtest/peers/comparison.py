"""A whole comparison: start and check the systems, let them take turns, and say what came of it."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path

from loadtest.machine import describe_machine
from loadtest.peers import record
from loadtest.peers.answers import Vectors, check, read_vectors
from loadtest.peers.environments import versions
from loadtest.peers.errors import AbsentError, PreparationError
from loadtest.peers.measure import Figures, Load, all_loads, measure
from loadtest.peers.preparation import prepare, prepare_environment, reference_vectors
from loadtest.peers.record import Record, SystemRecord
from loadtest.peers.server import Server, serve
from loadtest.peers.settings import Settings
from loadtest.peers.systems import OURS, Places, Reference, System, systems
from loadtest.peers.texts import Length, Texts, make_texts
from loadtest.peers.turns import Results, take_turns

CHECKED = [
    "A child reads a book.",
    "Shares fell sharply.",
    "how do i reset my password",
    "The night train runs again. " * 20,
]
"""Texts of several lengths, the vectors of which are compared with the reference: one by one and all at once."""


def compare(settings: Settings, command: str) -> Record:
    """Measure all systems that can be.

    Raises:
        PreparationError: there are no reference vectors, so nobody can be checked.
    """
    places = prepare(settings)
    references = reference_vectors(places, CHECKED)
    texts = make_texts(places.teacher / "tokenizer.json", seed=settings.seed)
    loads = [load for load in all_loads() if not settings.loads or any(part in load.name for part in settings.loads)]
    if not loads:
        raise PreparationError(f"--loads: none of {', '.join(load.name for load in all_loads())} is meant")
    wanted = choose_systems(systems(places), settings.only)
    logs = places.environments / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as running:
        servers: dict[str, Server] = {}
        described: dict[str, SystemRecord] = {}
        for system in wanted:
            try:
                with ExitStack() as attempt:
                    server = attempt.enter_context(_start(system, places, logs, settings.patience))
                    described[system.name] = _describe(server, references, places)
                    server.hold()
                    running.enter_context(attempt.pop_all())  # who is refused is ended at once
                servers[system.name] = server
            except AbsentError as error:
                described[system.name] = _absent(system, str(error))
        results = _measure(servers, loads, texts, settings)
    for name, reason in results.absent.items():
        described[name] = _absent(next(system for system in wanted if system.name == name), reason)
    return Record(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=record.commit(),
        machine=describe_machine(),
        command=command,
        settings=settings.model_dump(mode="json"),
        ours=OURS,
        systems=described,
        rows=record.make_rows(results.figures, wanted, OURS),
    )


def choose_systems(known: Sequence[System], prefixes: Sequence[str]) -> list[System]:
    """Those whose names begin so, and ours, to which everything is a ratio; all of them without `prefixes`.

    Raises:
        PreparationError: no name begins with one of `prefixes`.
    """
    for prefix in prefixes:
        if not any(system.name.startswith(prefix) for system in known):
            raise PreparationError(
                f"--only {prefix}: no system's name begins so; there are {', '.join(system.name for system in known)}"
            )
    return [
        system for system in known if not prefixes or system.name == OURS or system.name.startswith(tuple(prefixes))
    ]


def _start(system: System, places: Places, logs: Path, patience: float) -> AbstractContextManager[Server]:
    if system.missing:
        raise AbsentError(system.missing)
    if system.environment:
        prepare_environment(system.environment, places)
    print(f"starting {system.name}", file=sys.stderr)
    return serve(system, logs / f"{system.name}.log", patience=patience)


def _describe(server: Server, references: Mapping[Reference, Vectors], places: Places) -> SystemRecord:
    """Check what the server computes, and tell what it is.

    Raises:
        AbsentError: its vectors are not those of the reference.
    """
    system, reference = server.system, references[server.system.reference]
    at_once = check(_embed(server, CHECKED), reference, least_cosine=system.least_cosine)
    one_by_one = [
        check(_embed(server, [text]), reference[i : i + 1], least_cosine=system.least_cosine)
        for i, text in enumerate(CHECKED)
    ]
    python = places.python(system.environment) if system.environment else system.command[0]
    return SystemRecord(
        title=system.title,
        command=_without_folders(shlex.join(system.command)),
        reference=system.reference,
        lowest_cosine=round(min(at_once, *one_by_one), 5),
        startup_seconds=round(server.startup_seconds, 2),
        engine=server.engine(),
        versions=versions(Path(python), system.packages) if system.packages else {},
    )


def _embed(server: Server, texts: list[str]) -> Vectors:
    return read_vectors(server.system.route, server.embed(texts))


def _absent(system: System, reason: str) -> SystemRecord:
    print(f"{system.name} is not measured: {reason}", file=sys.stderr)
    return SystemRecord(title=system.title, command="", reference=system.reference, absent=_without_folders(reason))


def _without_folders(text: str) -> str:
    """What a command line or a message says on any machine."""
    return text.replace(sys.executable, "python").replace(f"{Path.cwd()}/", "").replace(f"{Path.home()}/", "~/")


def _measure(
    servers: Mapping[str, Server], loads: list[Load], texts: Mapping[Length, Texts], settings: Settings
) -> Results:
    def turn(name: str, load: Load) -> Figures:
        server = servers[name]
        server.resume()
        try:
            figures = measure(server, load, texts[load.length], seconds=settings.seconds)
        finally:
            server.hold()
        print(f"{load.name:12} {name:28} {figures.texts_per_second:9,.1f} texts/s, p50 {figures.p50_ms:9.2f} ms")
        return figures

    return take_turns(list(servers), loads, turn, rounds=settings.rounds, seconds=settings.minutes * 60)
