"""What every shipped recipe promises of the real data: nothing that retrieval is measured on was trained on."""

from pathlib import Path

import pytest

from bundle.sts import data_directory
from train.data import read_pairs, read_texts
from train.recipe import RECIPES, load_recipe
from train.retrieval import held_back


@pytest.fixture(scope="module")
def data() -> Path:
    found = data_directory()
    if found is None or not (found / "passages").is_dir():
        pytest.skip("needs the passages: set DISCO_DATA")
    return found


@pytest.fixture(scope="module")
def documents(data: Path) -> dict[str, dict[str, str]]:
    return dict(held_back(data))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_no_recipe_trains_on_what_is_held_back(path: Path, data: Path, documents: dict[str, dict[str, str]]) -> None:
    recipe = load_recipe(path)
    answers = {document for task in documents.values() for document in task.values()}
    queries = {query for task in documents.values() for query in task}
    for source in recipe.distil.texts if recipe.distil else ():
        if source.path.startswith("passages/") and source.field == "text":
            assert answers.isdisjoint(read_texts(source, data)), source
    for use, sources in recipe.pairs.items():
        for pairs in sources:
            if pairs.path.startswith(("passages/", "nli/medquad")):
                found = list(read_pairs(pairs, data))
                assert answers.isdisjoint(pair.positive for pair in found), pairs
                # A question may recur with another answer; as unlabelled text, as titles do, it tells nothing.
                assert "unused" in use or queries.isdisjoint(pair.anchor for pair in found), pairs
