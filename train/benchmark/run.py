"""Running a benchmark: prepare what all contenders share, let them take turns, write the record. Trains nothing itself.

A contender of a round has a process to itself, so that none profits or suffers from what another left behind.
"""

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from bundle.atomic import write_atomically
from bundle.provenance import available_cores, commit, processor, versions
from bundle.text import TextEncoder
from train.benchmark.contenders import RECIPE, STUDENT, TEXTS, VECTORS
from train.benchmark.jobs import (
    Benchmark,
    Comparison,
    Contender,
    Job,
    Measurement,
    Settings,
    compare,
    fastest,
    table,
    trainer_settings,
)
from train.config import Recipe
from train.data import read_texts
from train.errors import BenchmarkError
from train.schedules import Distil
from train.student import make_student, save_student, tokenizer_file
from train.teacher import TeacherEncoder

_LIBRARIES = ("accelerate", "datasets", "numpy", "sentence-transformers", "tokenizers", "torch", "transformers")
_TRAINER_BATCHES = (16, 64)  # as in the trainer's documentation; the recipe's size is tried as well
_ENCODE_BATCH = 32  # the default of `SentenceTransformer.encode`

Measure = Callable[[Job], list[Measurement]]


def run_benchmark(
    recipe: Recipe, out: Path, *, data: Path | None, sentences: int, rounds: int, measure: Measure | None = None
) -> None:
    """Measure on the first `sentences` texts, print tables, write the record to `out`.

    `measure` does a job, by default in a process of its own.

    Raises:
        BenchmarkError: the recipe or its texts are not enough, or a contender failed.
    """
    if recipe.distil is None:
        raise BenchmarkError(f"{recipe.name} has no [distil], so there is nothing to compare")
    distil = recipe.distil
    with TemporaryDirectory(prefix="disco-benchmark-") as folder:
        turns = _Turns(Path(folder), sentences, measure or run_in_own_process)
        settings = prepare(recipe, distil, turns.folder, data, sentences)
        survey = turns.survey(trainer_settings(sorted({*_TRAINER_BATCHES, distil.batch_size})))
        training = turns.compare(_training(distil.batch_size, fastest(survey)), rounds)
        encoding = turns.compare(_encoding(), rounds)
    record = Benchmark(
        commit=commit(),
        date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        processor=processor(),
        cores=available_cores(),
        versions=versions(_LIBRARIES),
        settings=settings,
        survey={contender.name: measured for contender, measured in survey.items()},
        training=training,
        encoding=encoding,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, msgspec.json.format(msgspec.json.encode(record), indent=2))
    print(f"training\n\n{table(training)}\n\nencoding by the teacher\n\n{table(encoding)}")


def _training(batch_size: int, trainers: Sequence[Contender]) -> list[Contender]:
    return [*(Contender("train", "disco", bf16, batch_size=batch_size) for bf16 in (True, False)), *trainers]


def _encoding() -> list[Contender]:
    theirs = (Contender("encode", "sentence-transformers", bf16, "default", _ENCODE_BATCH) for bf16 in (True, False))
    return [Contender("encode", "disco", bf16=True), *theirs]


def prepare(recipe: Recipe, distil: Distil, folder: Path, data: Path | None, sentences: int) -> Settings:
    """Put into `folder` what every contender reads: texts, the teacher's vectors of them, the untrained student."""
    source = distil.texts[0].model_copy(update={"limit": sentences})
    texts = list(read_texts(source, data))
    if len(texts) < sentences:
        raise BenchmarkError(f"{source.path} has {len(texts)} texts, fewer than --sentences {sentences}")
    (folder / TEXTS).write_text("\n".join(text.replace("\n", " ") for text in texts), encoding="utf-8")
    (folder / RECIPE).write_text(recipe.model_dump_json())
    teacher = TeacherEncoder(recipe.teacher, bf16=recipe.bf16)
    vectors = teacher.encode(texts)
    np.save(folder / VECTORS, vectors.astype(np.float16))
    student = make_student(recipe.student, teacher.folder, folder / "initial")
    if student.get_embedding_dimension() != vectors.shape[1]:
        raise BenchmarkError(
            f"the student has {student.get_embedding_dimension()} dimensions and the teacher {vectors.shape[1]}: mean "
            "squared error, by which they are compared, wants equal ones"
        )
    save_student(student, recipe.student, folder / STUDENT)
    encoder = TextEncoder.from_file(tokenizer_file(student, folder / "tokenizer"), max_length=distil.max_length)
    return Settings(
        recipe=recipe.name,
        teacher=recipe.teacher.title,
        source=source.path,
        sentences=sentences,
        warmup=_warmup(sentences),
        mean_tokens=sum(map(len, encoder.encode(texts))) / sentences,
        max_length=distil.max_length,
        learning_rate=distil.learning_rate,
    )


@dataclass(frozen=True)
class _Turns:
    """Who measures what when; a line on standard error for each measurement."""

    folder: Path
    sentences: int
    measure: Measure

    def survey(self, contenders: Sequence[Contender]) -> dict[Contender, Measurement]:
        """A short look at each, one after the other in one process: it only tells which to measure properly."""
        sentences = -(-self.sentences // 4)
        job = Job(str(self.folder), tuple(contenders), sentences, _warmup(sentences))
        measured = dict(zip(contenders, self.measure(job), strict=True))
        for contender, measurement in measured.items():
            self._note("survey", contender, measurement)
        return measured

    def compare(self, contenders: Sequence[Contender], rounds: int) -> Comparison:
        """Every contender once a round, in a process of its own; every other round the other way round."""
        measured: list[dict[str, Measurement]] = []
        for number in range(rounds):
            of_round = {}
            for contender in contenders[:: -1 if number % 2 else 1]:
                job = Job(str(self.folder), (contender,), self.sentences, _warmup(self.sentences))
                [of_round[contender.name]] = self.measure(job)
                self._note(f"round {number + 1}/{rounds}", contender, of_round[contender.name])
            measured.append(of_round)
        return compare(contenders, measured)

    def _note(self, stage: str, contender: Contender, measured: Measurement) -> None:
        speed = f"{measured.sentences_per_second:,.0f} sentences/s"
        print(f"{stage}: {contender.task}, {contender.name}: {speed}", file=sys.stderr)


def _warmup(sentences: int) -> int:
    return -(-sentences // 8)


def run_in_own_process(job: Job) -> list[Measurement]:
    """Measure in a fresh process, with an empty cache.

    Raises:
        BenchmarkError: the process failed; the message has the end of what it said.
    """
    file = Path(job.folder) / "job.json"
    file.write_bytes(msgspec.json.encode(job))
    with TemporaryDirectory(prefix="disco-cache-") as cache:
        done = subprocess.run(
            [sys.executable, "-m", "train.benchmark.worker", str(file)],
            env=os.environ | {"DISCO_CACHE": cache},  # an empty one: tokenising is part of the work
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-3:])
        raise BenchmarkError(f"{job.contenders[0].name}: exit code {done.returncode}: {last}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=list[Measurement])
