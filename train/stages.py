"""The one place where a run is described: teacher → distil → finetune → report. Each step is somebody else's work."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from bundle.atomic import staged_directory, write_atomically
from bundle.sts import with_sts
from bundle.text import TextEncoder
from train.batches import Rows
from train.cache import cache_directory
from train.checkpoint import HistoryEntry
from train.config import Distil, Recipe, Schedule
from train.corpus import TextMixture, TokenizedTexts, VectorMixture, tokenize_source, tokenize_texts
from train.data import Pair, read_pairs
from train.errors import DataError, ResumeError
from train.loop import Objective, StageRun, run_stage
from train.objectives import DistilObjective, FinetuneObjective, TokenizedPairs
from train.progress import Progress
from train.report import write_report
from train.scoring import AgreementSelection, Selection, StsSelection
from train.storage import full_disk_told
from train.student import make_student, save_student, tokenizer_file
from train.teacher import TeacherEncoder
from train.token_table import weigh_tokens

_HELD_OUT = 1000
_LOGS = "logs"


@dataclass
class Run:
    """What the steps of one run share."""

    recipe: Recipe
    data: Path | None
    folder: Path
    progress: Progress
    teacher: TeacherEncoder
    student: SentenceTransformer
    tokenizer_file: Path


@dataclass(frozen=True)
class Corpus:
    """The unlabelled text with the teacher's vectors; `held_out` rows are never trained on."""

    config: Distil
    texts: TextMixture
    vectors: VectorMixture
    training: Rows
    held_out: Rows


def train(recipe: Recipe, out: Path, *, data: Path | None, resume: bool) -> None:
    """Make the student that `recipe` describes and put it at `out`, which exists only once the run is complete.

    Raises:
        ResumeError: `out` exists, an unfinished run lies there and `resume` is false, or it used another recipe.
        DiscoError: what the steps raise; the run can then be resumed.
    """
    folder = _claim(recipe, out, resume=resume)
    progress = Progress()
    torch.manual_seed(recipe.seed)
    teacher = TeacherEncoder(recipe.teacher, bf16=recipe.bf16)
    student = make_student(recipe.student, teacher.folder, folder / "initial")
    run = Run(recipe, data, folder, progress, teacher, student, tokenizer_file(student, folder / "tokenizer"))
    with full_disk_told(cache_directory()):
        corpus = _corpus(run)
    selection = _selection(run, corpus)
    progress.note(f"selected by {selection.name}")
    projection, history = _distil(run, corpus, selection)
    history += _finetune(run, projection, selection)
    with full_disk_told(out.parent), staged_directory(out) as staged:
        save_student(student, recipe.student, staged)
        shutil.copytree(folder / _LOGS, staged / _LOGS)
        write_report(staged, recipe, student, teacher.folder, data=data, selection=selection.name, history=history)
    shutil.rmtree(folder)


def _claim(recipe: Recipe, out: Path, *, resume: bool) -> Path:
    """The folder of the unfinished run beside `out`, made or found again."""
    folder = out.with_name(f"{out.name}.run")
    recipe_file = folder / "recipe.json"
    content = recipe.model_dump_json(indent=2)
    if out.exists():
        raise ResumeError(f"{out} exists already; choose another --out or remove it")
    if folder.exists() and not resume:
        raise ResumeError(f"{folder} holds an unfinished run; continue it with --resume, or remove it")
    if recipe_file.is_file() and recipe_file.read_text() != content:
        raise ResumeError(f"{folder} was begun with another recipe; resume with the same one, or use another --out")
    (folder / _LOGS).mkdir(parents=True, exist_ok=True)
    write_atomically(recipe_file, content)
    return folder


def _corpus(run: Run) -> Corpus | None:
    config = run.recipe.distil
    if config is None:
        return None
    tokens, vectors = [], []
    for source in config.texts:
        run.progress.note(f"reading {source.path}")
        texts = tokenize_source(source, run.data, run.tokenizer_file, max_length=config.max_length)
        run.progress.start("teacher", total=len(texts))
        tokens.append(texts)
        vectors.append(run.teacher.source_vectors(source, run.data, rows=len(texts), advance=run.progress.advance))
        run.progress.stop()
    run.teacher.release()
    mixture = TextMixture(tokens)
    shuffled = np.random.default_rng(run.recipe.seed).permutation(len(mixture))
    held_out = min(_HELD_OUT, len(mixture) // 10)
    training = np.sort(shuffled[held_out:])
    return Corpus(config, mixture, VectorMixture(vectors), training=training, held_out=shuffled[:held_out])


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
    return AgreementSelection(texts, corpus.vectors[corpus.held_out], corpus.config.max_length)


def _distil(run: Run, corpus: Corpus | None, selection: Selection) -> tuple[nn.Module | None, list[HistoryEntry]]:
    """The projection that was trained along, and the history: None and nothing where there is no such stage."""
    if corpus is None:
        return None, []
    run.progress.note(f"distilling on {len(corpus.training):,} texts")
    if run.recipe.student.init == "token-table":
        weigh_tokens(run.student, corpus.texts)
    projection = _projection(run.student, corpus.vectors.dimension)
    objective = DistilObjective(run.student, projection, corpus.config, corpus.texts, corpus.vectors, corpus.training)
    return projection, _run(run, "distil", corpus.config, objective, selection)


def _finetune(run: Run, projection: nn.Module | None, selection: Selection) -> list[HistoryEntry]:
    config = run.recipe.finetune
    if config is None:
        return []
    pairs = [pair for source in config.pairs for pair in read_pairs(source, run.data)]
    texts, columns = _index_texts(pairs)
    tokenized = _tokenize(run, texts, config.max_length)
    vectors = run.teacher.encode(texts) if config.distil_weight else None
    run.teacher.release()
    run.progress.note(f"finetuning on {len(pairs):,} pairs")
    if projection is None:
        projection = nn.Identity() if vectors is None else _projection(run.student, vectors.shape[1])
    objective = FinetuneObjective(run.student, projection, config, TokenizedPairs(tokenized, columns), vectors)
    return _run(run, "finetune", config, objective, selection)


def _run(run: Run, name: str, schedule: Schedule, objective: Objective, selection: Selection) -> list[HistoryEntry]:
    stage = StageRun(
        name,
        schedule,
        run.recipe.seed,
        run.recipe.bf16,
        selection,
        state_file=run.folder / f"{name}.pt",
        log_folder=run.folder / _LOGS / name,
    )
    with full_disk_told(run.folder):
        return run_stage(objective, stage, run.progress)


def _index_texts(pairs: list[Pair]) -> tuple[list[str], Rows]:
    """Distinct texts, and the pairs as int64[n, 3] indices into them (−1: no negative)."""
    rows: dict[str, int] = {}
    columns = np.full((len(pairs), 3), -1, dtype=np.int64)
    for number, pair in enumerate(pairs):
        for column, text in enumerate((pair.anchor, pair.positive, pair.negative)):
            if text is not None:
                columns[number, column] = rows.setdefault(text, len(rows))
    return list(rows), columns


def _tokenize(run: Run, texts: list[str], max_length: int) -> TokenizedTexts:
    return tokenize_texts(texts, TextEncoder.from_file(run.tokenizer_file, max_length=max_length))
