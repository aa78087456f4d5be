import json
from collections.abc import Callable
from pathlib import Path

import pytest

from train.config import Recipe
from train.errors import ResumeError
from train.run_folder import claim_folder


def test_nothing_is_overwritten_and_no_run_is_mixed_up(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    out = tmp_path / "student"
    folder = claim_folder(make_recipe(), out, resume=False)
    with pytest.raises(ResumeError, match="continue it with --resume"):
        claim_folder(make_recipe(), out, resume=False)
    assert claim_folder(make_recipe(), out, resume=True) == folder
    with pytest.raises(ResumeError, match="begun with another recipe"):
        claim_folder(make_recipe(distil={"queue_size": 65}), out, resume=True)
    (folder / "recipe.json").write_text("{}")
    with pytest.raises(ResumeError, match="begun with another recipe"):
        claim_folder(make_recipe(), out, resume=True)
    out.mkdir()
    with pytest.raises(ResumeError, match="exists already"):
        claim_folder(make_recipe(), out, resume=True)


def test_a_run_of_an_older_version_goes_on(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe_file = claim_folder(make_recipe(), tmp_path / "student", resume=False) / "recipe.json"
    older = json.loads(recipe_file.read_text())
    del older["teacher"]["finetune"], older["distil"]["mixkd_concentration"]
    recipe_file.write_text(json.dumps(older))
    claim_folder(make_recipe(), tmp_path / "student", resume=True)
    assert "mixkd_concentration" in recipe_file.read_text()
