import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bundle import sts
from bundle.arrays import Vectors
from bundle.errors import DataError
from bundle.sts import TASKS, data_directory, evaluate, read_pairs, score


def write_pairs(data: Path, name: str, pairs: list[tuple[str, str, float]]) -> Path:
    path = data / "sts" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    rows = [{"sentence1": left, "sentence2": right, "score": gold} for left, right, gold in pairs]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def embed_angle(texts: Sequence[str]) -> Vectors:
    """Each text is an angle in degrees, so that the cosine of a pair is known."""
    angles = np.radians([float(text) for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


FALLING = [("0", "10", 5.0), ("0", "40", 3.0), ("10", "80", 1.0)]
MIXED = [("0", "10", 5.0), ("0", "40", 1.0), ("10", "80", 3.0)]


def test_a_score_is_spearman_times_100(tmp_path: Path) -> None:
    write_pairs(tmp_path, "A", FALLING)
    assert score(embed_angle, tmp_path, "A") == pytest.approx(100)
    write_pairs(tmp_path, "A", MIXED)
    assert score(embed_angle, tmp_path, "A") == pytest.approx(50)


def test_each_sentence_is_embedded_once(tmp_path: Path) -> None:
    def note(texts: Sequence[str]) -> Vectors:
        calls.append(list(texts))
        return embed_angle(texts)

    calls: list[list[str]] = []
    write_pairs(tmp_path, "A", FALLING)
    score(note, tmp_path, "A")
    assert calls == [["0", "10", "40", "80"]]


def test_the_headline_is_the_plain_mean_of_the_seven(tmp_path: Path) -> None:
    for name in TASKS.values():
        write_pairs(tmp_path, name, FALLING)
    write_pairs(tmp_path, TASKS["SICK"], MIXED * 10)  # larger, yet counts no more
    scores = evaluate(embed_angle, tmp_path)
    assert list(scores.tasks) == ["STS12", "STS13", "STS14", "STS15", "STS16", "STSB", "SICK"]
    assert scores.tasks["SICK"] == pytest.approx(50)
    assert scores.mean == pytest.approx((6 * 100 + 50) / 7)


def test_a_constant_model_has_no_score(tmp_path: Path) -> None:
    write_pairs(tmp_path, "A", FALLING)
    assert math.isnan(score(lambda texts: np.ones((len(texts), 2), dtype=np.float32), tmp_path, "A"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"sentence1": "secret", "sentence2": "b"}', "missing required field `score`"),
        (b'{"sentence1": "secret", "sentence2": "b", "score": "high"}', "Expected `float`, got `str`"),
        (b'{"sentence1": "secret", ', "truncated"),
        (b'{"sentence1": "secret \xff", "sentence2": "b", "score": 1}', "not UTF-8"),
        (b"", "truncated"),
    ],
)
def test_a_malformed_line_is_named_by_its_number_and_not_shown(tmp_path: Path, line: bytes, reason: str) -> None:
    path = write_pairs(tmp_path, "A", FALLING)
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=rf"A\.jsonl, line 4: .*{reason}") as caught:
        read_pairs(tmp_path, "A")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.__cause__)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, "A", [])
    with pytest.raises(DataError, match=r"A\.jsonl has no pairs"):
        read_pairs(tmp_path, "A")


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"A\.jsonl is missing; set DISCO_DATA to a folder that has sts/A\.jsonl"):
        read_pairs(tmp_path, "A")


def test_disco_data_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCO_DATA", str(tmp_path))
    assert data_directory() == tmp_path


def test_disco_data_that_is_no_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCO_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="absent is not a folder; unset it or point it at the data"):
        data_directory()


def test_without_it_the_folder_beside_the_checkout_is_used_where_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISCO_DATA", raising=False)
    monkeypatch.setattr(sts, "__file__", str(tmp_path / "checkout" / "bundle" / "sts.py"))
    assert data_directory() is None
    beside = tmp_path / "shared" / "data"
    beside.mkdir(parents=True)
    assert data_directory() == beside
    monkeypatch.setenv("DISCO_DATA", "")
    assert data_directory() is None, "set but empty means none at all"
