"""The contenders of a benchmark at work, each as its users run it. Knows no rounds and compares nothing.

The clock covers the loop from its first batch to its last – of ours also the tokenising, which a run does once – and
leaves out loading, warm-up, evaluation and checkpoints.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MSELoss
from torch import nn
from transformers import TrainerCallback

from train.batches import Rows
from train.benchmark.jobs import Contender, Job, Measurement
from train.checkpoint import HistoryEntry
from train.config import Recipe
from train.corpus import TextMixture, VectorMixture, tokenize_source
from train.loop import StageRun, run_stage
from train.objectives import DistilObjective
from train.progress import Progress
from train.schedules import Distil, Objectives
from train.sources import Texts
from train.student import tokenizer_file
from train.teacher import TeacherEncoder, open_model

# In the folder of a job.
RECIPE, TEXTS, VECTORS, STUDENT = "recipe.json", "texts.txt", "vectors.npy", "student"


def measure(job: Job) -> list[Measurement]:
    """Do the job's work; one measurement for each contender, in order."""
    tasks = {
        ("train", "disco"): _train_here,
        ("train", "sentence-transformers"): _train_there,
        ("encode", "disco"): _encode_here,
        ("encode", "sentence-transformers"): _encode_there,
    }
    disable_progress_bars()
    measured = []
    for contender in job.contenders:
        with TemporaryDirectory(prefix="disco-") as scratch:
            measured.append(tasks[contender.task, contender.program](job, contender, Path(scratch)))
    return measured


def _train_here(job: Job, contender: Contender, scratch: Path) -> Measurement:
    folder, recipe, distil = Path(job.folder), *_recipe(job)
    student = open_model(folder / STUDENT)
    tokenizer = tokenizer_file(student, scratch)
    started = time.monotonic()
    source = Texts(path=str(folder / TEXTS), limit=job.sentences)
    texts = TextMixture([tokenize_source(source, None, tokenizer, max_length=distil.max_length)])
    tokenizing = time.monotonic() - started
    vectors = VectorMixture([np.load(folder / VECTORS, mmap_mode="r")])

    def epoch(rows: Rows) -> list[HistoryEntry]:
        schedule = distil.model_copy(update={"examples": len(rows), "batch_size": _batch_size(contender)})
        objective = DistilObjective(student, nn.Identity(), schedule, texts, vectors, rows)
        with TemporaryDirectory(dir=scratch) as state:  # a checkpoint there would be gone on from
            run = StageRun("distil", schedule, recipe.seed, contender.bf16, lambda _: 0.0, Path(state) / "state.pt")
            return run_stage(objective, run, Progress(quiet=True))

    epoch(np.arange(job.warmup))
    history = epoch(np.arange(job.sentences))
    # Each half's speed is taken before its checkpoint is written.
    seconds = sum(
        (after["examples"] - before["examples"]) / after["examples_per_second"] for before, after in pairwise(history)
    )
    return _measurement(job, tokenizing + seconds, losses=(history[1]["loss"], history[-1]["loss"]))


def _train_there(job: Job, contender: Contender, scratch: Path) -> Measurement:
    recipe, distil = _recipe(job)
    size = _batch_size(contender)
    student = SentenceTransformer(
        str(Path(job.folder) / STUDENT),
        model_kwargs=_attention(contender),
        config_kwargs=dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), distil.dropout),
    )
    student.max_seq_length = distil.max_length
    vectors = np.load(Path(job.folder) / VECTORS)[: job.sentences].astype(np.float32)
    dataset = Dataset.from_dict({"sentence": _texts(job, job.sentences), "label": vectors})

    def epoch(sentences: int) -> tuple[float, list[float]]:
        steps = -(-sentences // size)
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(scratch),
            num_train_epochs=1,
            per_device_train_batch_size=size,
            bf16=contender.bf16,
            learning_rate=distil.learning_rate,
            warmup_ratio=distil.warmup,
            lr_scheduler_type=distil.decay,
            max_grad_norm=distil.max_gradient_norm,
            weight_decay=distil.weight_decay,
            seed=recipe.seed,
            use_cpu=not torch.cuda.is_available(),  # without it, bf16 is refused on a CPU
            dataloader_pin_memory=torch.cuda.is_available(),
            logging_steps=max(1, steps // 2),
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        clock = _EpochClock()
        trainer = SentenceTransformerTrainer(
            student, arguments, dataset.select(range(sentences)), loss=MSELoss(student), callbacks=[clock]
        )
        trainer.train()
        return clock.seconds, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    epoch(job.warmup)
    seconds, losses = epoch(job.sentences)
    return _measurement(job, seconds, losses=(losses[0], losses[-1]))


def _encode_here(job: Job, contender: Contender, _scratch: Path) -> Measurement:
    recipe, _ = _recipe(job)
    return _encode(job, TeacherEncoder(recipe.teacher, bf16=contender.bf16).encode)


def _encode_there(job: Job, contender: Contender, _scratch: Path) -> Measurement:
    recipe, _ = _recipe(job)
    dtype = torch.bfloat16 if contender.bf16 else torch.float32
    folder = TeacherEncoder(recipe.teacher, bf16=contender.bf16).folder
    teacher = SentenceTransformer(str(folder), model_kwargs={"dtype": dtype, **_attention(contender)})
    return _encode(
        job,
        lambda texts: teacher.encode(
            texts,
            prompt=recipe.teacher.prompt or None,
            batch_size=_batch_size(contender),
            show_progress_bar=False,
            normalize_embeddings=True,
        ),
    )


def _encode(job: Job, encode: Callable[[list[str]], object]) -> Measurement:
    encode(_texts(job, job.warmup))
    texts = _texts(job, job.sentences)
    started = time.monotonic()
    encode(texts)
    return _measurement(job, time.monotonic() - started)


def _recipe(job: Job) -> tuple[Recipe, Distil]:
    """The recipe, and of it the stage that is measured: nothing but the mean squared error, noted twice."""
    recipe = Recipe.model_validate_json((Path(job.folder) / RECIPE).read_bytes())
    assert recipe.distil is not None  # the driver sees to it
    changes = {"objectives": Objectives(mse=1), "queue_size": 0, "dimensions": (), "evaluations": 2}
    return recipe, recipe.distil.model_copy(update=changes)


def _texts(job: Job, count: int) -> list[str]:
    return (Path(job.folder) / TEXTS).read_text(encoding="utf-8").split("\n")[:count]


def _batch_size(contender: Contender) -> int:
    assert contender.batch_size is not None  # only our encoder has none
    return contender.batch_size


def _attention(contender: Contender) -> dict[str, str]:
    return {} if contender.attention == "default" else {"attn_implementation": contender.attention}


def _measurement(job: Job, seconds: float, losses: tuple[float, float] | None = None) -> Measurement:
    return Measurement(job.sentences, seconds, job.sentences / seconds, torch.get_num_threads(), losses)


class _EpochClock(TrainerCallback):
    """Seconds from before an epoch's first batch is read to after its last step."""

    seconds: float

    def on_epoch_begin(self, *_arguments: Any, **_options: Any) -> None:
        """See `TrainerCallback`."""
        self.seconds = -time.monotonic()

    def on_epoch_end(self, *_arguments: Any, **_options: Any) -> None:
        """See `TrainerCallback`."""
        self.seconds += time.monotonic()
