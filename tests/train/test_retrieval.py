import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bundle.arrays import Vectors
from train import retrieval
from train.errors import DataError, ModelError
from train.retrieval import evaluate_retrieval, held_back


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four documents a task, the query of document n being `query n`; the first row is older than what is held back."""
    import zstandard

    (tmp_path / "nli").mkdir()
    (tmp_path / "passages").mkdir()
    rows = [(f"query {n}", f"document {n}") for n in (9, 1, 2, 3, 4)]
    again = ("query 4", "another answer to a question that was asked before")
    table = "\n".join("\t".join(row) for row in [*rows, again])
    lines = "\n".join(json.dumps({"title": title, "text": text}) for title, text in rows)
    (tmp_path / "nli" / "medquad_qa.tsv.zst").write_bytes(zstandard.compress(table.encode()))
    for name in ("wikipedia", "wikinews"):
        (tmp_path / "passages" / f"{name}.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    return tmp_path


@pytest.fixture(autouse=True)
def four_are_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "HELD_BACK", 4)


def by_number(texts: list[str]) -> Vectors:
    return np.eye(10, dtype=np.float32)[[int(text.split()[1]) for text in texts]]


def test_the_last_distinct_queries_are_held_back(data: Path) -> None:
    for name, documents in held_back(data):
        assert documents == {f"query {n}": f"document {n}" for n in (1, 2, 3, 4)}, name


def test_a_model_that_finds_everything_scores_a_hundred(data: Path) -> None:
    scores = evaluate_retrieval(lambda texts: by_number(list(texts)), data)
    assert scores.tasks == {"medquad": 100.0, "wikipedia": 100.0, "wikinews": 100.0}
    assert scores.mean == 100.0


def test_a_model_that_tells_nothing_apart_does_not(data: Path) -> None:
    scores = evaluate_retrieval(lambda texts: np.ones((len(texts), 4), dtype=np.float32), data)
    assert scores.mean == pytest.approx(100 / np.log2(1 + 4))  # the relevant one of four counts as last


def test_another_model_may_have_indexed_the_documents(data: Path) -> None:
    def turned(texts: Sequence[str]) -> Vectors:
        return np.roll(by_number(list(texts)), 1, axis=1)

    def straight(texts: Sequence[str]) -> Vectors:
        return by_number(list(texts))

    assert evaluate_retrieval(turned, data).mean == 100
    # Query n finds document n + 1, query 4 none; the relevant one of four counts as last among equals.
    assert evaluate_retrieval(turned, data, straight).mean == pytest.approx(100 / np.log2(1 + 4))
    assert evaluate_retrieval(turned, data, turned).mean == 100
    with pytest.raises(ModelError, match="queries of 10 dimensions cannot be compared with documents of 9"):
        evaluate_retrieval(straight, data, lambda texts: straight(texts)[:, :9])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="medquad_qa"):
        evaluate_retrieval(lambda texts: by_number(list(texts)), tmp_path)
