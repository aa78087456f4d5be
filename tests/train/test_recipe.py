from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from train.config import Recipe
from train.errors import RecipeError
from train.recipe import RECIPES, load_recipe, parse_recipe, recipe_path
from train.sources import Pairs, Texts


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_say_what_they_are_for(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_use_licence_clean_data_only(path: Path) -> None:
    recipe = load_recipe(path)
    texts = recipe.distil.texts if recipe.distil else ()
    assert not [source.path for source in texts if "acl_abstracts" in source.path]
    unclear = {"mrpc", "rte", "mpe", "joci", "add_one_rte", "commitment_bank"}
    for pairs in chain(*recipe.pairs.values()):
        assert not unclear & set(pairs.sources)
        if pairs.path.startswith(("nli/nli_", "nli/entail_")):
            assert pairs.sources, "all of them would be taken"
    sources: list[Texts | Pairs] = [*texts, *chain(*recipe.pairs.values())]
    for source in sources:
        assert source.license or source.path.startswith("builtin:")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("distil.queue_size=65536", 65536),
        ("distil.queue_size = 1_000", 1000),
        ("name=other-student", "other-student"),
        ("student.layers=[1, 3]", (1, 3)),
        ('teacher.name="a b"', "a b"),
    ],
)
def test_an_override_changes_one_value(override: str, value: object) -> None:
    path = recipe_path("disco-minilm-l3")
    changed, plain = load_recipe(path, [override]).model_dump(), load_recipe(path).model_dump()
    *parents, leaf = override.partition("=")[0].strip().split(".")
    section = changed
    for parent in parents:
        section = section[parent]
    assert section[leaf] == value
    assert changed != plain


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("distil.queue_sise=1", r"distil\.queue_sise: Extra inputs are not permitted \(given: 1\)"),
        ("distil.temperature=0", r"distil\.temperature: .*greater than 0 \(given: 0\)"),
        ("distil.examples=many", r"distil\.examples: .*integer.*given: 'many'"),
        ("distil", "expected a.b=value"),
        ("name.first=x", "name is not a section"),
        ("student.init=pretrained", "needs `model`"),
        ("distil.texts=[]", r"distil\.texts: .*at least 1"),
    ],
)
def test_a_bad_value_is_named(override: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        load_recipe(recipe_path("disco-minilm-l3"), [override])


def test_a_run_needs_an_objective() -> None:
    weights = ["distil.objectives.ckd=0", "distil.objectives.cosine=0"]
    with pytest.raises(RecipeError, match="must be above 0"):
        load_recipe(recipe_path("disco-minilm-l3"), weights)


def test_without_a_section_the_objectives_are_ckd_and_cosine(make_recipe: Callable[..., Recipe]) -> None:
    distil = make_recipe().distil
    assert distil is not None
    assert {name: weight for name, weight in distil.objectives.weights.items() if weight} == {"ckd": 1, "cosine": 10}


def test_what_a_section_of_objectives_leaves_out_weighs_nothing(make_recipe: Callable[..., Recipe]) -> None:
    distil = make_recipe(distil={"objectives": {"mse": 2}}).distil
    assert distil is not None
    assert {name: weight for name, weight in distil.objectives.weights.items() if weight} == {"mse": 2}


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("distil.objectives={}", "one of ckd, rrd, .* must be above 0"),
        ("distil.objectives.ckd=-1", r"distil\.objectives\.ckd: .*greater than or equal to 0"),
        ("distil.objectives.kd=1", r"distil\.objectives\.kd: Extra inputs"),
        ("distil.skew=1", r"distil\.skew: .*less than 1"),
        ("distil.okd_anchor=0", r"distil\.okd_anchor: .*greater than 0"),
        ("distil.label_temperature=0", r"distil\.label_temperature: .*greater than 0"),
    ],
)
def test_a_bad_objective_is_named(override: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        load_recipe(recipe_path("disco-minilm-l3"), [override])


@pytest.mark.parametrize("stage", ["teacher.finetune", "pretrain", "finetune"])
def test_pairs_whose_meaning_counts_are_not_edited(stage: str) -> None:
    pairs = '[{path = "pairs.tsv", edits = 1}]'
    with pytest.raises(RecipeError, match=r"pairs\.tsv: edits change what a pair means"):
        load_recipe(recipe_path("disco-minilm-l3"), [f"{stage}.pairs={pairs}", f"{stage}.examples=1"])
    assert load_recipe(recipe_path("disco-minilm-l3"), [f"distil.pairs={pairs}"]).distil


def test_a_recipe_needs_a_stage() -> None:
    with pytest.raises(RecipeError, match=r"give \[distil\], \[finetune\] or both"):
        parse_recipe({"name": "idle", "teacher": {"model": "x"}}, source="test")


def test_a_recipe_tells_only_what_differs_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "middle.toml").write_text(
        'base = "disco-minilm-l3"\nname = "middle"\n[student]\nlayers = [0, 5]\n[distil]\nqueue_size = 8\n'
    )
    (tmp_path / "top.toml").write_text(
        'base = "middle.toml"\nname = "top"\n[distil.objectives]\nmse = 1\n[[distil.texts]]\npath = "mine.txt"\n'
    )
    shipped = load_recipe(recipe_path("disco-minilm-l3")).model_dump()
    changed = load_recipe(tmp_path / "top.toml", ["distil.batch_size=32"]).model_dump()
    assert changed["name"] == "top"
    assert changed["student"] == shipped["student"] | {"layers": (0, 5)}
    assert [texts["path"] for texts in changed["distil"]["texts"]] == ["mine.txt"], "lists are replaced"
    assert changed["distil"]["objectives"] == shipped["distil"]["objectives"] | {"mse": 1}, "tables are merged"
    expected = {"queue_size": 8, "batch_size": 32}
    kept = shipped["distil"].keys() - {"texts", "objectives", *expected}
    assert {name: changed["distil"][name] for name in kept} == {name: shipped["distil"][name] for name in kept}
    assert {name: changed["distil"][name] for name in expected} == expected
    assert changed["finetune"] == shipped["finetune"]


