"""A stage's figures as TensorBoard events while it runs, against examples seen. Knows no objective and no schedule."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

Figures = Mapping[str, float | Mapping[str, float]]
"""By name; those of a group are told apart as `group/name`."""


class StageLog:
    """Event files in `folder`; without a folder nothing is written."""

    def __init__(self, folder: Path | None, *, seen: int) -> None:
        """`seen`: examples at the checkpoint this log goes on from; what an interrupted run logged later is dropped."""
        self._writer: SummaryWriter | None = None
        if folder is not None:
            # The checkpoint's own points stay; a run from the start has none and takes back everything.
            self._writer = SummaryWriter(str(folder), purge_step=seen + 1 if seen else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, examples: int, figures: Figures) -> None:
        """Add a point to each figure's curve; it is on disk when this returns.

        Raises:
            OSError: the disk is full.
        """
        if self._writer is None:
            return
        for name, figure in figures.items():
            points = figure.items() if isinstance(figure, Mapping) else [("", figure)]
            for part, value in points:
                self._writer.add_scalar(f"{name}/{part}".rstrip("/"), value, examples)
        self._writer.flush()
