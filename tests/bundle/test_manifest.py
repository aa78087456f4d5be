import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.errors import ManifestError
from bundle.manifest import File, Graph, Manifest, Provenance, Tuned, decode_manifest, encode_manifest, seal

SHA = "0" * 64


def make_manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "name": "tiny",
        "dimension": 8,
        "max_length": 32,
        "pooling": "mean",
        "normalized": True,
        "prompts": {"query": "query: "},
        "graphs": (Graph(path="onnx/model.onnx", precision="fp32", target="any"),),
        "files": (File(path="onnx/model.onnx", sha256=SHA, bytes=7),),
        "provenance": Provenance(student="s", teacher=None, created="2025-01-01T00:00:00Z", versions={"onnx": "1"}),
    }
    return Manifest(**(values | changes))


def decode(document: bytes) -> Manifest:
    return decode_manifest(document, source="m.json")


def edited(change: dict[str, Any]) -> bytes:
    document = json.loads(encode_manifest(seal(make_manifest())))
    return json.dumps(document | change).encode()


texts = st.text(max_size=20)
manifests = st.builds(
    Manifest,
    name=texts,
    dimension=st.integers(1, 4096),
    max_length=st.integers(3, 8192),
    pooling=st.sampled_from(["mean", "cls"]),
    normalized=st.booleans(),
    prompts=st.dictionaries(texts, texts, max_size=3),
    default_prompt=st.none(),
    graphs=st.just(make_manifest().graphs),
    files=st.just(make_manifest().files),
    provenance=st.builds(Provenance, student=texts, teacher=st.none() | texts, created=texts),
)


@given(manifests)
def test_what_is_written_is_read(manifest: Manifest) -> None:
    sealed = seal(manifest)
    assert decode(encode_manifest(sealed)) == sealed


def test_nothing_is_written_of_a_measurement_that_was_not_made() -> None:
    assert "tuned" not in json.loads(encode_manifest(seal(make_manifest())))


def test_a_measured_precision_must_be_among_the_graphs() -> None:
    tuned = Tuned(features=("avx2",), runtime="onnxruntime", precision="int8")
    with pytest.raises(ManifestError, match=r"m\.json: int8 was measured to be fastest, but is not among its graphs"):
        decode(encode_manifest(seal(make_manifest(tuned=tuned))))


def test_the_version_changes_with_any_file() -> None:
    one = seal(make_manifest())
    other = seal(make_manifest(files=(File(path="onnx/model.onnx", sha256="1" + SHA[1:], bytes=7),)))
    assert one.version != other.version
    assert one.version == seal(make_manifest()).version


def test_the_digest_does_not_depend_on_the_order_of_prompts() -> None:
    assert (
        seal(make_manifest(prompts={"a": "1", "b": "2"})).digest
        == seal(make_manifest(prompts={"b": "2", "a": "1"})).digest
    )


@given(st.data())
def test_a_flipped_bit_is_noticed_or_changes_nothing(data: st.DataObject) -> None:
    sealed = seal(make_manifest())
    document = bytearray(encode_manifest(sealed))
    position = data.draw(st.integers(0, len(document) - 1))
    document[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        manifest = decode(bytes(document))
    except ManifestError:
        return
    assert manifest == sealed  # white space became other white space


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not a valid manifest"),
        (b"\xff", "not a valid manifest"),
        (b"[]", "not a valid manifest"),
        (b'{"format": 1}', "missing required field `name`"),
        (b'{"name": "tiny"}', "missing required field `format`"),
        (edited({"surprise": 1}), "unknown field `surprise`"),
        (edited({"dimension": "8"}), r"Expected `int`, got `str` - at `\$\.dimension`"),
        (edited({"pooling": "max"}), "Invalid enum value 'max'"),
        (edited({"format": 2}), "format 2 is not supported, this version reads format 1; export the student again"),
        (edited({"dimension": 9}), "the digest does not match"),
        (edited({"digest": ""}), "the digest does not match"),
    ],
)
def test_what_is_wrong_is_named(document: bytes, reason: str) -> None:
    with pytest.raises(ManifestError, match=rf"^m\.json: .*{reason}"):
        decode(document)


@pytest.mark.parametrize("path", ["/etc/passwd", "../model.onnx", "onnx/../../model.onnx"])
def test_files_outside_the_bundle_are_refused(path: str) -> None:
    files = (*make_manifest().files, File(path=path, sha256=SHA, bytes=1))
    with pytest.raises(ManifestError, match="files outside the bundle"):
        decode(encode_manifest(seal(make_manifest(files=files))))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"graphs": ()}, "lists no graph"),
        ({"files": ()}, r"graphs \['onnx/model.onnx'\] are not among its files"),
        ({"max_length": 2}, "max_length 2 leaves no room for text"),
        ({"default_prompt": "passage"}, "default prompt 'passage' is not among its prompts"),
    ],
)
def test_contradictions_are_refused_even_when_sealed(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        decode(encode_manifest(seal(make_manifest(**changes))))
