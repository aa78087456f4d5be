import hashlib
from pathlib import Path
from typing import Any

import pytest

from bundle.layout import sha256_of
from train.cache import folder_identity, source_identity
from train.errors import DataError, ModelError
from train.sources import Pairs, Texts


def make_model(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return folder


def test_models_in_the_hubs_cache_are_told_apart(tmp_path: Path) -> None:
    snapshots = tmp_path / ".cache" / "huggingface" / "hub"
    one, same, other = (
        make_model(snapshots / name, weights) for name, weights in (("a", b"1"), ("b", b"1"), ("c", b"2"))
    )
    assert folder_identity(one) == folder_identity(same) != folder_identity(other)


def test_the_identity_of_a_model_is_that_of_earlier_versions(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    (model / ".cache").mkdir()
    (model / ".cache" / "lock.json").write_text("what a download leaves does not count")
    (model / "README.md").write_text("nor does this")
    digest = hashlib.sha256()
    for name in ("1_Pooling/config.json", "model.safetensors"):
        digest.update(f"{name} {sha256_of(model / name)}\n".encode())
    assert folder_identity(model) == digest.hexdigest()


def test_a_folder_that_is_no_model_has_no_identity(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A model?\n")
    with pytest.raises(ModelError, match="holds no file of a model"):
        folder_identity(tmp_path)


def test_the_same_bytes_read_otherwise_are_other_texts(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"text": "x"}\n')
    a, b, json_a, json_b = (
        source_identity(Texts(path=name), tmp_path) for name in ("a.txt", "b.txt", "a.jsonl", "b.jsonl")
    )
    assert a == b == {"sha256": sha256_of(tmp_path / "a.txt"), "field": "text"}, "as earlier versions had it"
    assert json_a == json_b != a
    edited = [source_identity(Texts(path="a.txt", edits=edits), tmp_path) for edits in (1, 2)]
    assert a not in edited
    assert edited[0] != edited[1]


def test_copies_edited_otherwise_are_other_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    sources = [Texts(path="a.txt", edits=edits) for edits in (0, 1)]
    before = [source_identity(source, tmp_path) for source in sources]
    monkeypatch.setattr("train.cache.EDITS_VERSION", 1000)
    after = [source_identity(source, tmp_path) for source in sources]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]


def test_a_folder_is_known_by_names_and_contents(tmp_path: Path) -> None:
    source = Texts(path="folder")
    with pytest.raises(DataError, match="folder is not there"):
        source_identity(source, tmp_path)
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    file = tmp_path / "folder" / "deep" / "a.txt"
    seen = []
    for content in ("one", "two"):
        file.write_text(content)
        seen.append(source_identity(source, tmp_path))
    (tmp_path / "folder" / "notes.md").write_text("is not read")
    assert source_identity(source, tmp_path) == seen[-1]
    seen.append(source_identity(source, file.rename(file.with_name("b.txt")).parents[2]))
    assert len({str(identity) for identity in seen}) == 3


@pytest.mark.parametrize("kind", [Texts, Pairs])
def test_splits_and_configurations_of_a_hub_data_set_are_told_apart(kind: type[Texts | Pairs]) -> None:
    def identity(**settings: Any) -> str:
        return str(source_identity(kind(path="hub:a/b", **settings), None))

    assert len({identity(), identity(split="test"), identity(config="x"), identity(config="y")}) == 4
    assert "config" not in identity(), "as earlier versions had it"


def test_a_cache_of_docstrings_is_not_taken_for_those_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Texts(path="builtin:docstrings")
    before = source_identity(source, None)
    assert source_identity(source, None) == before
    monkeypatch.setattr("train.builtin.distributions", list)
    assert source_identity(source, None) != before
