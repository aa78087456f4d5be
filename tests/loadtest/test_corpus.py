from pathlib import Path

import numpy as np
import pytest

from loadtest.corpus import MOST_TEXTS, CorpusError, generate_texts, read_texts, split_into_requests


def test_generated_texts_are_deterministic() -> None:
    assert generate_texts(50, seed=1) == generate_texts(50, seed=1)
    assert generate_texts(50, seed=1) != generate_texts(50, seed=2)


def test_generated_lengths_run_from_queries_to_paragraphs() -> None:
    lengths = np.array([len(text.split()) for text in generate_texts(5_000, seed=0)])
    assert lengths.min() >= 1
    assert lengths.max() <= 250
    assert 12 <= np.median(lengths) <= 16
    # Log-normal: many short ones, a long tail, and symmetric only in the logarithm.
    assert np.percentile(lengths, 10) <= 6
    assert np.percentile(lengths, 99) >= 80
    assert lengths.mean() > 1.3 * np.median(lengths)
    assert np.log(lengths).mean() == pytest.approx(np.log(np.median(lengths)), abs=0.1)


def test_generated_texts_look_like_english() -> None:
    texts = generate_texts(1_000, seed=0)
    assert len(set(texts)) > 950  # a server that remembers texts gains next to nothing
    for text in texts:
        assert text == text.strip()
        assert text.endswith(".") == (len(text.split()) > 6)
    words = " ".join(texts).lower().replace(".", "").split()
    assert words.count("the") > 20 * words.count("museum")


def test_a_file_gives_its_lines_without_blank_ones(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("one\n\n  two äöü \r\nthree", encoding="utf-8")
    assert sorted(read_texts(path, seed=0)) == ["one", "three", "two äöü"]
    assert read_texts(path, seed=5) == read_texts(path, seed=5)


def test_a_huge_file_is_read_only_as_far_as_needed(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"a text\n" * MOST_TEXTS + b"\xff never reached\n")
    assert len(read_texts(path, seed=0)) == MOST_TEXTS


@pytest.mark.parametrize("content", [b"", b"\n  \n"])
def test_a_file_without_texts_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"texts\.txt has no texts; write one a line"):
        read_texts(path, seed=0)


def test_bytes_that_are_no_text_are_named_by_line_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"fine\nsecret \xff\n")
    with pytest.raises(CorpusError, match=r"texts\.txt, line 2: byte 7 of the line is not UTF-8") as caught:
        read_texts(path, seed=0)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"absent\.txt: No such file"):
        read_texts(tmp_path / "absent.txt", seed=0)


def test_requests_use_each_text_once_and_repeat_only_when_there_are_too_few() -> None:
    assert split_into_requests(["a", "b", "c", "d"], 2) == [["a", "b"], ["c", "d"]]
    assert split_into_requests(["a", "b"], 3) == [["a", "b", "a"]]
