import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from bundle.arrays import Vectors, normalize
from bundle.layout import Bundle
from bundle.quality import Encode
from bundle.sts import evaluate
from tests.train.conftest import with_default_prompt
from train import evaluate as evaluation
from train.__main__ import main
from train.evaluate import Read, evaluate_models, open_encode, open_read
from train.retrieval import evaluate_retrieval

Figures = dict[str, dict[str, dict[str, float]]]


@pytest.fixture
def figures(measures: Path, tmp_path: Path) -> Callable[..., Figures]:
    """What the command writes as JSON."""

    def run(*arguments: str) -> Figures:
        file = tmp_path / "figures.json"
        assert main(["evaluate", *arguments, "--data", str(measures), "--json", str(file)]) == 0
        found: Figures = json.loads(file.read_text())
        return found

    return run


def test_leading_dimensions_are_scored_like_models_of_their_own(
    figures: Callable[..., Figures], tiny_teacher: Path, tiny_bundle: Bundle, measures: Path
) -> None:
    models = [str(tiny_teacher), str(tiny_bundle.path)]
    found = figures(*models, "--retrieval", "--dimensions", "8", "2")
    assert list(found) == [name + suffix for name in models for suffix in ("", " @ 8", " @ 2")]
    for name in models:
        whole = open_encode(name)
        for suffix, size in (("", None), (" @ 8", 8), (" @ 2", 2)):

            def leading(texts: Sequence[str], whole: Encode = whole, size: int | None = size) -> Vectors:
                return normalize(whole(texts)[:, :size])

            row = found[name + suffix]
            assert row["sts"]["mean"] == pytest.approx(evaluate(leading, measures).mean, abs=1e-6)
            assert row["retrieval"]["mean"] == pytest.approx(evaluate_retrieval(leading, measures).mean, abs=1e-6)


def test_a_model_reads_no_text_twice_for_its_truncations(
    tiny_teacher: Path, measures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def read_(texts: Sequence[str], prompt: str | None) -> Vectors:
        read.append(len(texts))
        return np.random.default_rng(len(read)).standard_normal((len(texts), 8)).astype(np.float32)

    monkeypatch.setattr(evaluation, "open_read", lambda _: read_)
    evaluate_models(["x"], measures, print, retrieval=True)
    once = len(read)
    evaluate_models(["x"], measures, print, retrieval=True, dimensions=[4, 2])
    assert len(read) <= 2 * once


def test_documents_may_be_another_models(
    figures: Callable[..., Figures],
    tiny_teacher: Path,
    measures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    teacher = str(tiny_teacher)
    found = figures(teacher, "--retrieval", "--documents-by", teacher, "--dimensions", "4")
    for row in found.values():
        assert row["documents_by"] == row["retrieval"]
    assert "documents_by" not in figures(teacher, "--retrieval")[teacher]
    assert "documents by" in capsys.readouterr().out


def test_a_prompt_is_read_before_every_text_and_documents_may_have_their_own(
    tiny_teacher: Path, tiny_bundle: Bundle, measures: Path, figures: Callable[..., Figures], tmp_path: Path
) -> None:
    prompted = with_default_prompt(tiny_teacher, tmp_path / "prompted", "red blue ")
    for name, default in ((str(prompted), "red blue "), (str(tiny_bundle.path), "")):
        bare = open_read(name)

        def after(prompt: str, bare: Read = bare) -> Encode:
            return lambda texts: bare([prompt + text for text in texts], "")

        for flags, queries, documents in (
            ([], default, default),
            (["--prompt", "the cat "], "the cat ", "the cat "),
            (["--prompt", "the cat ", "--documents-prompt", "a "], "the cat ", "a "),
            (["--prompt", "the cat ", "--documents-prompt", ""], "the cat ", ""),
        ):
            row = figures(name, "--retrieval", *flags)[name]
            assert row["sts"]["mean"] == pytest.approx(evaluate(after(queries), measures).mean, abs=1e-5)
            expected = evaluate_retrieval(after(queries), measures, after(documents)).mean
            assert row["retrieval"]["mean"] == pytest.approx(expected, abs=1e-5)
        assert evaluate(after("the cat "), measures) != evaluate(after(default), measures)


def test_a_model_that_indexes_documents_reads_their_prompt(
    tiny_teacher: Path, measures: Path, figures: Callable[..., Figures]
) -> None:
    teacher = str(tiny_teacher)
    read = open_read(teacher)
    found = figures(teacher, "--documents-by", teacher, "--prompt", "the ", "--documents-prompt", "a red ")[teacher]
    expected = evaluate_retrieval(lambda t: read(t, "the "), measures, lambda t: read(t, "a red "))
    assert found["documents_by"]["mean"] == pytest.approx(expected.mean, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--dimensions", "16"], "--dimensions 16: the model has only 8"),
        (["--documents-by", "TEACHER"], "queries of 8 dimensions cannot be compared with documents of 32"),
    ],
)
def test_models_that_cannot_be_compared_are_refused(
    arguments: list[str],
    complaint: str,
    tiny_bundle: Bundle,
    tiny_teacher: Path,
    measures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [str(tiny_teacher) if word == "TEACHER" else word for word in arguments]
    assert main(["evaluate", str(tiny_bundle.path), "--data", str(measures), *named]) == 2
    assert complaint in capsys.readouterr().err
