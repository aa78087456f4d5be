import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from bundle.sts import SELECTION, score
from tests.train.conftest import sentences, write_recipe
from train.config import Recipe
from train.errors import DataError, DivergedError, ResumeError, StudyError
from train.evaluate import evaluate_models, open_encode
from train.stages import train
from train.studies import run
from train.studies.run import run_study
from train.studies.study import Row, Study, load_study

SCHEDULE = 'set = ["distil.examples=96", "distil.evaluations=2", "finetune.examples=32", "finetune.learning_rate=1e-3"]'


@pytest.fixture
def make_study(tmp_path: Path, make_recipe: Callable[..., Recipe]) -> Callable[..., Study]:
    """A study of the tiny recipe; `variants` as in the file."""

    def make(variants: str, *overrides: str) -> Study:
        base, path = tmp_path / "base.toml", tmp_path / "small.toml"
        write_recipe(make_recipe(), base)
        path.write_text(f'title = "Small"\npurpose = "Tests."\nbase = "{base}"\n{SCHEDULE}\n{variants}')
        return load_study(path, overrides)

    return make


CKD = '[variants.ckd]\nset = ["distil.objectives={ckd=1}"]\n'
MSE = '[variants.mse]\nset = ["distil.objectives={mse=1}"]\n'
FINETUNED = '[variants.ckd-finetuned]\nfrom = "ckd"\n'


