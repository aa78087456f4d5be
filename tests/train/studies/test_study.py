from pathlib import Path

import pytest

from train.config import Recipe
from train.errors import RecipeError, StudyError
from train.schedules import Objectives
from train.studies.study import STUDIES, Study, load_study, study_path

BASE = """
name = "base"
[teacher]
model = "teacher"
[student]
layers = [0, 1]
max_length = 32
share_layers = true
[distil]
examples = 100
texts = [{ path = "texts.txt" }]
[finetune]
examples = 10
pairs = [{ path = "pairs.tsv" }]
"""

STUDY = """
title = "A study"
purpose = "To be tested."
base = "{base}"
set = ["seed=1", "distil.examples=50"]
[variants.mse]
set = ["distil.objectives.mse=1"]
[variants.ckd]
set = ["distil.objectives.ckd=1", "distil.examples=60"]
[variants.ckd-finetuned]
from = "ckd"
set = ["finetune.temperature=0.1"]
"""


def write(folder: Path, text: str = STUDY) -> Path:
    (folder / "base.toml").write_text(BASE)
    (folder / "small.toml").write_text(text.replace("{base}", str(folder / "base.toml")))
    return folder / "small.toml"


def test_a_variant_is_one_stage_of_the_base_with_its_changes(tmp_path: Path) -> None:
    study = load_study(write(tmp_path))
    assert list(study.variants) == ["mse", "ckd", "ckd-finetuned"]
    mse, ckd, finetuned = (variant.recipe for variant in study.variants.values())
    assert mse.distil is not None
    assert mse.distil.objectives == Objectives(mse=1)
    assert mse.distil.examples == 50
    assert ckd.distil is not None
    assert ckd.distil.examples == 60  # a variant's own value wins
    assert mse.finetune is None
    assert mse.student.layers == (0, 1)
    assert {recipe.seed for recipe in (mse, ckd, finetuned)} == {1}
    assert finetuned.distil is None
    assert finetuned.finetune is not None
    assert finetuned.finetune.temperature == 0.1
    assert finetuned.name == "small-ckd-finetuned"


def test_a_finetuned_variant_starts_from_its_parents_files(tmp_path: Path) -> None:
    variants = load_study(write(tmp_path)).variants
    student = variants["ckd-finetuned"].recipe_in(Path("runs")).student
    assert (student.init, student.model, student.max_length) == ("pretrained", "runs/ckd", 32)
    assert not student.share_layers  # they are written out in those files
    assert variants["ckd"].recipe_in(Path("runs")) == variants["ckd"].recipe


def test_overrides_come_after_what_the_study_sets_for_all(tmp_path: Path) -> None:
    study = load_study(write(tmp_path), ["distil.examples=7"])
    assert study.common == ("seed=1", "distil.examples=7")
    assert [_examples(study, name) for name in ("mse", "ckd")] == [7, 60]


def test_an_identity_changes_with_whatever_makes_a_variant(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = identities(path)
    assert len(set(before.values())) == 3
    path.write_text(path.read_text().replace("examples=60", "examples=61"))
    after = identities(path)
    assert {name for name in before if before[name] != after[name]} == {"ckd", "ckd-finetuned"}
    assert load_study(path).budget != load_study(path, ["seed=2"]).budget


def test_an_identity_is_that_of_the_values_not_of_how_they_are_written(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = identities(path)
    path.write_text(path.read_text().replace('"seed=1"', '"seed = 1", "distil.queue_size=16_384"'))  # the default
    assert identities(path) == before


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('from = "ckd"', 'from = "skd"', "from 'skd', which is no variant before it"),
        ('from = "ckd"', 'from = "ckd-finetuned"', "which is no variant before it"),
        ("[variants.mse]", "[variants.teacher]", "cannot be called teacher"),
        ('title = "A study"', "", "missing required field `title`"),
        ("[variants.mse]", "[variants.mse]\nsets = []", "unknown field `sets`"),
        ("[variants.mse]", "[variants.mse", "is not a valid study"),
    ],
)
def test_a_bad_study_is_told(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(StudyError, match=complaint):
        load_study(path)


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ('[teacher.finetune]\nexamples = 1\npairs = [{ path = "p.tsv" }]', r"\[teacher\.finetune\] would be done anew"),
        ('[[more_teachers]]\nmodel = "other"', r"\[\[more_teachers\]\]: a study compares its rows with one"),
    ],
)
def test_a_study_has_one_teacher_as_it_came(tmp_path: Path, addition: str, complaint: str) -> None:
    path = write(tmp_path)
    (tmp_path / "base.toml").write_text(f"{BASE}\n{addition}\n")
    with pytest.raises(StudyError, match=complaint):
        load_study(path)


def test_a_variant_cannot_add_a_teacher(tmp_path: Path) -> None:
    path = write(tmp_path, STUDY.replace("distil.objectives.mse=1", "more_teachers=[{model='other'}]"))
    with pytest.raises(StudyError, match="variant mse: "):
        load_study(path)


def test_bad_values_and_names_are_told_as_those_of_a_recipe(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("objectives.mse=1", "objectives.mse=-1"))
    with pytest.raises(RecipeError, match=r"distil\.objectives\.mse"):
        load_study(path)
    path = write(tmp_path, STUDY.replace("variants.mse", 'variants."../mse"'))
    with pytest.raises(RecipeError, match="name"):
        load_study(path)


def test_a_missing_study_names_the_shipped_ones() -> None:
    with pytest.raises(StudyError, match="ablation, objectives, queue, temperature"):
        load_study(study_path("no-such-study"))


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_in_a_shipped_study_every_variant_has_the_same_budget(path: Path) -> None:
    study = load_study(path)
    recipes = [variant.recipe for variant in study.variants.values()]
    distils = [recipe.distil for recipe in recipes if recipe.distil]
    finetunes = [recipe.finetune for recipe in recipes if recipe.finetune]
    for stages in (distils, finetunes):
        assert len({(stage.examples, stage.batch_size, stage.learning_rate) for stage in stages}) <= 1
    assert len({distil.texts for distil in distils}) == 1
    assert len({(recipe.seed, recipe.teacher) for recipe in recipes}) == 1
    assert len({variant.identity for variant in study.variants.values()}) == len(recipes)


def test_the_comparison_has_every_objective_alone() -> None:
    alone: set[str] = set()
    for variant in load_study(study_path("objectives")).variants.values():
        weights = _weights(variant.recipe)
        if len(weights) == 1:
            alone |= weights.keys()
    assert alone == set(Objectives.model_fields)


def test_every_variant_of_the_ablation_is_finetuned_too() -> None:
    variants = load_study(study_path("ablation")).variants
    parents = {variant.changes.parent for variant in variants.values()} - {None}
    assert parents == {name for name, variant in variants.items() if variant.changes.parent is None}


def identities(path: Path) -> dict[str, str]:
    return {name: variant.identity for name, variant in load_study(path).variants.items()}


def _examples(study: Study, name: str) -> int:
    distil = study.variants[name].recipe.distil
    assert distil is not None
    return distil.examples


def _weights(recipe: Recipe) -> dict[str, float]:
    assert recipe.distil is not None
    return {name: weight for name, weight in recipe.distil.objectives.weights.items() if weight}
