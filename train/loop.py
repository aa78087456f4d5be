"""The optimisation loop both stages share: schedule, clipping, selection, checkpoints. Knows no objective's formula."""

import math
from abc import abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from train.averaging import Weights, offered_weights
from train.batches import Position, Rows, training_batches
from train.checkpoint import HistoryEntry, StageState, load_state, save_state
from train.distributed import average_gradients, copy_from_first, is_first, on_first
from train.errors import DivergedError
from train.loss_window import LossWindow
from train.progress import Progress
from train.report.tensorboard import StageLog
from train.schedules import Schedule
from train.student import set_dropout

_LOGGED_STEPS = 10  # a point of a TensorBoard curve is the mean of so many


class Objective(nn.Module):
    """A stage's loss, with whatever it trains or remembers beside the student."""

    kept: tuple[str, ...] = ("student",)
    """The modules whose weights are of use only together: a stage keeps and averages all of them or none."""

    student: SentenceTransformer
    lengths: NDArray[np.int64]
    """int64[n], tokens of each training example; decides batches."""
    terms: dict[str, Tensor]
    """What the last loss was made of, for the history: float[] each, by name, not weighted, without gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.terms = {}

    @abstractmethod
    def loss(self, rows: Rows) -> Tensor:
        """The loss of one batch of examples, float[]."""

    def after_step(self) -> None:
        """Update what is not trained by gradients, once the weights have moved."""


@dataclass(frozen=True)
class StageRun:
    """How a stage is run, apart from its objective."""

    name: str
    schedule: Schedule
    seed: int
    bf16: bool
    score: Callable[[SentenceTransformer], float]
    """Higher is better; decides which weights are kept."""
    state_file: Path
    log_folder: Path | None = None
    """Where TensorBoard events go; None: nowhere."""
    section: str | None = None
    """The recipe's section, where it is not called as the stage is."""


def run_stage(objective: Objective, run: StageRun, progress: Progress) -> list[HistoryEntry]:
    """Train until the schedule is through, resume where a checkpoint lies, leave the weights to be kept in `objective`.

    Returns the stage's history: losses and scores by examples seen.

    Raises:
        DivergedError: loss or gradients became NaN or infinite.
    """
    copy_from_first(objective)
    set_dropout(objective.student, run.schedule.dropout)
    optimizer = _optimizer(objective, run.schedule)
    state = load_state(run.state_file)
    if state is None:
        torch.manual_seed(run.seed)
        state = _first_state(objective, optimizer, run)
    else:
        objective.load_state_dict(state.objective)
        optimizer.load_state_dict(state.optimizer)
        torch.set_rng_state(state.random_state)
        # What an earlier version has not kept stays as it was last.
        last = _weights(objective)
        state = replace(state, kept=last | state.kept, start=last | state.start if state.start else {})
    if state.position.examples < run.schedule.examples:
        with StageLog(run.log_folder, seen=state.position.examples) as log:
            state = _train(objective, optimizer, run, state, progress, log)
    _load(objective, state.kept)
    return state.history


def _train(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    run: StageRun,
    state: StageState,
    progress: Progress,
    log: StageLog,
) -> StageState:
    schedule = run.schedule
    batches = training_batches(
        objective.lengths,
        seed=run.seed,
        size=schedule.batch_size,
        tokens=schedule.batch_tokens,
        examples=schedule.examples,
        start=state.position,
    )
    window, recent = LossWindow(), LossWindow()
    if state.position.examples == 0:
        log.write(0, {"score": state.kept_score})
    progress.start(run.name, total=schedule.examples, done=state.position.examples)
    objective.train()
    before = state.position.examples
    for rows, position in batches:
        # The middle of the step, so that neither the first nor the last one has a rate of zero.
        done = min(1.0, (before + len(rows) / 2) / schedule.examples)
        rate = schedule.rate(done)
        loss = _step(objective, optimizer, rows, rate, run)
        window.add(loss, objective.terms, len(rows))
        recent.add(loss, objective.terms, len(rows))
        evaluating = schedule.evaluates(before, position.examples)
        if evaluating or recent.steps == _LOGGED_STEPS:
            log.write(position.examples, recent.summary() | {"learning_rate": rate})
            recent = LossWindow()
        progress.advance(len(rows), f"loss {window.mean:.4f}  kept {state.kept_score:.2f}")
        if evaluating:
            state = _evaluate(objective, optimizer, run, state, position, window)
            # The log first: what a checkpoint has seen is never missing in it, what it has not is dropped on resuming.
            log.write(position.examples, {"score": state.history[-1]["score"]})
            if is_first():
                save_state(state, run.state_file)
            progress.note(_describe(run.name, state.history[-1]))
            window, recent = LossWindow(), LossWindow()
        before = position.examples
    objective.eval()
    progress.stop()
    return state


