"""The one place where a run is described: teacher → pretrain → distil → finetune → report.

Each step is somebody else's work.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from bundle.atomic import staged_directory
from bundle.sts import with_sts
from train.checkpoint import HistoryEntry
from train.config import Recipe
from train.corpus import TokenizedPairs
from train.data import pair_width
from train.distributed import is_first, make_shared, on_first, rank
from train.errors import DataError
from train.locate import locate_model
from train.loop import Objective, StageRun, run_stage
from train.objectives import DistilObjective, FinetuneObjective
from train.preflight import preflight
from train.pretraining import CLASSES, PretrainObjective, sort_by_teacher
from train.progress import Progress
from train.report.write import write_report
from train.run import Run
from train.run_corpus import Corpus, corpus_of, teacher_vectors_of, tokens_of
from train.run_folder import LOGS, claim_folder, refuse_taken
from train.run_inputs import RunInputs, inputs_of, settle_inputs
from train.schedules import Finetune, Schedule
from train.scoring import AgreementSelection, Selection, StsSelection
from train.storage import full_disk_told
from train.student import make_student, save_student, tokenizer_file
from train.teacher import TeacherEncoder, open_model
from train.token_table import weigh_tokens

_TEACHER = "teacher"


def train(recipe: Recipe, out: Path, *, data: Path | None, resume: bool) -> None:
    """Make the student that `recipe` describes and put it at `out`, which exists only once the run is complete.

    Raises:
        ResumeError: `out` exists, an unfinished run lies there and `resume` is false, or it used another recipe, other
            data or other teachers.
        DiscoError: what the steps raise; the run can then be resumed.
    """
    on_first(lambda: refuse_taken(recipe, out, resume=resume))
    on_first(lambda: preflight(recipe, data))
    folder = make_shared(lambda: claim_folder(recipe, out, resume=resume))
    progress = Progress(quiet=not is_first())
    inputs = on_first(lambda: _inputs(recipe, data, folder, progress))
    first, history = _first_teacher(recipe, data, folder, progress)
    teachers = [first, *(TeacherEncoder(teacher, bf16=recipe.bf16) for teacher in recipe.more_teachers)]
    torch.manual_seed(recipe.seed)
    scratch = folder / f"rank-{rank()}"
    student = make_student(recipe.student, first.folder, scratch / "initial")
    run = Run(recipe, data, folder, progress, teachers, student, tokenizer_file(student, scratch / "tokenizer"))
    corpus = corpus_of(run)
    selection = _selection(run, corpus)
    progress.note(f"selected by {selection.name}")
    if corpus is not None and recipe.student.init == "token-table":
        weigh_tokens(student, corpus.texts)
    history += _pretrain(run)
    projection, distilled = _distil(run, corpus, selection)
    history += distilled
    if recipe.finetune is not None:
        history += _finetune(run, "finetune", recipe.finetune, projection, selection)
    on_first(lambda: _finish(run, out, inputs, history))


def _inputs(recipe: Recipe, data: Path | None, folder: Path, progress: Progress) -> RunInputs:
    """What the run was begun with, this time or the first."""
    teachers = [locate_model(teacher.model) for teacher in recipe.teachers]
    selection = StsSelection.name if with_sts(data) is not None else AgreementSelection.name
    inputs, note = settle_inputs(folder, inputs_of(recipe, data, teachers, selection))
    if note:
        progress.note(note)
    return inputs


def _first_teacher(
    recipe: Recipe, data: Path | None, folder: Path, progress: Progress
) -> tuple[TeacherEncoder, list[HistoryEntry]]:
    """The first teacher, after a stage of its own where the recipe has one: it is finetuned as a student is."""
    teacher, config = TeacherEncoder(recipe.teacher, bf16=recipe.bf16), recipe.teacher.finetune
    if config is None:
        return teacher, []
    if (sts := with_sts(data)) is None:
        raise DataError(
            "there is nothing to select a finetuned teacher by: pass --data or set DISCO_DATA to a folder that has "
            "sts/, or leave out [teacher.finetune]"
        )
    model, prompt = open_model(teacher.folder), teacher.prompt
    tokenizer = tokenizer_file(model, folder / f"rank-{rank()}" / "teacher-tokenizer")
    run = Run(recipe, data, folder, progress, [teacher], model, tokenizer, prompt)
    progress.note("the teacher first")
    history = _finetune(run, _TEACHER, config, None, StsSelection(sts, prompt=prompt))
    finetuned = make_shared(lambda: _saved_teacher(run))
    return TeacherEncoder(recipe.teacher, bf16=recipe.bf16, folder=finetuned), history


def _saved_teacher(run: Run) -> Path:
    """The folder of the finetuned teacher; a resumed run finds the one it began with."""
    folder = run.folder / _TEACHER
    if not folder.exists():
        with full_disk_told(run.folder), staged_directory(folder) as staged:
            run.student.save(str(staged), create_model_card=False)
    return folder


def _projection(student: SentenceTransformer, teacher_dimension: int) -> nn.Module:
    """Student → teacher dimension, on the student's side only; dropped when the run is over."""
    dimension = student.get_embedding_dimension()
    assert dimension is not None  # `make_student` adds a pooling layer, which knows it
    if dimension == teacher_dimension:
        return nn.Identity()
    return nn.Linear(dimension, teacher_dimension).to(student.device)


