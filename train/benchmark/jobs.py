"""What a benchmark of training compares, and its record: contenders, measurements, medians and ratios. Runs nothing.

Our loop and sentence-transformers' own trainer learn the same student from the same teacher vectors by mean squared
error; our teacher encoder and `SentenceTransformer.encode` read the same texts.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import median
from typing import Literal

import msgspec

Attention = Literal["default", "eager"]


class Contender(msgspec.Struct, frozen=True):
    """One way to do a task."""

    task: Literal["train", "encode"]
    program: Literal["disco", "sentence-transformers"]
    bf16: bool
    attention: Attention = "eager"
    """`default`: as the library chooses when a user loads the model; ours is always eager."""
    batch_size: int | None = None
    """Texts a step; None: our encoder goes by length instead."""

    @property
    def name(self) -> str:
        """Tells it apart from the others of its task."""
        parts = [self.program, "bf16" if self.bf16 else "fp32"]
        if self.program == "sentence-transformers":
            parts += [f"{self.attention} attention", f"batches of {self.batch_size}"]
        return ", ".join(parts)


class Job(msgspec.Struct, frozen=True):
    """What one process measures, one contender after the other."""

    folder: str
    """With what `train.benchmark.run` prepared."""
    contenders: tuple[Contender, ...]
    sentences: int
    warmup: int
    """Sentences before the clock starts."""


class Measurement(msgspec.Struct, frozen=True):
    """One contender, once."""

    sentences: int
    seconds: float
    sentences_per_second: float
    threads: int
    losses: tuple[float, float] | None = None
    """Training: mean squared error in the first and in the second half of the run."""


class Spread(msgspec.Struct, frozen=True):
    """A figure over all rounds."""

    median: float
    lowest: float
    highest: float


class Comparison(msgspec.Struct, frozen=True):
    """All rounds of one task; keys are the contenders' names."""

    contenders: dict[str, Contender]
    rounds: list[dict[str, Measurement]]
    sentences_per_second: dict[str, Spread]
    ratios: dict[str, dict[str, Spread]]
    """Each of ours: how many times as fast as each other one, within a round."""


class Settings(msgspec.Struct, frozen=True):
    """What all measurements have in common."""

    recipe: str
    teacher: str
    source: str
    sentences: int
    """In one measurement; the survey takes a quarter of them."""
    warmup: int
    """Sentences before the clock starts; in the survey a quarter of them."""
    mean_tokens: float
    """Of a sentence, special ones included."""
    max_length: int
    learning_rate: float


class Benchmark(msgspec.Struct, frozen=True):
    """The whole record."""

    commit: str | None
    date: str
    processor: str | None
    cores: int
    versions: dict[str, str]
    settings: Settings
    survey: dict[str, Measurement]
    """Every setting of the trainer, once and shortly: the fastest of either attention takes part in `training`."""
    training: Comparison
    encoding: Comparison


def trainer_settings(batch_sizes: Sequence[int]) -> list[Contender]:
    """Every precision, attention and batch size of sentence-transformers' trainer that is tried."""
    attentions: tuple[Attention, ...] = ("default", "eager")
    return [
        Contender("train", "sentence-transformers", bf16, attention, size)
        for attention, bf16, size in product(attentions, (True, False), batch_sizes)
    ]


def fastest(survey: Mapping[Contender, Measurement]) -> list[Contender]:
    """Of each attention the setting that made the most sentences a second."""
    best: dict[str, Contender] = {}
    for contender in sorted(survey, key=lambda contender: survey[contender].sentences_per_second):
        best[contender.attention] = contender
    return [best[attention] for attention in sorted(best)]


def compare(contenders: Sequence[Contender], rounds: list[dict[str, Measurement]]) -> Comparison:
    """Medians and ranges; `rounds` have every contender by its name."""
    speeds = {
        contender.name: [measured[contender.name].sentences_per_second for measured in rounds]
        for contender in contenders
    }
    ours = [contender.name for contender in contenders if contender.program == "disco"]
    return Comparison(
        contenders={contender.name: contender for contender in contenders},
        rounds=rounds,
        sentences_per_second={name: _spread(figures) for name, figures in speeds.items()},
        ratios={
            own: {
                other: _spread([a / b for a, b in zip(speeds[own], speeds[other], strict=True)])
                for other in speeds
                if other not in ours
            }
            for own in ours
        },
    )


def table(comparison: Comparison) -> str:
    """Markdown: a line for each contender, with the ratio of each of ours to it."""
    ours = list(comparison.ratios)
    lines = [
        f"| | sentences/s | {' | '.join(f'{own} is × as fast' for own in ours)} |",
        "|---|---|" + "---|" * len(ours),
    ]
    for name, speed in comparison.sentences_per_second.items():
        ratios = (comparison.ratios[own].get(name) for own in ours)
        cells = [name, _shown(speed, ",.0f"), *("" if ratio is None else _shown(ratio, ".2f") for ratio in ratios)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(figures: Sequence[float]) -> Spread:
    return Spread(median(figures), min(figures), max(figures))


def _shown(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.lowest:{form}}–{spread.highest:{form}})"
