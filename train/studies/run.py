"""Running a study: every variant is an ordinary resumable run, scored as soon as it is done. Knows no objective.

A study's folder holds the student NAME/ and the row NAME.json of each variant, and of the teacher a row. What is there
is kept: the same command goes on after an interruption, and processes that share a folder share the work.
"""

import datetime as dt
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import msgspec

from bundle.arrays import Vectors
from bundle.atomic import write_atomically
from bundle.provenance import commit
from bundle.quality import Encode, agreement
from bundle.sts import SELECTION, StsScores, evaluate, read_pairs, score
from train.config import Teacher
from train.errors import DivergedError, ResumeError, StudyError
from train.evaluate import open_encode
from train.progress import Progress
from train.recipe import parse_recipe
from train.report.record import Evaluation, read_record
from train.retrieval import evaluate_retrieval
from train.stages import train
from train.studies.study import TEACHER, Changes, Row, Study, read_row
from train.teacher import TeacherEncoder


@dataclass(frozen=True)
class _Run:
    study: Study
    folder: Path
    data: Path
    commit: str | None
    progress: Progress


def run_study(study: Study, folder: Path, *, data: Path, only: Sequence[str] = ()) -> None:
    """Train and score the teacher's row, then the variants (or `only` those and what they start from).

    A variant that another process works on is left to it.

    Raises:
        StudyError: `only` names a variant that is none.
        ResumeError: the folder holds a row or a student of another recipe.
        DivergedError: the loss of some variants was not finite; the others are done.
        DataError: files of STS or retrieval are missing.
    """
    if unknown := set(only) - set(study.variants):
        raise StudyError(f"{study.name} has no variant {min(unknown)!r}; it has {', '.join(study.variants)}")
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(study, folder.resolve(), data, commit(), Progress())
    diverged = []
    for name in (TEACHER, *(only or study.variants)):
        try:
            _complete(run, name, wait=False)
        except DivergedError as error:
            run.progress.note(f"{name}: {error}")
            diverged.append(name)
    if diverged:
        raise DivergedError(f"the loss was not finite, so there is no row, of {', '.join(diverged)}; the rest is done")


def _complete(run: _Run, name: str, *, wait: bool) -> None:
    """See to it that `name` has a row; without `wait`, another process may still be at it afterwards."""
    with _alone(run.folder / f".{name}.lock", wait=wait) as alone:
        if not alone:
            run.progress.note(f"{name}: another process is at it")
        elif not _has_row(run, name):
            row = _teacher_row(run) if name == TEACHER else _variant_row(run, name)
            write_atomically(_row_file(run, name), msgspec.json.format(msgspec.json.encode(row), indent=2))
            run.progress.note(f"{name}: seven STS {row.sts.mean:.2f}, retrieval {row.retrieval.mean:.2f}")


def _has_row(run: _Run, name: str) -> bool:
    file = _row_file(run, name)
    if not file.is_file():
        return False
    if read_row(file).recipe != _identity(run, name):
        raise ResumeError(f"{file} was made with another recipe; remove it, or use another --out")
    return True


def _teacher_row(run: _Run) -> Row:
    teacher = run.study.teacher
    encode = _teacher_encode(teacher)
    return _row(run, TEACHER, Changes(), encode, teacher, sts=evaluate(encode, run.data), history=[])


def _variant_row(run: _Run, name: str) -> Row:
    variant = run.study.variants[name]
    parent = variant.changes.parent
    if parent is not None:
        _complete(run, parent, wait=True)
        if not (run.folder / parent).is_dir():
            raise ResumeError(f"{name} starts from {run.folder / parent}, which is gone; remove {parent}.json as well")
    student, recipe = run.folder / name, variant.recipe_in(run.folder)
    if not student.exists():
        run.progress.note(f"{run.study.name}: {name}")
        train(recipe, student, data=run.data, resume=True)
    record = read_record(student)
    if parse_recipe(record.recipe, source=str(student)) != recipe:
        raise ResumeError(f"{student} was made with another recipe; remove it, or use another --out")
    encode, sts = open_encode(str(student)), record.sts["student"]
    return _row(run, name, variant.changes, encode, recipe.teacher, sts=sts, history=record.history)


def _row(
    run: _Run,
    name: str,
    changes: Changes,
    encode: Encode,
    teacher: Teacher,
    *,
    sts: StsScores,
    history: Sequence[Evaluation],
) -> Row:
    return Row(
        variant=name,
        overrides=changes.set,
        parent=changes.parent,
        common=run.study.common,
        budget=run.study.budget,
        recipe=_identity(run, name),
        commit=run.commit,
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        examples=history[-1].examples if history else 0,
        seconds=_seconds(history),
        sts_dev=score(encode, run.data, SELECTION),
        sts=sts,
        retrieval=evaluate_retrieval(encode, run.data),
        teacher_cosine=_teacher_cosine(encode, teacher, run.data),
    )


def _seconds(history: Sequence[Evaluation]) -> float:
    """Time in the loop, from the speed between evaluations: work that an interruption undid is not in it."""
    seconds = 0.0
    for before, after in pairwise(history):
        if after.examples_per_second:
            seconds += (after.examples - before.examples) / after.examples_per_second
    return seconds


def _teacher_cosine(encode: Encode, teacher: Teacher, data: Path) -> float | None:
    pairs = read_pairs(data, SELECTION)
    texts = tuple(dict.fromkeys(text for pair in pairs for text in (pair.sentence1, pair.sentence2)))
    vectors, reference = encode(texts), _teacher_vectors(teacher, texts)
    return agreement(vectors, reference).mean if vectors.shape == reference.shape else None


@cache
def _teacher_vectors(teacher: Teacher, texts: tuple[str, ...]) -> Vectors:
    """Encoded once: every row is compared with them."""
    return _teacher_encode(teacher)(texts)


def _teacher_encode(teacher: Teacher) -> Encode:
    encoder = TeacherEncoder(teacher, bf16=False)
    return lambda texts: encoder.encode(list(texts))


def _identity(run: _Run, name: str) -> str:
    return run.study.budget if name == TEACHER else run.study.variants[name].identity


def _row_file(run: _Run, name: str) -> Path:
    return run.folder / f"{name}.json"


@contextmanager
def _alone(lock_file: Path, *, wait: bool) -> Iterator[bool]:
    """Whether no other process is in such a block; with `wait`, not before that is so."""
    with lock_file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