@pytest.mark.parametrize(
    ("base", "complaint"),
    [
        ('"no-such-recipe"', r"no recipe .*no-such-recipe, the base of .*mine\.toml; shipped ones: .*disco-minilm-l3"),
        ("3", r"base = 3 is not the name or file of a recipe"),
        ('"mine.toml"', r"base = 'mine\.toml' leads back to itself"),
        ('"other.toml"', r"other\.toml: base = 'mine\.toml' leads back to itself"),
    ],
)
def test_a_base_that_cannot_be_is_named(tmp_path: Path, base: str, complaint: str) -> None:
    (tmp_path / "mine.toml").write_text(f"base = {base}\n")
    (tmp_path / "other.toml").write_text('base = "mine.toml"\n')
    with pytest.raises(RecipeError, match=complaint):
        load_recipe(tmp_path / "mine.toml")


def test_a_fault_of_a_whole_section_does_not_print_the_section() -> None:
    with pytest.raises(RecipeError, match=r"needs `model`, a hub id or a folder$"):
        load_recipe(recipe_path("demo"), ["student.init=pretrained"])


def test_a_missing_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="disco-minilm-l3"):
        load_recipe(recipe_path("no-such-recipe"))


def test_broken_toml_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("name = \n")
    with pytest.raises(RecipeError, match="line 1"):
        load_recipe(path)


def test_a_recipe_survives_its_own_json(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe()
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_a_random_students_heads_share_its_width(make_recipe: Callable[..., Recipe]) -> None:
    make_recipe(student={"init": "random", "hidden_size": 48, "attention_heads": 12})
    with pytest.raises(RecipeError, match="hidden_size = 50 cannot be shared out to attention_heads = 12"):
        make_recipe(student={"init": "random", "hidden_size": 50, "attention_heads": 12})
    make_recipe(student={"hidden_size": 50})  # of another student it is not asked


def test_sources_and_stages_are_all_there_is() -> None:
    recipe = load_recipe(recipe_path("demo"))
    assert recipe.distil is not None
    assert recipe.finetune is not None
    assert recipe.stages == {"distil": recipe.distil, "finetune": recipe.finetune}
    assert recipe.sources == (*recipe.distil.texts, *recipe.finetune.pairs)
