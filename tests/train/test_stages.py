import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense

from tests.train.conftest import sentences, write_recipe
from tests.train.report.test_tensorboard import curves
from train.config import Recipe
from train.errors import DataError
from train.recipe import parse_recipe
from train.schedules import Objectives
from train.stages import train
from train.student import parameter_count

TEXTS = sentences(20, seed=9)


def encode(folder: Path) -> np.ndarray:
    vectors: np.ndarray = SentenceTransformer(str(folder)).encode(TEXTS)
    return vectors


def test_a_run_makes_a_student_that_is_closer_to_its_teacher(
    make_recipe: Callable[..., Recipe], tiny_teacher: Path, tmp_path: Path
) -> None:
    fresh = {"init": "random", "hidden_layers": 1, "hidden_size": 32, "attention_heads": 4}
    train(make_recipe(student=fresh), tmp_path / "student", data=None, resume=False)
    record = json.loads((tmp_path / "student" / "training.json").read_text())
    scores = {stage: [e["score"] for e in record["history"] if e["stage"] == stage] for stage in ("distil", "finetune")}
    assert max(scores["distil"]) > scores["distil"][0] + 10
    assert len(scores["finetune"]) == 3
    assert record["recipe"]["distil"]["queue_size"] == 64
    assert record["selection"] == "agreement with the teacher"
    assert encode(tmp_path / "student").shape == (20, 32)
    assert not (tmp_path / "student.run").exists()
    card = (tmp_path / "student" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: sentence-transformers")
    assert "\nlanguage:" not in card, "nobody has said which"
    assert "<h2>Stage 2: finetune</h2>" in (tmp_path / "student" / "report.html").read_text()
    for stage in scores:
        logged = curves(tmp_path / "student" / "logs" / stage)
        assert [value for _, value in logged["score"]] == pytest.approx(scores[stage])
        assert {"loss", "learning_rate", "examples_per_second"} < set(logged)
    assert "terms/ckd" in curves(tmp_path / "student" / "logs" / "distil")


def test_a_data_folder_without_sts_files_is_fine(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    train(make_recipe(distil={"examples": 64}), tmp_path / "student", data=tmp_path, resume=False)
    record = json.loads((tmp_path / "student" / "training.json").read_text())
    assert record["selection"] == "agreement with the teacher"
    assert record["sts"] == {}


def test_a_card_tells_when_finetuning_was_for_nothing(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    for name, changes in {"nothing": {"learning_rate": 1e-30}, "last": {"keep": "last"}}.items():
        train(make_recipe(finetune=changes), tmp_path / name, data=None, resume=False)
        told = "the distilled weights were kept" in (tmp_path / name / "README.md").read_text()
        assert told == (name == "nothing")


def test_texts_of_pairs_are_distilled_too(
    make_recipe: Callable[..., Recipe], pairs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make_recipe(distil={"examples": 16, "pairs": [{"path": str(pairs_file), "limit": 20}]})
    train(recipe, tmp_path / "student", data=None, resume=False)
    assert "distilling on 270 texts" in capsys.readouterr().err  # 240 and 20 triplets, a tenth of all held out
    card = (tmp_path / "student" / "README.md").read_text()
    assert "distilling, labels unused |" in card


def test_edited_copies_are_distilled_and_told(
    make_recipe: Callable[..., Recipe], pairs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make_recipe(distil={"examples": 16, "pairs": [{"path": str(pairs_file), "limit": 20, "edits": 1}]})
    train(recipe, tmp_path / "student", data=None, resume=False)
    assert (texts := re.search(r"distilling on (\d+) texts", capsys.readouterr().err))
    assert 270 < int(texts[1]) <= 270 + 54, "a copy more for most of the 60 texts of pairs"
    assert "distilling, labels unused, with edited copies of them |" in (tmp_path / "student/README.md").read_text()


def test_dimensions_may_differ(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    small = {"init": "random", "hidden_layers": 1, "hidden_size": 16, "attention_heads": 2}
    train(
        make_recipe(
            student=small,
            finetune={"distil_weight": 1.0},
            distil={"learn_temperature": True, "objectives": {"ckd": 1, "cosine": 10, "mse": 1}},
        ),
        tmp_path / "student",
        data=None,
        resume=False,
    )
    assert encode(tmp_path / "student").shape == (20, 16)


@pytest.mark.parametrize("objective", Objectives.model_fields)
def test_every_objective_trains(make_recipe: Callable[..., Recipe], tmp_path: Path, objective: str) -> None:
    distil = {
        "objectives": {objective: 1},
        "examples": 480,
        "evaluations": 2,
        "queue_size": 16,
        "skd_candidates": 8,
        "skd_rank": 4,
        "learning_rate": 3e-3,
    }
    fresh = {"init": "random", "hidden_layers": 1, "hidden_size": 32, "attention_heads": 4}
    recipe = make_recipe(student=fresh, distil=distil).model_copy(update={"finetune": None})
    train(recipe, tmp_path / "student", data=None, resume=False)
    record = json.loads((tmp_path / "student" / "training.json").read_text())
    values = [entry["terms"][objective] for entry in record["history"][1:]]
    assert len(values) == 2
    assert values[1] < values[0]
    assert set(record["history"][1]["terms"]) - {"okd_mean_cosine"} == {objective}
    assert f"1 × {objective}" in (tmp_path / "student" / "README.md").read_text()


def test_an_online_teacher_that_is_not_drawn_anywhere_is_ckd_bit_for_bit(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    schedule = {"examples": 320, "evaluations": 2, "okd_pull": 0}
    runs = {}
    for objective in ("okd", "ckd"):
        recipe = make_recipe(distil=schedule | {"objectives": {objective: 1}}).model_copy(update={"finetune": None})
        train(recipe, tmp_path / objective, data=None, resume=False)
        history = json.loads((tmp_path / objective / "training.json").read_text())["history"]
        runs[objective] = [(entry.get("loss"), entry["score"]) for entry in history]
    assert runs["okd"] == runs["ckd"]
    assert np.array_equal(encode(tmp_path / "okd"), encode(tmp_path / "ckd"))


def test_layers_may_be_shared(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = make_recipe(student={"share_layers": True}, distil={"examples": 160, "evaluations": 1})
    train(recipe.model_copy(update={"finetune": None}), tmp_path / "student", data=None, resume=False)
    record = json.loads((tmp_path / "student" / "training.json").read_text())
    reopened = SentenceTransformer(str(tmp_path / "student"))
    assert json.loads((tmp_path / "student" / "config.json").read_text())["num_hidden_layers"] == 2
    assert record["parameters"] < parameter_count(reopened)
    assert "shares the lower half's weights" in (tmp_path / "student" / "README.md").read_text()


def test_a_killed_run_resumes_to_the_same_student(
    make_recipe: Callable[..., Recipe], tmp_path: Path, cache: Path
) -> None:
    drawing_lots = {"ckd": 1, "cosine": 10, "skd": 1, "okd": 1, "mixkd": 1, "triplet_order": 1}
    recipe = make_recipe(distil={"examples": 3000, "evaluations": 40, "skd_candidates": 8, "objectives": drawing_lots})
    recipe_file = tmp_path / "recipe.toml"
    write_recipe(recipe, recipe_file)
    command = [sys.executable, "-m", "train", str(recipe_file), "--out"]
    environment = os.environ | {"DISCO_CACHE": str(cache), "OMP_NUM_THREADS": "1"}

    killed = subprocess.Popen([*command, str(tmp_path / "killed")], env=environment)
    checkpoint = tmp_path / "killed.run" / "distil.pt"
    _wait(lambda: checkpoint.is_file() or killed.poll() is not None)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    assert not (tmp_path / "killed").exists()

    subprocess.run([*command, str(tmp_path / "killed"), "--resume"], env=environment, check=True)
    subprocess.run([*command, str(tmp_path / "whole")], env=environment, check=True)
    assert np.array_equal(encode(tmp_path / "killed"), encode(tmp_path / "whole"))
    killed_curves, whole_curves = (curves(tmp_path / name / "logs" / "distil") for name in ("killed", "whole"))
    assert killed_curves["terms/ckd"] == whole_curves["terms/ckd"]


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_without_distilling_there_must_be_something_to_select_by(
    make_recipe: Callable[..., Recipe], measures: Path, tmp_path: Path
) -> None:
    small = {"init": "random", "hidden_layers": 1, "hidden_size": 16, "attention_heads": 2}
    both = make_recipe(student=small, finetune={"distil_weight": 1.0})
    recipe = both.model_copy(update={"distil": None})
    with pytest.raises(DataError, match=r"without \[distil\] holds no text back"):
        train(recipe, tmp_path / "unselected", data=None, resume=False)
    train(recipe, tmp_path / "student", data=measures, resume=False)
    record = json.loads((tmp_path / "student" / "training.json").read_text())
    assert {entry["stage"] for entry in record["history"]} == {"finetune"}
    assert encode(tmp_path / "student").shape == (20, 16)
    assert "finetuned contrastively on labelled pairs from" in (tmp_path / "student" / "README.md").read_text()


def test_a_warm_cache_makes_the_same_student_as_a_cold_one(
    make_recipe: Callable[..., Recipe], tiny_teacher: Path, tmp_path: Path, cache: Path
) -> None:
    """To load a teacher with a dense module draws random numbers, as does the projection after it."""
    small = {"init": "random", "hidden_layers": 1, "hidden_size": 16, "attention_heads": 2}
    torch.manual_seed(0)
    model = SentenceTransformer(str(tiny_teacher), device="cpu")
    teacher = tmp_path / "dense-teacher"
    SentenceTransformer(modules=[model[0], model[1], Dense(32, 24)], device="cpu").save(str(teacher))
    schedule = {"examples": 64, "evaluations": 1, "keep": "last", "objectives": {"ckd": 1, "okd": 1}}
    document = make_recipe(student=small, distil=schedule, finetune={"distil_weight": 1.0}).model_dump(mode="json")
    document["teacher"]["model"] = str(teacher)
    recipe = parse_recipe(document, source="test")
    made = []
    for name in ("cold", "warm"):
        train(recipe, tmp_path / name, data=None, resume=False)
        made.append(load_file(tmp_path / name / "model.safetensors"))
    cold, warm = made
    assert all(torch.equal(cold[name], warm[name]) for name in cold)
    shutil.rmtree(cache)
    seeded = parse_recipe(document | {"seed": 43}, source="test")
    train(seeded, tmp_path / "other", data=None, resume=False)
    other = load_file(tmp_path / "other" / "model.safetensors")
    assert not all(torch.equal(cold[name], other[name]) for name in cold)
    assert json.loads((tmp_path / "cold" / "training.json").read_text())["recipe"]["seed"] == 42
