import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch import Tensor

from tests.conftest import SPECIAL, WORDS
from train.config import Recipe, Student
from train.corpus import TextMixture, TokenizedTexts
from train.errors import RecipeError
from train.stages import train
from train.student import embed_ids, embed_rows, make_student, tokenizer_file
from train.token_table import weigh_tokens

TEXTS = ["the cat sat on the mat", "a dog", "quick brown bird flew over the river with a book"]
VOCABULARY = len(SPECIAL) + len(WORDS)


@pytest.fixture
def student(tiny_teacher: Path, tmp_path: Path) -> SentenceTransformer:
    return make_student(Student(init="token-table", max_length=16), tiny_teacher, tmp_path)


def table(student: SentenceTransformer) -> Tensor:
    weights: Tensor = student[0].get_parameter("embedding.weight").data
    return weights


def ids_of(student: SentenceTransformer, text: str) -> list[int]:
    ids: list[int] = student.tokenizer.encode(text).ids
    return ids


def test_a_row_is_the_teachers_vector_of_the_token_alone(student: SentenceTransformer, tiny_teacher: Path) -> None:
    teacher = SentenceTransformer(str(tiny_teacher))
    assert table(student).shape == (VOCABULARY, 32)
    for word in ("cat", "river"):
        (row,) = ids_of(student, word)
        np.testing.assert_allclose(table(student)[row], teacher.encode([word])[0], atol=1e-6)


def test_a_tokenizer_that_pads_and_cuts_changes_no_row(
    student: SentenceTransformer, tiny_teacher: Path, tmp_path: Path
) -> None:
    teacher = Path(shutil.copytree(tiny_teacher, tmp_path / "teacher"))
    tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    tokenizer.enable_padding(length=24)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(teacher / "tokenizer.json"))
    padding = make_student(Student(init="token-table", max_length=16), teacher, tmp_path)
    assert torch.equal(table(padding), table(student))
    np.testing.assert_array_equal(padding.encode(TEXTS), student.encode(TEXTS))


def test_a_text_is_the_mean_of_its_tokens_without_special_ones(student: SentenceTransformer) -> None:
    rows = [ids_of(student, text) for text in TEXTS]
    assert [len(row) for row in rows] == [len(text.split()) for text in TEXTS]
    means = np.stack([table(student)[row].mean(dim=0) for row in rows])
    np.testing.assert_allclose(student.encode(TEXTS), means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)


def test_padded_ids_give_the_vectors_of_their_texts(student: SentenceTransformer) -> None:
    rows = [np.array(ids_of(student, text), dtype=np.int32) for text in TEXTS]
    with torch.inference_mode():
        np.testing.assert_allclose(embed_rows(student, rows).numpy(), student.encode(TEXTS), atol=1e-6)


def test_a_text_without_tokens_is_a_zero_vector_and_leaves_its_neighbours_alone(student: SentenceTransformer) -> None:
    ids, mask = torch.tensor([[7, 8], [0, 0], [9, 0]]), torch.tensor([[1, 1], [0, 0], [1, 0]])
    vectors = embed_ids(student, ids, mask)
    assert not vectors[1].any()
    assert torch.equal(vectors[[0]], embed_ids(student, ids[[0]], mask[[0]]))
    assert torch.equal(vectors[[2]], embed_ids(student, ids[[2]], mask[[2]]))
    vectors.sum().backward()
    gradient = student[0].get_parameter("embedding.weight").grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert set(gradient.any(dim=1).nonzero().flatten().tolist()) <= {7, 8, 9}


def test_frequent_tokens_weigh_less(student: SentenceTransformer) -> None:
    first = TokenizedTexts(np.array([5, 5, 5, 6], dtype=np.int32), np.array([0, 1, 4]))
    second = TokenizedTexts(np.array([5, 7], dtype=np.int32), np.array([0, 2]))
    before = table(student).clone()
    weigh_tokens(student, TextMixture([first, second]))
    centred = before - before[[5, 6, 7]].mean(dim=0)
    for token, share in ((5, 4 / 6), (6, 1 / 6), (7, 1 / 6), (8, 0)):
        assert torch.allclose(table(student)[token], centred[token] * (1e-3 / (1e-3 + share)), atol=1e-7)


def test_it_reads_no_more_than_its_length(student: SentenceTransformer, tmp_path: Path) -> None:
    student.save(str(tmp_path / "saved"), create_model_card=False)
    reopened = SentenceTransformer(str(tmp_path / "saved"))
    long, cut = "cat " * 16 + "dog " * 100, "cat " * 16
    np.testing.assert_allclose(reopened.encode([long]), reopened.encode([cut]), atol=1e-6)
    assert json.loads(tokenizer_file(student, tmp_path / "t").read_text())["truncation"]["max_length"] == 16


def test_a_run_makes_a_stock_model_that_is_closer_to_its_teacher(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(
        student={"init": "token-table"}, distil={"learning_rate": 3e-3}, finetune={"distil_weight": 1.0}
    )
    train(recipe, tmp_path / "student", data=None, resume=False)
    record = json.loads((tmp_path / "student" / "training.json").read_text())
    scores = [entry["score"] for entry in record["history"] if entry["stage"] == "distil"]
    assert max(scores) > scores[0] + 10
    assert record["parameters"] == VOCABULARY * 32
    modules = json.loads((tmp_path / "student" / "modules.json").read_text())
    assert [module["type"].rpartition(".")[2] for module in modules] == ["StaticEmbedding", "Normalize"]
    vectors = SentenceTransformer(str(tmp_path / "student")).encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"student": {"share_layers": True}}, "has no layers"),
        ({"distil": {"objectives": {"mixkd": 1}}}, "mixkd blends texts inside a transformer"),
    ],
)
def test_what_needs_layers_is_refused(
    make_recipe: Callable[..., Recipe], changes: dict[str, dict[str, object]], complaint: str
) -> None:
    student = {"init": "token-table"} | changes.get("student", {})
    with pytest.raises(RecipeError, match=complaint):
        make_recipe(**(changes | {"student": student}))
