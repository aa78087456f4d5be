from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor
from transformers import DistilBertConfig, DistilBertModel

from train.config import Student
from train.errors import ModelError
from train.layer_sharing import share_layers
from train.student import make_student, parameter_count, save_student

TEXTS = ["the cat sat on the mat", "a dog", "quick brown bird flew over the river with a book"]
SHARED = Student(layers=(1, 0), share_layers=True, max_length=12)


@pytest.fixture
def student(tiny_teacher: Path, tmp_path: Path) -> SentenceTransformer:
    return make_student(SHARED, tiny_teacher, tmp_path).eval()


def layers(student: SentenceTransformer) -> Any:
    model: Any = student[0]
    return model.auto_model.encoder.layer


def scores(layer: Any, states: Tensor) -> Tensor:
    """Scaled attention scores before the softmax, float[n, heads, length, length]."""
    attention = layer.attention.self
    heads = attention.num_attention_heads

    def split(vectors: Tensor) -> Tensor:
        return vectors.view(*vectors.shape[:2], heads, -1).transpose(1, 2)

    query, key = split(attention.query(states)), split(attention.key(states))
    found: Tensor = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return found


def test_the_upper_half_transposes_the_scores_of_the_lower(student: SentenceTransformer) -> None:
    states = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(0))
    below, above = layers(student)[:2], layers(student)[2:]
    assert len(below) == len(above) == 2
    for lower, upper in zip(below, above, strict=True):
        assert torch.equal(upper.attention.self.query(states), lower.attention.self.key(states))
        assert torch.equal(upper.attention.self.key(states), lower.attention.self.query(states))
        assert torch.allclose(scores(upper, states), scores(lower, states).transpose(-1, -2), atol=1e-5)
        assert not torch.allclose(scores(upper, states), scores(lower, states), atol=1e-3)
        _, probabilities = upper.attention.self(states, output_attentions=True)
        assert torch.allclose(probabilities, scores(lower, states).transpose(-1, -2).softmax(-1), atol=1e-5)


def test_it_is_twice_as_deep_with_the_weights_of_one_half(
    student: SentenceTransformer, tiny_teacher: Path, tmp_path: Path
) -> None:
    plain = make_student(SHARED.model_copy(update={"share_layers": False}), tiny_teacher, tmp_path)
    assert parameter_count(student) == parameter_count(plain)
    assert len(layers(student)) == 2 * len(layers(plain))
    assert not np.allclose(student.encode(TEXTS), plain.encode(TEXTS), atol=1e-3)


def test_both_halves_learn_as_one(student: SentenceTransformer) -> None:
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    student({"input_ids": torch.tensor([[2, 5, 6, 3]]), "attention_mask": torch.ones(1, 4)})["sentence_embedding"][
        0, 0
    ].backward()
    optimizer.step()
    for lower, upper in zip(layers(student)[:2], layers(student)[2:], strict=True):
        assert upper.attention.self.query.weight is lower.attention.self.key.weight
        assert upper.output.dense.weight is lower.output.dense.weight


def test_what_is_saved_is_a_stock_model_with_the_same_vectors(student: SentenceTransformer, tmp_path: Path) -> None:
    save_student(student, SHARED, tmp_path / "saved")
    reopened = SentenceTransformer(str(tmp_path / "saved")).eval()
    assert np.allclose(reopened.encode(TEXTS), student.encode(TEXTS), atol=1e-6)
    assert len(layers(reopened)) == 4
    assert parameter_count(reopened) > parameter_count(student)
    assert reopened.max_seq_length == 12
    assert len(list(student.parameters())) < len(list(reopened.parameters()))  # saving left the student itself alone


def test_its_state_survives_a_checkpoint(student: SentenceTransformer, tiny_teacher: Path, tmp_path: Path) -> None:
    torch.save(student.state_dict(), tmp_path / "state.pt")
    other = make_student(SHARED, tiny_teacher, tmp_path).eval()
    with torch.no_grad():
        for weights in other.parameters():
            weights.zero_()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert np.array_equal(other.encode(TEXTS), student.encode(TEXTS))


def test_an_encoder_of_another_layout_is_refused() -> None:
    encoder = DistilBertModel(DistilBertConfig(vocab_size=20, dim=8, n_heads=2, n_layers=1, hidden_dim=8))
    with pytest.raises(ModelError, match=r"DistilBertModel .*share_layers = false"):
        share_layers(encoder)
