"""The manifest: everything needed to reproduce an embedding, as one versioned JSON document.

Owns the schema and its digest; does not touch the files it lists (`bundle.layout` does).
"""

import hashlib
from typing import Literal

import msgspec

from bundle.cpu import Target
from bundle.errors import ManifestError

FORMAT_VERSION = 1
SHORTEST_MAX_LENGTH = 3  # one token of text between two special ones

Pooling = Literal["mean", "cls"]
Precision = Literal["fp32", "fp16", "int8"]
Runtime = Literal["onnxruntime", "openvino", "native"]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of the bundle; `path` is relative to the bundle, with forward slashes."""

    path: str
    sha256: str
    bytes: int


class Graph(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ONNX graph: `input_ids`, `attention_mask` (int64[n, length]) → `sentence_embedding` (float32[n, dim])."""

    path: str
    precision: Precision
    target: Target
    """The instruction set the graph was made for."""
    batch_spread: float | None = None
    """1 - least cosine between a text's vector alone and in a batch, measured at export; None: not measured."""


class Tuned(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `python -m export --tune` measured to be fastest; `tuning.json` has the measurements."""

    features: tuple[str, ...]
    """The kind of CPU it was measured on (`bundle.cpu.features`)."""
    runtime: Runtime
    precision: Precision


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the student comes from; informative, never needed to serve it."""

    student: str
    teacher: str | None = None
    created: str
    versions: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Describes one bundle. Unknown fields and versions are refused rather than guessed at."""

    format: int = FORMAT_VERSION
    name: str
    dimension: int
    max_length: int
    """Tokens per text, special tokens included; longer texts are truncated or refused."""
    pooling: Pooling
    normalized: bool
    """Whether the graph's output is already of unit length."""
    output_range: float | None = None
    """What the ends of int8 and uint8 outputs stand for (`bundle.output_types`); None: not calibrated."""
    prompts: dict[str, str] = {}
    default_prompt: str | None = None
    graphs: tuple[Graph, ...]
    """In order of preference: the first that is right on the machine is served."""
    tuned: Tuned | msgspec.UnsetType = msgspec.UNSET
    """Left out where nothing was measured."""
    files: tuple[File, ...]
    """Every file whose content an embedding depends on, with its hash."""
    provenance: Provenance
    digest: str = ""
    """SHA-256 of this document with an empty `digest`, so that a damaged manifest is noticed too."""

    @property
    def version(self) -> str:
        """A short identity of this exact bundle: it changes whenever any of its files does."""
        return self.digest[:12]


def seal(manifest: Manifest) -> Manifest:
    """Return `manifest` with its digest filled in."""
    return msgspec.structs.replace(manifest, digest=_digest(manifest))


def encode_manifest(manifest: Manifest) -> bytes:
    """Serialise a sealed manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode_manifest(document: bytes, *, source: str) -> Manifest:
    """Parse and check a manifest; `source` is how error messages name it.

    Raises:
        ManifestError: not JSON, a missing, unknown or mistyped field, another format version, a wrong digest.
    """
    try:
        version = msgspec.json.decode(document, type=_Versioned).format
        if version != FORMAT_VERSION:
            raise ManifestError(
                f"{source}: format {version} is not supported, this version reads format {FORMAT_VERSION}; "
                "export the student again"
            )
        manifest = msgspec.json.decode(document, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{source}: not a valid manifest: {error}") from error
    if _digest(manifest) != manifest.digest:
        raise ManifestError(f"{source}: the digest does not match the content, the file was damaged or edited by hand")
    _check_consistency(manifest, source)
    return manifest


class _Versioned(msgspec.Struct):
    format: int


def _digest(manifest: Manifest) -> str:
    content = msgspec.json.encode(msgspec.structs.replace(manifest, digest=""), order="deterministic")
    return hashlib.sha256(content).hexdigest()


def _check_consistency(manifest: Manifest, source: str) -> None:
    listed = {file.path for file in manifest.files}
    if missing := [graph.path for graph in manifest.graphs if graph.path not in listed]:
        raise ManifestError(f"{source}: graphs {missing} are not among its files")
    if not manifest.graphs:
        raise ManifestError(f"{source}: lists no graph")
    if manifest.tuned and manifest.tuned.precision not in {graph.precision for graph in manifest.graphs}:
        raise ManifestError(
            f"{source}: {manifest.tuned.precision} was measured to be fastest, but is not among its graphs"
        )
    if manifest.max_length < SHORTEST_MAX_LENGTH:
        raise ManifestError(f"{source}: max_length {manifest.max_length} leaves no room for text")
    if outside := [path for path in listed if path.startswith("/") or ".." in path.split("/")]:
        raise ManifestError(f"{source}: lists files outside the bundle: {outside}")
    if manifest.default_prompt is not None and manifest.default_prompt not in manifest.prompts:
        raise ManifestError(f"{source}: default prompt {manifest.default_prompt!r} is not among its prompts")
