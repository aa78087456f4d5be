"""The ladder: what each finished student costs and is worth, on one machine. Owns the file; measures nothing."""

from pathlib import Path

import msgspec

from bundle.atomic import write_atomically
from bundle.manifest import Precision
from bundle.sts import StsScores
from train.errors import LadderError
from train.recipe import shipped_recipes
from train.retrieval import RetrievalScores

FAMILY = "disco-minilm-"
"""What the names of the ladder's students begin with."""

REFERENCE = f"{FAMILY}l3"
"""The shipped student: every time on the ladder is also given as a multiple of its time."""

LADDER = Path(__file__).resolve().parents[2] / "benchmarks" / "ladder.json"


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One finished bundle. Times are medians on one thread, of token ids that are there already."""

    name: str
    precision: Precision
    parameters: int | None
    """None for a bundle that was not trained here, as the teacher's."""
    bytes: int
    """What serving needs: the preferred graph and the tokenizer."""
    latency_ms: float
    """One text of 16 tokens."""
    latency_ratio: float
    """To the reference, round by round; so is `throughput_ratios`."""
    tokens_per_second: dict[str, float]
    """`short`: 32 texts of 16 tokens; `long`: 16 texts of 180 tokens."""
    throughput_ratios: dict[str, float]
    sts: StsScores
    retrieval: RetrievalScores

    @property
    def quality(self) -> float:
        """The mean of the two means, seven STS tasks (Spearman × 100) and retrieval (nDCG@10 × 100)."""
        return (self.sts.mean + self.retrieval.mean) / 2

    @property
    def trainable(self) -> bool:
        """Whether a shipped recipe makes it; the teacher's has none."""
        return self.name in shipped_recipes()


class Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """All rungs, the fastest first."""

    created: str
    commit: str | None
    cpu: str | None
    engine: str
    reference: str = REFERENCE
    rungs: list[Rung]


def read_ladder(path: Path) -> Ladder:
    """Read what `write_ladder` wrote.

    Raises:
        LadderError: it is missing, which tells how it is made, or damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ladder)
    except FileNotFoundError as error:
        raise LadderError(
            f"{path} is missing, without which no budget can be turned into a recipe; measure finished bundles with "
            f"`make ladder LADDER=FOLDER_OF_BUNDLES` or `python -m train ladder BUNDLE… --json {path}`"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LadderError(f"{path} is not a ladder: {error}; measure it again with `make ladder`") from error


def write_ladder(ladder: Ladder, path: Path) -> None:
    """Write `ladder` as indented JSON."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(ladder), indent=2) + b"\n")
