from pathlib import Path

import numpy as np
import pytest

from loadtest.corpus import generate_texts
from loadtest.lengths import LengthsError, read_lengths


def test_a_histogram_decides_the_lengths_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text("# words, how often\n3, 30\n\n200 10\n7 0\n")
    lengths = [len(text.split()) for text in generate_texts(4_000, seed=0, histogram=read_lengths(path))]
    assert set(lengths) == {3, 200}
    assert np.mean(np.array(lengths) == 3) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "has no lengths; write lines of words and how often"),
        ("5 0\n", "has no lengths"),
        ("3 1\nsecret words here\n", "line 2: not a number of words"),
        ("3\n", "line 1: not"),
        ("0 5\n", "line 1: not"),
        ("10001 5\n", "line 1: not"),
        ("3 -1\n", "line 1: not"),
        ("3 inf\n", "line 1: not"),
        ("3 nan\n", "line 1: not"),
    ],
)
def test_what_is_no_histogram_is_named_by_line_and_not_shown(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "lengths.txt"
    path.write_text(content)
    with pytest.raises(LengthsError, match=complaint) as caught:
        read_lengths(path)
    assert "lengths.txt" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(LengthsError, match=r"absent\.txt: No such file"):
        read_lengths(tmp_path / "absent.txt")
    (tmp_path / "bytes.txt").write_bytes(b"1 2\n\xff")
    with pytest.raises(LengthsError, match=r"bytes\.txt: byte 4 is not UTF-8"):
        read_lengths(tmp_path / "bytes.txt")
