from pathlib import Path

import numpy as np
import pytest

from tests.train.conftest import sentences
from train.config import Student
from train.scoring import AgreementSelection, StsSelection, encode_texts
from train.student import make_student


@pytest.fixture
def held_out(tiny_teacher: Path, tmp_path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    teacher = make_student(Student(layers=(0, 1), max_length=32), tiny_teacher, tmp_path).eval()
    texts = sentences(60)
    rows = [np.array(ids, dtype=np.int32) for ids in teacher.tokenizer(texts)["input_ids"]]
    return rows, encode_texts(teacher, texts)


def test_the_teacher_agrees_with_itself_whatever_the_basis_of_its_space(
    tiny_teacher: Path, tmp_path: Path, held_out: tuple[list[np.ndarray], np.ndarray]
) -> None:
    rows, vectors = held_out
    teacher = make_student(Student(layers=(0, 1), max_length=32), tiny_teacher, tmp_path).eval()
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((32, 32)))[0].astype(np.float32)
    for reference in (vectors, vectors @ rotation):
        assert AgreementSelection(rows, reference)(teacher) == pytest.approx(100, abs=0.01)


def test_half_a_teacher_agrees_less(
    tiny_teacher: Path, tmp_path: Path, held_out: tuple[list[np.ndarray], np.ndarray]
) -> None:
    rows, vectors = held_out
    student = make_student(Student(layers=(1,), max_length=32), tiny_teacher, tmp_path).eval()
    assert AgreementSelection(rows, vectors)(student) < 95


def test_sts_selection_reads_the_development_set_and_nothing_else(tiny_teacher: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sts"
    folder.mkdir()
    pairs = [("the cat sat", "the cat sat", 5), ("the cat sat", "a dog ran", 2), ("red book", "music at night", 0)]
    lines = [f'{{"sentence1": "{a}", "sentence2": "{b}", "score": {score}}}' for a, b, score in pairs]
    (folder / "STSB.dev.jsonl").write_text("\n".join(lines))
    student = make_student(Student(layers=(0, 1)), tiny_teacher, tmp_path).eval()
    assert -100 <= StsSelection(tmp_path)(student) <= 100
