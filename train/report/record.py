"""`training.json` read back: what a finished run said of itself. Other fields than those here may be in it.

`train.report.write` makes it.
"""

import math
from pathlib import Path
from typing import Any

import msgspec

from bundle.layout import TRAINING
from bundle.sts import StsScores
from train.errors import ModelError


class Evaluation(msgspec.Struct, frozen=True):
    """One entry of the history."""

    stage: str
    examples: int
    """Seen in this stage so far."""
    score: float | None
    """Of the selection. None where all vectors were alike, which has no rank."""
    loss: float | None = None
    """Mean since the evaluation before; None before the first step."""
    terms: dict[str, float] = {}
    """The loss's parts, not weighted."""
    examples_per_second: float | None = None


class TrainingRecord(msgspec.Struct, frozen=True):
    """A run from its recipe to its scores."""

    name: str
    teacher: str
    finished: str
    parameters: int
    selection: str
    """What `Evaluation.score` measures."""
    recipe: dict[str, Any]
    """With every default; untyped, because recipes of other versions are read as well."""
    data: dict[str, dict[str, str | None]]
    """By the recipe's path, what the content of a source was known by when the run began."""
    versions: dict[str, str]
    history: list[Evaluation]
    sts: dict[str, StsScores] = {}
    """Of `student`, `teacher` as it came and, where it was, `finetuned teacher`; empty where there was no data."""
    selections: dict[str, str] = {}
    """By stage, what the score of one measures that `selection` does not choose."""

    def selection_of(self, stage: str) -> str:
        """What the stage's scores measure."""
        return self.selections.get(stage, f"{self.selection}, Spearman × 100")

    def keep(self, stage: str) -> str:
        """The recipe's `keep` for a stage: which weights it ended with."""
        return str(self._schedule(stage).get("keep", "best"))

    def start_share(self, stage: str) -> float:
        """How much of the weights from before the stage is in those that were scored and kept."""
        return float(self._schedule(stage).get("start_share", 0.0))

    def _schedule(self, stage: str) -> dict[str, Any]:
        section = self.recipe.get(stage) or {}
        return section.get("finetune") or {} if stage == "teacher" else section

    def kept(self, stage: str) -> Evaluation:
        """The evaluation whose weights the stage ended with; of equally good ones the first."""
        evaluations = self.stages[stage]
        if self.keep(stage) != "best":
            return evaluations[-1]  # of means, it is the last that has them all
        return max(evaluations, key=lambda entry: -math.inf if entry.score is None else entry.score)

    @property
    def stages(self) -> dict[str, list[Evaluation]]:
        """The history by stage."""
        stages: dict[str, list[Evaluation]] = {}
        for evaluation in self.history:
            stages.setdefault(evaluation.stage, []).append(evaluation)
        return stages


def read_record(folder: Path) -> TrainingRecord:
    """The record of the student or bundle in `folder`.

    Raises:
        ModelError: it is missing or damaged.
    """
    file = folder / TRAINING
    try:
        return msgspec.json.decode(file.read_bytes(), type=TrainingRecord)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{folder} has no {TRAINING}; is it a student that `python -m train` finished?") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{file} is not a training record: {error}") from error