def _first_state(objective: Objective, optimizer: torch.optim.Optimizer, run: StageRun) -> StageState:
    score = on_first(lambda: run.score(objective.student))
    start = _weights(objective)
    return StageState(
        position=Position(),
        objective=objective.state_dict(),
        optimizer=optimizer.state_dict(),
        random_state=torch.get_rng_state(),
        kept_score=score,
        kept=start,
        start=start if run.schedule.start_share else {},
        history=[{"stage": run.name, "examples": 0, "score": score}],
    )


def _evaluate(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    run: StageRun,
    state: StageState,
    position: Position,
    window: LossWindow,
) -> StageState:
    random_state = torch.get_rng_state()
    trained = _weights(objective)
    offered = offered_weights(
        trained, state.start, state.kept, evaluations=len(state.history) - 1, schedule=run.schedule
    )
    _load(objective, offered)
    objective.eval()
    score = on_first(lambda: run.score(objective.student))
    objective.train()
    _load(objective, trained)
    torch.set_rng_state(random_state)
    keep = score > state.kept_score or run.schedule.keep != "best"
    return StageState(
        position=position,
        objective=objective.state_dict(),
        optimizer=optimizer.state_dict(),
        random_state=random_state,
        kept_score=score if keep else state.kept_score,
        kept=offered if keep else state.kept,
        start=state.start,
        history=[
            *state.history,
            {"stage": run.name, "examples": position.examples, **window.summary(), "score": score},
        ],
    )


def _weights(objective: Objective) -> Weights:
    """A copy of those that are kept together."""
    return {
        name: tensor.detach().clone()
        for name, tensor in objective.state_dict().items()
        if name.partition(".")[0] in objective.kept
    }


def _load(objective: Objective, weights: Weights) -> None:
    objective.load_state_dict(objective.state_dict() | weights)


def _describe(stage: str, entry: HistoryEntry) -> str:
    return (
        f"{stage}: {entry['examples']:,} examples, loss {entry['loss']:.4f}, score {entry['score']:.2f}, "
        f"{entry['examples_per_second']:.0f} examples/s"
    )


def _step(objective: Objective, optimizer: torch.optim.Optimizer, rows: Rows, rate: float, run: StageRun) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    device = objective.student.device.type
    with torch.autocast(device, dtype=torch.bfloat16) if run.bf16 else nullcontext():
        loss = objective.loss(rows)
    value = loss.item()
    _refuse_infinite("loss", value, rate, run)
    loss.backward()
    average_gradients(objective)
    norm = nn.utils.clip_grad_norm_(objective.parameters(), run.schedule.max_gradient_norm)
    _refuse_infinite("gradient's norm", norm.item(), rate, run)  # one step with it would leave no weight a number
    optimizer.step()
    optimizer.zero_grad()
    objective.after_step()
    return value


def _refuse_infinite(name: str, value: float, rate: float, run: StageRun) -> None:
    if math.isfinite(value):
        return
    section = run.section or run.name
    raise DivergedError(
        f"{run.name}: the {name} is {value} at learning rate {rate:.2g}. Start again with a lower one (--set "
        f"{section}.learning_rate=…) and another --out; --resume would come here again. The last checkpoint stays in "
        f"{run.state_file.parent}"
    )


def _optimizer(objective: Objective, schedule: Schedule) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        objective.parameters(),
        lr=schedule.learning_rate,
        betas=(0.9, 0.98),  # as in the authors' code
        weight_decay=schedule.weight_decay,
        fused=True,
    )
