from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from torch import Tensor

from train.config import Student
from train.mixing import Mix, draw_mix, mixed_targets, mixed_vectors
from train.student import embed_ids, make_student, pad_rows

ROWS = [
    np.array(ids, dtype=np.int32) for ids in ([2, 5, 6, 7, 3], [2, 9, 3], [2, 8, 11, 12, 13, 14, 3], [2, 20, 21, 3])
]


@pytest.fixture
def student(tiny_teacher: Path, tmp_path: Path) -> SentenceTransformer:
    return make_student(Student(layers=(0, 1)), tiny_teacher, tmp_path).eval()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return pad_rows(ROWS, torch.device("cpu"))


def mix(first: list[int], second: list[int], share: list[float]) -> Mix:
    return Mix(torch.tensor(first), torch.tensor(second), torch.tensor(share))


def test_a_share_of_one_or_nought_is_the_text_unmixed(
    student: SentenceTransformer, batch: tuple[Tensor, Tensor]
) -> None:
    plain = embed_ids(student, *batch)
    first, second = [0, 1, 2, 3], [2, 2, 1, 0]  # shorter with longer and the other way round
    whole = mixed_vectors(student, *batch, mix(first, second, [1.0] * 4))
    nothing = mixed_vectors(student, *batch, mix(first, second, [0.0] * 4))
    assert torch.allclose(whole, plain[first], atol=1e-6)
    assert torch.allclose(nothing, plain[second], atol=1e-6)


def test_a_text_blended_with_itself_is_itself(student: SentenceTransformer, batch: tuple[Tensor, Tensor]) -> None:
    blended = mixed_vectors(student, *batch, mix([0, 1], [0, 1], [0.3, 0.8]))
    assert torch.allclose(blended, embed_ids(student, *batch)[:2], atol=1e-6)


def test_swapping_texts_and_shares_changes_nothing(student: SentenceTransformer, batch: tuple[Tensor, Tensor]) -> None:
    forth, back = mix([0, 1], [2, 3], [0.3, 0.8]), mix([2, 3], [0, 1], [0.7, 0.2])
    assert torch.allclose(mixed_vectors(student, *batch, forth), mixed_vectors(student, *batch, back), atol=1e-6)
    assert torch.allclose(mixed_targets(torch.eye(4), forth), mixed_targets(torch.eye(4), back))


def test_padding_of_both_stays_masked(student: SentenceTransformer, batch: tuple[Tensor, Tensor]) -> None:
    pair = mix([0], [1], [0.4])
    wide = mixed_vectors(student, *batch, pair)  # padded to the seven tokens of row 2
    narrow = mixed_vectors(student, *pad_rows(ROWS[:2], torch.device("cpu")), pair)
    assert torch.allclose(wide, narrow, atol=1e-6)


def test_where_one_text_has_ended_the_other_fades_without_the_padding_tokens_meaning(
    student: SentenceTransformer, batch: tuple[Tensor, Tensor]
) -> None:
    pair = mix([0], [1], [0.4])
    before = mixed_vectors(student, *batch, pair)
    model: Any = student[0]
    with torch.no_grad():
        model.auto_model.get_input_embeddings().weight[0] = 7.0
    assert torch.equal(mixed_vectors(student, *batch, pair), before)


def test_a_blend_is_neither_of_its_texts_and_trains_the_student(
    student: SentenceTransformer, batch: tuple[Tensor, Tensor]
) -> None:
    blended = mixed_vectors(student, *batch, mix([0], [2], [0.5]))
    for row in (0, 2):
        assert not torch.allclose(blended[0], embed_ids(student, *batch)[row], atol=1e-3)
    blended[0, 0].backward()
    model: Any = student[0]
    tokens = model.auto_model.get_input_embeddings().weight
    assert tokens.grad[5].abs().sum() > 0
    assert tokens.grad[20].abs().sum() == 0  # in neither text


def test_the_target_is_the_normalised_blend() -> None:
    teacher = F.normalize(torch.randn(4, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    blend = 0.3 * teacher[0] + 0.7 * teacher[2]
    target = mixed_targets(teacher, mix([0, 1], [2, 3], [0.3, 1.0]))
    assert torch.allclose(target[0], blend / blend.norm())
    assert torch.allclose(target[1], teacher[1])


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_draws_use_every_text_and_repeat_with_the_random_state(batch: int) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(4)
        drawn.append(draw_mix(batch, 0.4, torch.device("cpu")))
    once, again = drawn
    assert {*once.first.tolist(), *once.second.tolist()} == set(range(batch))
    assert len(once.share) == (batch + 1) // 2
    assert ((once.share >= 0) & (once.share <= 1)).all()
    assert torch.equal(once.first, again.first)
    assert torch.equal(once.share, again.share)
