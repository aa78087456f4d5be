from pathlib import Path

import pytest
import zstandard

from train.errors import DataError
from train.lines import numbered_lines

LINES = [f"line {number} \u00e9" for number in range(1, 50_001)]
CONTENT = "\n".join(LINES).encode()


def test_lines_have_numbers_whatever_they_are_packed_in(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(CONTENT)
    (tmp_path / "a.zst").write_bytes(zstandard.compress(CONTENT))
    for name in ("a.txt", "a.zst"):
        assert list(numbered_lines(tmp_path / name)) == list(enumerate(LINES, start=1))


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one\r\n\ntwo\rstill two\x85and \u2028 more\n".encode())
    assert [line for _, line in numbered_lines(tmp_path / "a.txt")] == ["one", "", "two\rstill two\x85and \u2028 more"]


def test_frames_follow_one_another(tmp_path: Path) -> None:
    half = len(CONTENT) // 2
    (tmp_path / "a.zst").write_bytes(zstandard.compress(CONTENT[:half]) + zstandard.compress(CONTENT[half:]))
    assert [line for _, line in numbered_lines(tmp_path / "a.zst")] == LINES


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("missing", [1, 4, 10_000])
def test_an_incomplete_file_is_told_with_the_last_line(tmp_path: Path, frames: int, missing: int) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes((zstandard.compress(CONTENT) * frames)[:-missing])
    read: list[tuple[int, str]] = []
    with pytest.raises(DataError) as told:
        read.extend(numbered_lines(path))
    assert len(read) >= (frames - 1) * (len(LINES) - 1)
    assert str(told.value).startswith(f"{path}, after line {len(read)}: the zstd data ends before its end")


def test_damaged_compression_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    for content in (b"garbage" + zstandard.compress(CONTENT), zstandard.compress(CONTENT) + b"garbage"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="damaged zstd"):
            list(numbered_lines(path))


def test_a_byte_that_is_no_text_has_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(CONTENT + b"\n\xff\nmore\n" * 2)
    with pytest.raises(DataError, match=r"a\.txt, line 50001: not UTF-8"):
        list(numbered_lines(path))


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    for name in ("a.txt", "a.zst"):
        (tmp_path / name).write_bytes(b"")
        assert list(numbered_lines(tmp_path / name)) == []
