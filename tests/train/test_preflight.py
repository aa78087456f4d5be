"""What is told before anything long begins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import RobertaConfig, RobertaModel

from tests.conftest import SPECIAL, WORDS, save_tokenizer
from train.config import Recipe
from train.errors import DataError, DiscoError, ModelError, RecipeError
from train.preflight import preflight
from train.recipe import RECIPES, load_recipe, parse_recipe
from train.stages import train
from train.student import positions
from train.teacher import TeacherEncoder

SMALL = {"init": "random", "hidden_layers": 1, "hidden_size": 16, "attention_heads": 2}


def refusal(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DiscoError:
    """What a run is refused with, which must be before a corpus is encoded and leave nothing behind."""

    def encode(*_: object, **__: object) -> np.ndarray:
        raise AssertionError("the teacher has begun to encode")

    monkeypatch.setattr(TeacherEncoder, "source_vectors", encode)
    with pytest.raises(DiscoError) as refused:
        train(recipe, tmp_path / "student", data=None, resume=False)
    assert not (tmp_path / "student.run").exists()
    return refused.value


@pytest.mark.parametrize("stage", ["teacher.finetune", "pretrain", "distil", "finetune"])
def test_the_first_row_of_every_source_is_read(
    make_recipe: Callable[..., Recipe], pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    document: dict[str, Any] = make_recipe().model_dump(mode="json")
    pairs = [{"path": str(pairs_file), "columns": ["anchor", "positive", "opposite"]}]
    added = {"examples": 1, "max_length": 16, "pairs": pairs}
    if stage == "teacher.finetune":
        document["teacher"]["finetune"] = added
    else:
        document[stage] = (document.get(stage) or added) | {"pairs": pairs}
    told = refusal(parse_recipe(document, source="test"), tmp_path, monkeypatch)
    assert isinstance(told, DataError)
    assert "no column 'opposite'" in str(told)


def test_of_sts_files_all_are_wanted_or_none(make_recipe: Callable[..., Recipe], measures: Path) -> None:
    preflight(make_recipe(), measures)
    (measures / "sts" / "STS14.all.jsonl").unlink()
    with pytest.raises(DataError, match=r"STS14\.all\.jsonl is missing"):
        preflight(make_recipe(), measures)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"distil": {"max_length": 17}},
            "whole; set distil.max_length = 16, or raise student.max_length",
        ),
        ({"finetune": {"max_length": 20}}, "finetune.max_length = 20: the finished student reads 16"),
        (
            {"student": {"max_length": 100}, "distil": {"max_length": 65}},
            "distil.max_length = 65: the model has positions for 64 tokens only; set distil.max_length = 64 or less",
        ),
        ({"student": {"init": "token-table"}, "distil": {"max_length": 17}}, "the finished student reads 16 tokens"),
        ({"distil": {"dimensions": [32]}}, "32 is no truncation of the student's 32 dimensions"),
        ({"finetune": {"dimensions": [8, 64]}}, "64 is no truncation of the student's 32 dimensions"),
        (
            {"student": SMALL, "distil": {"dimensions": [8]}},
            "distil.dimensions with ckd, cosine: the student has 16 dimensions, the teacher 32",
        ),
        (
            {"student": SMALL, "finetune": {"dimensions": [8], "distil_weight": 1.0}},
            "finetune.dimensions with distil_weight: the student has 16",
        ),
    ],
)
def test_a_recipe_that_does_not_suit_its_models_is_refused(
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    complaint: str,
) -> None:
    told = refusal(make_recipe(**changes), tmp_path, monkeypatch)
    assert isinstance(told, RecipeError)
    assert complaint in str(told)


def test_dimensions_that_nothing_is_compared_with_are_fine(make_recipe: Callable[..., Recipe]) -> None:
    preflight(make_recipe(student=SMALL, finetune={"dimensions": [8]}), None)


@pytest.mark.parametrize(
    ("finetune", "complaint"),
    [({"max_length": 65}, "teacher.finetune.max_length = 65: .* 64 tokens"), ({"dimensions": [32]}, "no truncation")],
)
def test_a_stage_of_the_teacher_must_suit_the_teacher(
    make_recipe: Callable[..., Recipe], pairs_file: Path, finetune: dict[str, Any], complaint: str
) -> None:
    stage = {"examples": 1, "pairs": [{"path": str(pairs_file)}]}
    preflight(make_recipe(teacher={"finetune": stage}), None)
    with pytest.raises(RecipeError, match=complaint):
        preflight(make_recipe(teacher={"finetune": stage | finetune}), None)


@pytest.mark.parametrize("content", [None, "{}", "not JSON"])
def test_a_model_to_start_from_that_cannot_be_opened_is_told(
    make_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    folder = tmp_path / "start"
    folder.mkdir()
    if content is not None:
        (folder / "config.json").write_text(content)
    told = refusal(make_recipe(student={"init": "pretrained", "model": str(folder)}), tmp_path, monkeypatch)
    assert isinstance(told, ModelError)
    assert f"student.model = {str(folder)!r} cannot be opened" in str(told)


def test_positions_that_count_on_from_the_padding_are_fewer(tmp_path: Path, tiny_teacher: Path) -> None:
    config = RobertaConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=34,
        pad_token_id=1,
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, longest=64)
    transformer = Transformer(str(tmp_path))
    model = SentenceTransformer(modules=[transformer, Pooling(16, "mean")], device="cpu")
    assert positions(model) == 32
    ids = torch.full((1, 32), 5)
    model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    with pytest.raises(IndexError):
        model({"input_ids": torch.full((1, 33), 5), "attention_mask": torch.ones(1, 33)})
    assert positions(SentenceTransformer(str(tiny_teacher))) == 64


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_students_read_as_much_as_they_are_trained_on(path: Path) -> None:
    recipe = load_recipe(path)
    assert all(stage.max_length <= recipe.student.max_length for stage in recipe.stages.values())
