import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.errors import DamagedFileError, ManifestError, NotABundleError
from bundle.layout import MANIFEST, MODEL_CARD, TOKENIZER, Bundle, open_bundle, seal_directory, sha256_of, write_bundle
from bundle.manifest import Manifest, decode_manifest
from tests.conftest import build_tiny_bundle

SEALED = ["onnx/model.onnx", "quality.json", "tokenizer.json"]


@pytest.fixture
def bundle(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_bundle.path, tmp_path / "bundle"))


def test_what_is_written_opens(tiny_bundle: Bundle) -> None:
    opened = open_bundle(tiny_bundle.path)
    assert opened == tiny_bundle
    assert opened.tokenizer_file.is_file()


def test_exactly_the_files_an_embedding_depends_on_are_sealed(tiny_bundle: Bundle) -> None:
    files = tiny_bundle.manifest.files
    assert [file.path for file in files] == SEALED
    for file in files:
        path = tiny_bundle.path / file.path
        assert file.sha256 == sha256_of(path)
        assert file.bytes == path.stat().st_size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(SEALED), data=st.data())
def test_a_flipped_bit_in_any_sealed_file_is_named(bundle: Path, name: str, data: st.DataObject) -> None:
    path = bundle / name
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    try:
        path.write_bytes(content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :])
        with pytest.raises(DamagedFileError, match=f"{name} is damaged"):
            open_bundle(bundle)
    finally:
        path.write_bytes(content)
    open_bundle(bundle)  # so it was the flip, and nothing else


@pytest.mark.parametrize("name", SEALED)
def test_a_missing_or_truncated_file_is_named(bundle: Path, name: str) -> None:
    path = bundle / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=f"{name} is damaged"):
        open_bundle(bundle)
    path.unlink()
    with pytest.raises(DamagedFileError, match=f"{name} is missing"):
        open_bundle(bundle)


def test_a_changed_manifest_is_noticed(bundle: Path) -> None:
    manifest = bundle / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b'"max_length": 32', b'"max_length": 33'))
    with pytest.raises(ManifestError, match="digest does not match"):
        open_bundle(bundle)


def test_the_model_card_and_torch_weights_are_free_to_change(tmp_path: Path) -> None:
    def fill(staged: Path) -> Manifest:
        manifest = build_tiny_bundle(staged / "inner").manifest
        shutil.copytree(staged / "inner", staged, dirs_exist_ok=True)
        shutil.rmtree(staged / "inner")
        (staged / "model.safetensors").write_bytes(b"weights")
        return manifest

    path = write_bundle(tmp_path / "bundle", fill).path
    (path / MODEL_CARD).write_text("# edited\n")
    (path / "model.safetensors").unlink()
    (path / "notes.txt").write_text("nobody serves this")
    assert [file.path for file in open_bundle(path).manifest.files] == SEALED


def test_a_bundle_that_cannot_read_text_is_refused(bundle: Path) -> None:
    (bundle / TOKENIZER).unlink()
    manifest = decode_manifest((bundle / MANIFEST).read_bytes(), source=MANIFEST)
    seal_directory(bundle, manifest)
    with pytest.raises(ManifestError, match=r"does not list tokenizer\.json"):
        open_bundle(bundle)


@pytest.mark.parametrize("folder", [".", "absent"])
def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path, folder: str) -> None:
    with pytest.raises(NotABundleError, match="make a bundle with `python -m export"):
        open_bundle(tmp_path / folder)


def test_a_failing_export_leaves_the_old_bundle(bundle: Path) -> None:
    def fail(staged: Path) -> Manifest:
        (staged / "onnx").mkdir()
        raise RuntimeError("gate failed")

    before = open_bundle(bundle)
    with pytest.raises(RuntimeError, match="gate failed"):
        write_bundle(bundle, fail)
    assert open_bundle(bundle) == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]
