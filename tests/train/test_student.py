from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from train.config import Student
from train.errors import ModelError
from train.student import embed_ids, embed_rows, make_student, pad_rows, parameter_count, set_dropout, tokenizer_file

TEXTS = ["the cat sat on the mat", "a dog", "quick brown bird flew over the river with a book"]


def test_all_of_the_teachers_layers_are_the_teacher(tiny_teacher: Path, tmp_path: Path) -> None:
    student = make_student(Student(layers=(0, 1), max_length=32), tiny_teacher, tmp_path)
    assert np.allclose(student.encode(TEXTS), SentenceTransformer(str(tiny_teacher)).encode(TEXTS), atol=1e-6)


def test_a_kept_layer_is_the_teachers_layer(tiny_teacher: Path, tmp_path: Path) -> None:
    teacher: Any = SentenceTransformer(str(tiny_teacher))[0].auto_model
    student: Any = make_student(Student(layers=(1,)), tiny_teacher, tmp_path)[0].auto_model
    assert len(student.encoder.layer) == student.config.num_hidden_layers == 1
    for kept, original in zip(
        student.encoder.layer[0].parameters(), teacher.encoder.layer[1].parameters(), strict=True
    ):
        assert torch.equal(kept, original)
    assert parameter_count(student) < parameter_count(teacher)


def test_a_saved_student_opens_with_the_same_vectors(tiny_teacher: Path, tmp_path: Path) -> None:
    student = make_student(Student(layers=(1,), max_length=12), tiny_teacher, tmp_path).eval()
    student.save(str(tmp_path / "saved"), create_model_card=False)
    reopened = SentenceTransformer(str(tmp_path / "saved"))
    assert np.allclose(reopened.encode(TEXTS), student.encode(TEXTS), atol=1e-6)
    assert reopened.max_seq_length == 12


def test_a_random_student_has_its_own_size_and_the_teachers_tokenizer(tiny_teacher: Path, tmp_path: Path) -> None:
    config = Student(init="random", hidden_layers=1, hidden_size=16, attention_heads=2)
    student = make_student(config, tiny_teacher, tmp_path)
    assert student.encode(TEXTS).shape == (3, 16)
    teacher = SentenceTransformer(str(tiny_teacher))
    assert student.tokenizer(TEXTS)["input_ids"] == teacher.tokenizer(TEXTS)["input_ids"]


def test_a_pretrained_student_starts_from_that_model(tiny_teacher: Path, tmp_path: Path) -> None:
    student = make_student(Student(init="pretrained", model=str(tiny_teacher)), tiny_teacher, tmp_path)
    assert np.allclose(student.encode(TEXTS), SentenceTransformer(str(tiny_teacher)).encode(TEXTS), atol=1e-6)


def test_layers_the_teacher_lacks_are_named(tiny_teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the teacher has layers 0 to 1"):
        make_student(Student(layers=(0, 2)), tiny_teacher, tmp_path)


def test_ids_give_the_vectors_of_their_texts_whatever_the_padding(tiny_teacher: Path, tmp_path: Path) -> None:
    student = make_student(Student(layers=(0,), max_length=32), tiny_teacher, tmp_path).eval()
    rows = [np.array(ids, dtype=np.int32) for ids in student.tokenizer(TEXTS)["input_ids"]]
    with torch.inference_mode():
        assert np.allclose(embed_rows(student, rows).numpy(), student.encode(TEXTS), atol=1e-6)


def test_a_batch_in_several_passes_gives_the_same_vectors_and_gradients(
    tiny_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = make_student(Student(layers=(0,)), tiny_teacher, tmp_path)
    ids = torch.randint(5, 40, (7, 6))
    mask = torch.ones_like(ids)

    def vectors_and_gradient(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        monkeypatch.setattr("train.student._PASS_TOKENS", tokens)
        student.zero_grad()
        vectors = embed_ids(student, ids, mask)
        (vectors * torch.arange(vectors.numel()).reshape(vectors.shape)).sum().backward()
        gradient = next(student.parameters()).grad
        assert gradient is not None
        return vectors.detach(), gradient.clone()

    whole = vectors_and_gradient(10_000)
    for tokens in (1, 12, 20):
        torch.testing.assert_close(vectors_and_gradient(tokens), whole)


def test_padding_marks_exactly_the_real_tokens() -> None:
    rows = [np.array([5, 6, 7], dtype=np.int32), np.array([8], dtype=np.int32)]
    ids, mask = pad_rows(rows, torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_dropout_is_set_everywhere(tiny_teacher: Path, tmp_path: Path) -> None:
    student = make_student(Student(layers=(0,)), tiny_teacher, tmp_path)
    set_dropout(student, 0.5)
    found = [module.p for module in student.modules() if isinstance(module, torch.nn.Dropout)]
    assert found
    assert set(found) == {0.5}


def test_the_tokenizer_file_is_the_one_a_bundle_will_hold(tiny_teacher: Path, tmp_path: Path) -> None:
    student = make_student(Student(layers=(0,)), tiny_teacher, tmp_path)
    path = tokenizer_file(student, tmp_path / "tokenizer")
    assert path.name == "tokenizer.json"
    assert path.is_file()
