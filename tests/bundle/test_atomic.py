from collections.abc import Callable
from pathlib import Path

import pytest

from bundle import atomic
from bundle.atomic import staged_directory, staged_file, write_atomically


def write_tree(root: Path, content: str) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "file").write_text(content)


def stage_folder(target: Path, content: str, *, at_the_end: Callable[[], None]) -> None:
    with staged_directory(target) as staged:
        write_tree(staged, content)
        at_the_end()


def stage_file(target: Path, content: str, *, at_the_end: Callable[[], None]) -> None:
    with staged_file(target) as staged:
        staged.write_text(content)
        at_the_end()


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class CrashError(Exception):
    """What the tests die of."""


def crash() -> None:
    raise CrashError


def fail_with_full_disk(*_arguments: object) -> None:
    raise OSError("disk full")


@pytest.mark.parametrize(("content", "expected"), [(b"\xff\x00", b"\xff\x00"), ("ä", "ä".encode())])
def test_a_file_is_written_and_replaced(tmp_path: Path, content: bytes | str, expected: bytes) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_bytes() == expected
    assert entries(tmp_path) == {"file"}


@pytest.mark.parametrize("step", ["_flush_to_disk", "Path.write_bytes", "Path.replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(f"bundle.atomic.{step}", fail_with_full_disk)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert entries(tmp_path) == {"file"}


def test_a_file_in_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "absent" / "file", "new")


def test_a_staged_file_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with staged_file(path) as staged:
        staged.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    with pytest.raises(CrashError):
        stage_file(path, "half", at_the_end=crash)
    assert path.read_text() == "new"
    assert entries(tmp_path) == {"file"}


def test_a_folder_is_written_and_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    for content in ("first", "second"):
        with staged_directory(target) as staged:
            assert entries(staged) == set()
            write_tree(staged, content)
            if content == "first":
                assert not target.exists()
            else:
                assert (target / "sub" / "file").read_text() == "first"
        assert (target / "sub" / "file").read_text() == content
        assert entries(target.parent) == {"target"}


def test_files_of_the_replaced_folder_do_not_survive(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "stale").write_text("")
    with staged_directory(target) as staged:
        write_tree(staged, "new")
    assert entries(target) == {"sub"}


@pytest.mark.parametrize("existing", [False, True])
def test_a_crash_in_the_block_changes_nothing(tmp_path: Path, existing: bool) -> None:
    target = tmp_path / "target"
    if existing:
        target.mkdir()
        write_tree(target, "old")
    with pytest.raises(CrashError):
        stage_folder(target, "half", at_the_end=crash)
    assert entries(tmp_path) == ({"target"} if existing else set())
    if existing:
        assert (target / "sub" / "file").read_text() == "old"


def test_a_disk_that_fails_during_the_swap_gets_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    write_tree(target, "old")
    rename: Callable[[Path, Path], Path] = Path.rename

    def fail_second(self: Path, new: Path) -> Path:
        renamed.append(self)
        if len(renamed) == 2:
            raise OSError("input/output error")
        return rename(self, new)

    renamed: list[Path] = []
    with pytest.raises(OSError, match="input/output error"):
        stage_folder(target, "new", at_the_end=lambda: monkeypatch.setattr(Path, "rename", fail_second))
    assert len(renamed) == 3
    assert (target / "sub" / "file").read_text() == "old"
    assert entries(tmp_path) == {"target"}


def test_everything_is_on_the_disk_before_the_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def note(path: Path) -> None:
        events.append("target" if target.exists() else path.name)

    events: list[str] = []
    target = tmp_path / "target"
    monkeypatch.setattr(atomic, "_flush_to_disk", note)
    with staged_directory(target) as staged:
        write_tree(staged, "new")
    assert set(events[:-1]) == {staged.name, "sub", "file"}
    assert events[-1] == "target"  # the parent's entry, after the rename


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"), staged_directory(target):
        pytest.fail("the work would have been for nothing")
    assert target.read_text() == "precious"
    assert entries(tmp_path) == {"target"}


def test_a_link_keeps_pointing_to_the_folder_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    link = tmp_path / "current"
    link.symlink_to("v1")
    with staged_directory(link) as staged:
        write_tree(staged, "new")
    assert link.is_symlink()
    assert (tmp_path / "v1" / "sub" / "file").read_text() == "new"
    assert entries(tmp_path) == {"v1", "current"}
