import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from bundle.layout import Bundle, seal_directory
from tests.conftest import build_tiny_bundle
from tests.train.ladder.test_budget import LADDER
from train.__main__ import main
from train.errors import BudgetError, LadderError
from train.ladder import cli
from train.ladder.budget import Budget
from train.ladder.measurement import measure_ladder, measure_latency
from train.ladder.plot import plot_ladder
from train.ladder.rungs import REFERENCE, read_ladder, write_ladder
from train.recipe import shipped_recipes
from train.retrieval import RetrievalScores

RUNGS = ["disco-minilm-l6", "disco-minilm-l4", "disco-minilm-l3", "disco-minilm-l2", "disco-minilm-l1"]
SVG_TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.fixture
def named_bundle(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        bundle = build_tiny_bundle(tmp_path / "bundles" / name)
        seal_directory(bundle.path, msgspec.structs.replace(bundle.manifest, name=name))
        return bundle.path

    return make


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven STS files of three pairs; retrieval, which has a test of its own, is given."""
    folder = tmp_path / "data" / "sts"
    folder.mkdir(parents=True)
    pairs = [("the cat sat", "the cat ran", 4), ("a dog", "a big dog", 3), ("red book", "music at night", 0)]
    lines = [json.dumps({"sentence1": a, "sentence2": b, "score": score}) for a, b, score in pairs]
    for name in ("STS12.all", "STS13.all", "STS14.all", "STS15.all", "STS16.all", "STSB.test", "SICK.test"):
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    given = RetrievalScores({"wikipedia": 70.0}, 70.0)
    monkeypatch.setattr("train.evaluate.evaluate_retrieval", lambda *_: given)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["the quick brown bird flew over the river", "a man reads a book in the city at night"] * 10
    monkeypatch.setattr("train.ladder.measurement.docstring_texts", lambda: iter(texts))


def test_every_rung_has_a_recipe() -> None:
    assert {*RUNGS, "disco-minilm-static"} <= set(shipped_recipes())


def test_finished_bundles_become_a_ladder(named_bundle: Callable[[str], Path], data: Path) -> None:
    reference, teacher = named_bundle(REFERENCE), named_bundle("big-teacher")
    (reference / "training.json").write_text(json.dumps(_record(parameters=123)))
    notes: list[str] = []
    ladder = measure_ladder([teacher, reference], data, notes.append, rounds=3)
    rungs = {rung.name: rung for rung in ladder.rungs}
    assert rungs.keys() == {REFERENCE, "big-teacher"}
    assert [rung.latency_ms for rung in ladder.rungs] == sorted(rung.latency_ms for rung in ladder.rungs)
    mine, other = rungs[REFERENCE], rungs["big-teacher"]
    assert mine.latency_ratio == 1
    assert mine.throughput_ratios == {"short": 1, "long": 1}
    assert (mine.parameters, other.parameters) == (123, None)
    assert (mine.trainable, other.trainable) == (True, False)
    assert mine.bytes == sum((reference / name).stat().st_size for name in ("onnx/model.onnx", "tokenizer.json"))
    assert mine.quality == pytest.approx((mine.sts.mean + 70) / 2)
    assert len(mine.sts.tasks) == 7
    assert ladder.cpu
    assert "onnxruntime" in ladder.engine
    assert REFERENCE in notes[0]


def test_bundles_that_make_no_ladder_are_named(named_bundle: Callable[[str], Path], tmp_path: Path, data: Path) -> None:
    first = named_bundle("one")
    with pytest.raises(LadderError, match=f"'{REFERENCE}', which is not among one; add its bundle"):
        measure_ladder([first], data, print)
    with pytest.raises(LadderError, match=r"are both called 'one'"):
        measure_ladder([first, first], data, print)


def test_latency_is_that_of_one_text_in_milliseconds(tiny_bundle: Bundle) -> None:
    assert 0 < measure_latency(tiny_bundle) < 1000


def test_a_ladder_survives_its_file(tmp_path: Path) -> None:
    write_ladder(LADDER, tmp_path / "ladder.json")
    assert read_ladder(tmp_path / "ladder.json") == LADDER


def test_a_missing_ladder_tells_how_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(LadderError, match=r"ladder\.json is missing.*`make ladder"):
        read_ladder(tmp_path / "ladder.json")


@pytest.mark.parametrize("content", ["{", "{}", "[]", "\xff"])
def test_a_damaged_ladder_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "ladder.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(LadderError, match="is not a ladder"):
        read_ladder(tmp_path / "ladder.json")


def test_the_plot_names_every_rung_and_the_teacher_twice() -> None:
    drawn = plot_ladder(LADDER)
    labels = ["".join(text.itertext()) for text in ET.fromstring(drawn).iter(SVG_TEXT)]
    for rung in LADDER.rungs:
        assert labels.count(rung.name.removeprefix("disco-minilm-")) == 2
    assert plot_ladder(LADDER) == drawn


def test_the_command_writes_json_and_plot(
    named_bundle: Callable[[str], Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = [str(named_bundle(name)) for name in (REFERENCE, "big-teacher")]
    written, plot = tmp_path / "ladder.json", tmp_path / "ladder.svg"
    assert main(["ladder", *bundles, "--data", str(data), "--json", str(written), "--plot", str(plot)]) == 0
    assert {rung.name for rung in read_ladder(written).rungs} == {REFERENCE, "big-teacher"}
    assert "big-teacher" in plot.read_text()
    assert REFERENCE in capsys.readouterr().out


def test_the_ladder_is_scaled_to_this_machine(
    tmp_path: Path,
    named_bundle: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_ladder(LADDER, tmp_path / "ladder.json")
    monkeypatch.setattr(cli, "_SHIPPED", named_bundle(REFERENCE))
    for milliseconds, expected in ((1.0, "disco-minilm-l2"), (2.0, "disco-minilm-l1")):
        monkeypatch.setattr("train.ladder.measurement.measure_latency", lambda _, here=milliseconds: here)
        assert cli.recipe_within(Budget(milliseconds=1), tmp_path / "ladder.json") == expected
        line = capsys.readouterr().out
        assert line.startswith(f"best within 1 ms: {expected} (")
        assert line.endswith(f"{REFERENCE} takes {milliseconds:.3g} ms here\n")


def test_processes_do_not_choose_each_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ladder(LADDER, tmp_path / "ladder.json")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BudgetError, match="start its recipe by name"):
        cli.recipe_within(Budget(milliseconds=1), tmp_path / "ladder.json")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--latency-budget", "1", "--out", "x"], "'1' is not a time"),
        (["--size-budget", "15", "--out", "x"], "'15' is not a size"),
        (["demo", "--size-budget", "15MB", "--out", "x"], "leave out 'demo', or the budget"),
        (["--size-budget", "1MB", "--ladder", "LADDER", "--out", "x"], "no student is within 1 MB"),
        (["--size-budget", "1MB", "--ladder", "nowhere.json", "--out", "x"], "nowhere.json is missing"),
        (["ladder", "x"], "scored on STS and retrieval"),
    ],
)
def test_problems_of_a_budget_are_one_message_and_exit_code_2(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_ladder(LADDER, tmp_path / "ladder.json")
    assert main([word.replace("LADDER", str(tmp_path / "ladder.json")) for word in arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_a_budget_trains_the_recipe_it_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ladder(LADDER, tmp_path / "ladder.json")
    trained = []
    monkeypatch.setattr("train.stages.train", lambda recipe, *_, **__: trained.append(recipe))
    ladder, out = str(tmp_path / "ladder.json"), str(tmp_path / "student")
    assert main(["--size-budget", "12.5MB", "--ladder", ladder, "--set", "seed=7", "--out", out]) == 0
    assert [(recipe.name, recipe.seed) for recipe in trained] == [("disco-minilm-static", 7)]
    assert "best within 12.5 MB: disco-minilm-static (12.0 MB;" in capsys.readouterr().out


def _record(*, parameters: int) -> dict[str, object]:
    return {
        "name": REFERENCE,
        "teacher": "big-teacher",
        "finished": "2026-11-21",
        "parameters": parameters,
        "selection": "STSB.dev",
        "recipe": {},
        "data": {},
        "versions": {},
        "history": [],
    }
