import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from train.__main__ import main
from train.benchmark import run
from train.benchmark.contenders import measure
from train.benchmark.jobs import Benchmark, Contender, Job
from train.benchmark.run import prepare, run_benchmark, run_in_own_process
from train.config import Recipe
from train.errors import BenchmarkError

OURS = Contender("train", "disco", bf16=False, batch_size=16)
THEIRS = Contender("train", "sentence-transformers", False, "default", 16)


@pytest.fixture
def folder(make_recipe: Callable[..., Recipe], tmp_path: Path) -> Path:
    """What contenders read: 128 sentences, the tiny teacher's vectors and student."""
    recipe = make_recipe()
    assert recipe.distil is not None
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    prepare(recipe, recipe.distil, prepared, None, 128)
    return prepared


def test_both_loops_learn_and_the_record_has_every_figure(
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "_TRAINER_BATCHES", (16,))  # the recipe's size, too: fewer to try
    out = tmp_path / "benchmarks" / "train.json"
    recipe = make_recipe(distil={"learning_rate": 1e-2})  # what is left of 240 sentences is few steps
    run_benchmark(recipe, out, data=None, sentences=240, rounds=1, measure=measure)
    record = msgspec.json.decode(out.read_bytes(), type=Benchmark)
    assert (record.settings.sentences, record.settings.warmup, record.settings.max_length) == (240, 30, 16)
    assert 5 < record.settings.mean_tokens < 14
    assert {"torch", "sentence-transformers", "python"} <= set(record.versions)
    assert record.cores >= 1
    assert len(record.survey) == 4
    assert [contender.program for contender in record.training.contenders.values()] == [
        *["disco"] * 2,
        *["sentence-transformers"] * 2,
    ]
    assert [contender.task for contender in record.encoding.contenders.values()] == ["encode"] * 3
    for comparison in (record.training, record.encoding):
        assert len(comparison.rounds) == 1
        for of_round in comparison.rounds:
            assert set(of_round) == set(comparison.contenders) == set(comparison.sentences_per_second)
            for measured in of_round.values():
                assert measured.sentences_per_second == pytest.approx(measured.sentences / measured.seconds)
    for of_round in record.training.rounds:
        for measured in of_round.values():
            assert measured.losses is not None
            assert measured.losses[1] < measured.losses[0]
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in [*record.training.contenders, *record.encoding.contenders])


def test_both_loops_are_given_the_same_student_texts_and_vectors(folder: Path) -> None:
    """Of one batch before the first step, the loss must be the same."""
    ours, theirs = measure(Job(str(folder), (OURS, THEIRS), sentences=16, warmup=2))
    assert ours.losses is not None
    assert theirs.losses is not None
    assert ours.losses[0] > 0.01
    assert theirs.losses[0] == pytest.approx(ours.losses[0], abs=5.1e-5)  # their log has four decimals


def test_a_contender_runs_in_a_process_of_its_own(folder: Path) -> None:
    [measured] = run_in_own_process(Job(str(folder), (OURS,), sentences=32, warmup=16))
    assert measured.sentences == 32
    assert measured.losses is not None


def test_a_contender_that_fails_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(BenchmarkError, match="disco, fp32: exit code 1"):
        run_in_own_process(Job(str(folder), (OURS,), sentences=32, warmup=16))


def test_recipes_that_cannot_be_measured_are_told(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    out = tmp_path / "train.json"

    def complaint(recipe: Recipe, sentences: int) -> str:
        with pytest.raises(BenchmarkError) as caught:
            run_benchmark(recipe, out, data=None, sentences=sentences, rounds=1, measure=measure)
        return str(caught.value)

    assert "has 240 texts, fewer than --sentences 241" in complaint(make_recipe(), 241)
    assert "no [distil]" in complaint(make_recipe().model_copy(update={"distil": None}), 16)
    narrow = make_recipe(student={"init": "random", "hidden_size": 16, "attention_heads": 2})
    assert "the student has 16 dimensions and the teacher 32" in complaint(narrow, 16)
    assert not out.exists()


def test_counts_below_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["benchmark", "demo", "--rounds", "0"])
    assert "--rounds" in capsys.readouterr().err