def rows(folder: Path) -> dict[str, Row]:
    return {path.stem: msgspec.json.decode(path.read_bytes(), type=Row) for path in folder.glob("*.json")}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the recipes that are trained from now on."""
    names: list[str] = []

    def noting(recipe: Recipe, *arguments: Any, **options: Any) -> None:
        names.append(recipe.name)
        train(recipe, *arguments, **options)

    monkeypatch.setattr(run, "train", noting)
    return names


def test_every_variant_gets_a_row_beside_the_teachers(
    make_study: Callable[..., Study], measures: Path, tmp_path: Path
) -> None:
    study, out = make_study(CKD + FINETUNED), tmp_path / "out"
    run_study(study, out, data=measures)
    found = rows(out)
    assert set(found) == {"teacher", "ckd", "ckd-finetuned"}
    for name, row in found.items():
        made = [str(out / name)] if name != "teacher" else [study.teacher.model]
        [scores] = evaluate_models(made, measures, print, retrieval=True).values()
        assert row.sts.tasks == pytest.approx(scores.sts.tasks)
        assert scores.retrieval is not None
        assert row.retrieval.tasks == pytest.approx(scores.retrieval.tasks)
        assert row.sts_dev == pytest.approx(score(open_encode(made[0]), measures, SELECTION))
        assert (row.variant, row.common, row.budget) == (name, study.common, study.budget)
    assert (found["teacher"].examples, found["teacher"].seconds) == (0, 0)
    assert found["teacher"].teacher_cosine == pytest.approx(1)
    assert found["ckd"].teacher_cosine is not None
    assert found["ckd"].teacher_cosine < 0.999
    assert found["ckd"].overrides == ("distil.objectives={ckd=1}",)
    assert found["ckd"].examples >= 96  # whole batches
    assert found["ckd"].seconds > 0
    assert (found["ckd-finetuned"].parent, found["ckd-finetuned"].examples) == ("ckd", 32)


def test_a_finetuned_variant_is_the_student_of_one_run_with_both_stages(
    make_study: Callable[..., Study], make_recipe: Callable[..., Recipe], measures: Path, tmp_path: Path
) -> None:
    run_study(make_study(CKD + FINETUNED), tmp_path / "out", data=measures)
    stages = {
        "distil": {"examples": 96, "evaluations": 2, "objectives": {"ckd": 1}},
        "finetune": {"examples": 32, "learning_rate": 1e-3},
    }
    train(make_recipe(**stages), tmp_path / "both", data=measures, resume=False)
    texts = sentences(20, seed=9)
    encoded = [
        SentenceTransformer(str(folder)).encode(texts)
        for folder in (tmp_path / "out" / "ckd-finetuned", tmp_path / "both", tmp_path / "out" / "ckd")
    ]
    assert np.array_equal(encoded[0], encoded[1])
    assert not np.array_equal(encoded[0], encoded[2])  # finetuning did change it


def test_what_is_done_is_kept_and_the_rest_goes_on(
    make_study: Callable[..., Study], measures: Path, tmp_path: Path, trained: list[str]
) -> None:
    out = tmp_path / "out"
    run_study(make_study(CKD), out, data=measures)
    assert trained == ["small-ckd"]
    before = (out / "ckd.json").stat().st_mtime_ns
    study = make_study(CKD + MSE + FINETUNED)
    run_study(study, out, data=measures, only=["mse"])
    assert trained == ["small-ckd", "small-mse"]
    (out / "mse.json").unlink()  # interrupted between training and scoring
    run_study(study, out, data=measures)
    assert trained == ["small-ckd", "small-mse", "small-ckd-finetuned"]
    assert set(rows(out)) == {"teacher", "ckd", "mse", "ckd-finetuned"}
    assert (out / "ckd.json").stat().st_mtime_ns == before


def test_only_a_variant_means_also_what_it_starts_from(
    make_study: Callable[..., Study], measures: Path, tmp_path: Path
) -> None:
    run_study(make_study(MSE + CKD + FINETUNED), tmp_path / "out", data=measures, only=["ckd-finetuned"])
    assert set(rows(tmp_path / "out")) == {"teacher", "ckd", "ckd-finetuned"}


def test_a_folder_holds_rows_of_one_budget_and_one_recipe_a_variant(
    make_study: Callable[..., Study], measures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_study(make_study(CKD), out, data=measures)
    with pytest.raises(ResumeError, match=r"teacher\.json was made with another recipe"):
        run_study(make_study(CKD, "distil.examples=64"), out, data=measures)
    changed = make_study(CKD.replace("ckd=1", "ckd=2"))
    with pytest.raises(ResumeError, match=r"ckd\.json was made with another recipe"):
        run_study(changed, out, data=measures)
    (out / "ckd.json").unlink()
    with pytest.raises(ResumeError, match=r"out/ckd was made with another recipe"):
        run_study(changed, out, data=measures)


def test_a_variant_another_process_works_on_is_left_to_it(
    make_study: Callable[..., Study], measures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".ckd.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        run_study(make_study(CKD + MSE), out, data=measures)
    assert set(rows(out)) == {"teacher", "mse"}


def test_a_variant_that_diverges_does_not_stop_the_others(
    make_study: Callable[..., Study], measures: Path, tmp_path: Path
) -> None:
    wild = '[variants.wild]\nset = ["distil.learning_rate=1e30"]\n'
    with pytest.raises(DivergedError, match="of wild; the rest is done"):
        run_study(make_study(wild + CKD), tmp_path / "out", data=measures)
    assert set(rows(tmp_path / "out")) == {"teacher", "ckd"}


def test_a_parent_that_was_removed_is_asked_for(
    make_study: Callable[..., Study], measures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_study(make_study(CKD), out, data=measures)
    (out / "ckd").rename(tmp_path / "elsewhere")
    with pytest.raises(ResumeError, match=r"which is gone; remove ckd\.json as well"):
        run_study(make_study(CKD + FINETUNED), out, data=measures)


def test_nothing_is_trained_where_it_could_not_be_scored(
    make_study: Callable[..., Study], measures: Path, tmp_path: Path, trained: list[str]
) -> None:
    (measures / "passages" / "wikinews.jsonl.zst").unlink()
    with pytest.raises(DataError, match="wikinews"):
        run_study(make_study(CKD), tmp_path / "out", data=measures)
    assert trained == []


def test_an_unknown_variant_is_told_before_anything_begins(
    make_study: Callable[..., Study], measures: Path, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match="no variant 'skd'; it has ckd"):
        run_study(make_study(CKD), tmp_path / "out", data=measures, only=["skd"])
    assert not (tmp_path / "out").exists()
