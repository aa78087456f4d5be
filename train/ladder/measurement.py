"""Measures finished bundles into a ladder: time in turns, size, STS and retrieval. Trains nothing."""

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from bundle.arrays import flatten
from bundle.choice import choose
from bundle.layout import TRAINING, Bundle, open_bundle
from bundle.provenance import commit, processor
from bundle.runtime import open_encoder
from bundle.text import TextEncoder
from bundle.timing import LATENCY, LOADS, ROUNDS, Contender, Load, Seconds, ratio, time_in_turns, tokens_per_second
from train.builtin import docstring_texts
from train.errors import LadderError
from train.evaluate import Scores, evaluate_models
from train.ladder.rungs import REFERENCE, Ladder, Rung
from train.report.record import read_record

_TEXTS = 1000  # sentences of English that timed batches are cut from


def measure_ladder(paths: Sequence[Path], data: Path, note: Callable[[str], None], *, rounds: int = ROUNDS) -> Ladder:
    """Time the bundles in `paths` on one thread and score them; `note` shows the progress.

    Raises:
        BundleError: a folder is no intact bundle.
        LadderError: two bundles of one name, or the reference is not among them.
        DataError: STS or retrieval files are missing.
    """
    bundles = _by_name(paths)
    note(f"timing {', '.join(bundles)} in {rounds} rounds")
    texts = _texts()
    contenders = {name: _contender(bundle, texts) for name, bundle in bundles.items()}
    seconds = time_in_turns(contenders, rounds=rounds)
    scores = evaluate_models([str(bundle.path) for bundle in bundles.values()], data, note, retrieval=True)
    rungs = [_rung(name, bundle, seconds, scores[str(bundle.path)]) for name, bundle in bundles.items()]
    return Ladder(
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        commit=commit(),
        cpu=processor(),
        engine=contenders[REFERENCE].encoder.description,
        rungs=sorted(rungs, key=lambda rung: rung.latency_ms),
    )


def measure_latency(bundle: Bundle) -> float:
    """Milliseconds that `bundle` takes now for one text of 16 tokens on one thread, as the ladder measures it."""
    seconds = time_in_turns({"one": _contender(bundle, _texts())}, {"latency": LATENCY})
    return 1000 * float(np.median(seconds["one"]["latency"]))


def _by_name(paths: Sequence[Path]) -> dict[str, Bundle]:
    bundles: dict[str, Bundle] = {}
    for path in paths:
        bundle = open_bundle(path)
        name = bundle.manifest.name
        if name in bundles:
            raise LadderError(f"{path} and {bundles[name].path} are both called {name!r}; leave one out")
        bundles[name] = bundle
    if REFERENCE not in bundles:
        raise LadderError(
            f"times are compared with {REFERENCE!r}, which is not among {', '.join(bundles) or 'no bundles'}; "
            f"add its bundle (students/{REFERENCE})"
        )
    return bundles


def _texts() -> list[str]:
    return list(islice(docstring_texts(), _TEXTS))


def _contender(bundle: Bundle, texts: list[str]) -> Contender:
    """One compute thread, and the texts as this bundle reads them, one after the other."""
    ids, _ = flatten(TextEncoder.from_bundle(bundle).encode(texts))
    return Contender(open_encoder(bundle, threads=1), ids)


def _rung(name: str, bundle: Bundle, seconds: Seconds, scores: Scores) -> Rung:
    assert scores.retrieval is not None  # it was asked for
    mine, reference = seconds[name], seconds[REFERENCE]
    batches: dict[str, Load] = {load: shape for load, shape in LOADS.items() if shape is not LATENCY}
    graph = choose(bundle).graph
    return Rung(
        name=name,
        precision=graph.precision,
        parameters=read_record(bundle.path).parameters if (bundle.path / TRAINING).is_file() else None,
        bytes=(bundle.path / graph.path).stat().st_size + bundle.tokenizer_file.stat().st_size,
        latency_ms=1000 * float(np.median(mine["latency"])),
        latency_ratio=ratio(mine["latency"], reference["latency"]),
        tokens_per_second={load: tokens_per_second(shape, mine[load]) for load, shape in batches.items()},
        throughput_ratios={load: 1 / ratio(mine[load], reference[load]) for load in batches},
        sts=scores.sts,
        retrieval=scores.retrieval,
    )