def _selection(run: Run, corpus: Corpus | None) -> Selection:
    if (data := with_sts(run.data)) is not None:
        return StsSelection(data)
    if corpus is None:
        raise DataError(
            "a recipe without [distil] holds no text back to select a student by: pass --data or set DISCO_DATA to a "
            "folder that has sts/"
        )
    texts = [corpus.texts[row] for row in corpus.held_out]
    return AgreementSelection(texts, corpus.vectors[corpus.held_out])


def _pretrain(run: Run) -> list[HistoryEntry]:
    config = run.recipe.pretrain
    if config is None:
        return []
    tokens = tokens_of(run, config.pairs, config.max_length)
    triplets = TokenizedPairs(tokens, [pair_width(source) for source in config.pairs])
    classes = sort_by_teacher(triplets.columns, teacher_vectors_of(run, config.pairs, tokens), config.confidence)
    counts = np.bincount(classes, minlength=len(CLASSES))
    sorted_so = ", ".join(f"{count:,} {name}" for name, count in zip(CLASSES, counts, strict=True))
    run.progress.note(f"pretraining on {len(triplets):,} triplets, of which the teacher gets {sorted_so}")
    objective = PretrainObjective(run.student, triplets, classes, seed=run.recipe.seed)
    return _run(run, "pretrain", config, objective, objective.accuracy)


def _distil(run: Run, corpus: Corpus | None, selection: Selection) -> tuple[nn.Module | None, list[HistoryEntry]]:
    """The projection that was trained along, if there was one, and the history."""
    if corpus is None:
        return None, []
    run.progress.note(f"distilling on {len(corpus.training):,} texts")
    # Truncated vectors are the student's own: where dimensions differ, its whole ones are then compared as they are.
    projection = None if corpus.config.dimensions else _projection(run.student, corpus.vectors.dimension)
    objective = DistilObjective(
        run.student, projection or nn.Identity(), corpus.config, corpus.texts, corpus.vectors, corpus.training
    )
    return projection, _run(run, "distil", corpus.config, objective, selection)


def _finetune(
    run: Run, stage: str, config: Finetune, projection: nn.Module | None, selection: Selection
) -> list[HistoryEntry]:
    tokens = tokens_of(run, config.pairs, config.max_length)
    vectors = teacher_vectors_of(run, config.pairs, tokens) if config.distil_weight else None
    pairs = TokenizedPairs(tokens, [pair_width(source) for source in config.pairs])
    run.progress.note(f"finetuning on {len(pairs):,} pairs")
    if projection is None:
        projection = nn.Identity() if vectors is None else _projection(run.student, vectors.dimension)
    objective = FinetuneObjective(run.student, projection, config, pairs, vectors)
    return _run(run, stage, config, objective, selection)


def _run(
    run: Run, name: str, schedule: Schedule, objective: Objective, score: Callable[[SentenceTransformer], float]
) -> list[HistoryEntry]:
    stage = StageRun(
        name,
        schedule,
        run.recipe.seed,
        run.recipe.bf16,
        score,
        state_file=run.folder / f"{name}.pt",
        log_folder=run.folder / LOGS / name if is_first() else None,
        section="teacher.finetune" if name == _TEACHER else None,
    )
    with full_disk_told(run.folder):
        history = run_stage(objective, stage, run.progress)
    torch.manual_seed(run.recipe.seed)  # what is drawn next must not depend on whether this stage was interrupted
    return history


def _finish(run: Run, out: Path, inputs: RunInputs, history: list[HistoryEntry]) -> None:
    recipe, teachers = run.recipe, [teacher.folder for teacher in run.teachers]
    with full_disk_told(out.parent), staged_directory(out) as staged:
        save_student(run.student, recipe.student, staged)
        shutil.copytree(run.folder / LOGS, staged / LOGS)
        if recipe.teacher.finetune is not None:
            shutil.copytree(teachers[0], staged / _TEACHER)
        write_report(staged, recipe, run.student, teachers, inputs, data=run.data, history=history)
    shutil.rmtree(run.folder)
