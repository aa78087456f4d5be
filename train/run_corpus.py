"""What a run trains on: the texts of its recipe's sources as tokens, with the teachers' vectors. Knows no stage."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.batches import Rows
from train.cache import cache_directory
from train.corpus import (
    ConcatenatedVectors,
    TeacherVectors,
    TextMixture,
    TokenizedTexts,
    VectorMixture,
    tokenize_source,
)
from train.distributed import forked_random_state
from train.run import Run
from train.schedules import Distil
from train.sources import Pairs, Texts
from train.storage import full_disk_told
from train.teacher import TeacherEncoder

_HELD_OUT = 1000


@dataclass(frozen=True)
class Corpus:
    """The unlabelled text with the teachers' vectors; `held_out` rows are never trained on."""

    config: Distil
    texts: TextMixture
    vectors: TeacherVectors
    training: Rows
    held_out: Rows


def corpus_of(run: Run) -> Corpus | None:
    """What is distilled on; None where the recipe does not distil."""
    config = run.recipe.distil
    if config is None:
        return None
    sources: tuple[Texts | Pairs, ...] = (*config.texts, *config.pairs)
    tokens = tokens_of(run, sources, config.max_length)
    vectors = teacher_vectors_of(run, sources, tokens)
    mixture = TextMixture(tokens)
    shuffled = np.random.default_rng(run.recipe.seed).permutation(len(mixture))
    held_out = min(_HELD_OUT, len(mixture) // 10)
    training = np.sort(shuffled[held_out:])
    return Corpus(config, mixture, vectors, training=training, held_out=shuffled[:held_out])


def tokens_of(run: Run, sources: Sequence[Texts | Pairs], max_length: int) -> list[TokenizedTexts]:
    """Each source's texts, with the run's prompt before them, as its model's tokens."""
    tokens = []
    for source in sources:
        run.progress.note(f"reading {source.path}")
        with full_disk_told(cache_directory()):
            tokens.append(
                tokenize_source(source, run.data, run.tokenizer_file, max_length=max_length, prompt=run.prompt)
            )
    return tokens


def teacher_vectors_of(run: Run, sources: Sequence[Texts | Pairs], tokens: Sequence[TokenizedTexts]) -> TeacherVectors:
    """All teachers' vectors of all texts of `sources`, whose `tokens` these are, side by side."""
    # To load a teacher may draw random numbers, which a warm cache spares: what is drawn next must be the same.
    with forked_random_state():
        return ConcatenatedVectors([_vectors_by(teacher, run, sources, tokens) for teacher in run.teachers])


def _vectors_by(
    teacher: TeacherEncoder, run: Run, sources: Sequence[Texts | Pairs], tokens: Sequence[TokenizedTexts]
) -> VectorMixture:
    vectors = []
    for source, texts in zip(sources, tokens, strict=True):
        run.progress.start("teacher", total=len(texts))
        with full_disk_told(cache_directory()):
            vectors.append(teacher.source_vectors(source, run.data, rows=len(texts), advance=run.progress.advance))
        run.progress.stop()
    teacher.release()
    return VectorMixture(vectors)
