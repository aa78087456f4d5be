"""A corpus may be larger than memory: what the whole way from file to batches keeps of a text is a few numbers."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from bundle.arrays import Vectors
from tests.conftest import WORDS
from train import corpus, teacher
from train.batches import epoch_batches
from train.config import Teacher
from train.corpus import TextMixture, TokenizedPairs, VectorMixture, tokenize_source
from train.sources import Pairs, Texts
from train.teacher import TeacherEncoder

LINE = " ".join(WORDS[:40])  # a text kept in memory would cost 200 bytes and more, its ids 160, its vector 256
BYTES_A_TEXT = 100


class Stub(TeacherEncoder):
    """Vectors of the right shape; the teacher itself remembers nothing."""

    def encode(self, texts: list[str]) -> Vectors:
        return np.zeros((len(texts), 128), dtype=np.float32)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (corpus, teacher):
        monkeypatch.setattr(module, "_CHUNK", 256)


@pytest.mark.parametrize("kind", [Texts, Pairs])
def test_memory_grows_by_a_few_bytes_a_text(
    kind: type[Texts | Pairs], tiny_teacher: Path, tokenizer_file: Path, tmp_path: Path
) -> None:
    def peak(lines: int) -> int:
        path = tmp_path / f"{lines}.tsv"
        with path.open("w") as file:
            file.write("anchor\tpositive\tnegative\n")
            file.writelines(f"{LINE}\t{LINE}\t{LINE}\n" if kind is Pairs else f"{LINE}\n" for _ in range(lines))
        tracemalloc.start()
        read_whole(kind(path=str(path)), tokenizer_file, Stub(Teacher(model=str(tiny_teacher)), bf16=False))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    texts = 3 if kind is Pairs else 1
    few, many = 1_200 // texts, 15_000 // texts
    peak(few)  # what is imported and made once
    growth = (peak(many) - peak(few)) / (many - few) / texts
    assert 0 < growth < BYTES_A_TEXT


def read_whole(source: Texts | Pairs, tokenizer_file: Path, encoder: TeacherEncoder) -> None:
    """Everything that a run does with its texts before the first step, kept at once as a run keeps it."""
    tokens = tokenize_source(source, None, tokenizer_file, max_length=64)
    vectors = VectorMixture([encoder.source_vectors(source, None, rows=len(tokens), advance=lambda _: None)])
    if isinstance(source, Pairs):
        pairs = TokenizedPairs([tokens], [3])
        batches = epoch_batches(pairs.longest, seed=0, epoch=0, size=64, tokens=16_384)
    else:
        batches = epoch_batches(TextMixture([tokens]).lengths, seed=0, epoch=0, size=64, tokens=16_384)
    assert vectors[batches[0]].shape == (64, 128)
