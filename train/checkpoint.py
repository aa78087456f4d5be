"""The state of a run on disk, replaced atomically, so that a kill at any moment loses minutes and never the run."""

from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

import torch

from bundle.atomic import staged_file
from train.batches import Position
from train.errors import ResumeError

HistoryEntry: TypeAlias = dict[str, Any]
"""What one evaluation saw: stage, examples, score and, after the first, loss, examples_per_second and terms."""


@dataclass(frozen=True)
class StageState:
    """Everything a stage needs to go on as if it had never stopped."""

    position: Position
    objective: dict[str, Any]
    optimizer: dict[str, Any]
    random_state: torch.Tensor
    kept_score: float
    kept: dict[str, torch.Tensor]
    """The weights the stage would end with, named as in `objective`."""
    start: dict[str, torch.Tensor]
    """Those it began with; empty where nothing asks for them."""
    history: list[HistoryEntry]


def save_state(state: StageState, path: Path) -> None:
    """Write `state` to `path`; an interruption or a full disk leaves the previous one intact.

    Raises:
        OSError, RuntimeError: the disk is full (`train.storage` tells).
    """
    with staged_file(path) as staged:
        fields = {name: getattr(state, name) for name in StageState.__dataclass_fields__}
        # Through a file of ours: writing by itself, torch would not tell a full disk from a bug.
        with staged.open("wb") as file:
            torch.save(fields | {"position": asdict(state.position)}, file)


def load_state(path: Path) -> StageState | None:
    """Read what `save_state` wrote, or None where there is nothing.

    Raises:
        ResumeError: the file is not a checkpoint.
    """
    if not path.is_file():
        return None
    try:
        fields = _in_present_words(torch.load(path, map_location="cpu", weights_only=True))
        return StageState(**fields | {"position": Position(**fields["position"])})
    except (RuntimeError, TypeError, AttributeError, KeyError, EOFError, UnpicklingError) as error:
        raise ResumeError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}); start over with another --out"
        ) from error


def _in_present_words(fields: dict[str, Any]) -> dict[str, Any]:
    """Earlier versions kept the student's weights alone, by their names in the student."""
    for name in ("kept", "start"):
        if (weights := fields.pop(f"{name}_student", None)) is not None:
            fields[name] = {f"student.{weight}": tensor for weight, tensor in weights.items()}
    return fields
