"""The student to export: where it lies and what its files say. Loads no weights and no torch."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from bundle.layout import TOKENIZER
from bundle.manifest import Pooling
from bundle.packages import folder_in_package, is_in_package
from export.errors import (
    DamagedStudentError,
    MissingTokenizerError,
    StudentNotFoundError,
    UnsupportedArchitectureError,
    UnsupportedModuleError,
    UnsupportedPoolingError,
)
from export.table_file import table_dimension

# Position embeddings that a family keeps for padding. Each family here is exported and compared in the tests.
RESERVED_POSITIONS = {"bert": 0, "distilbert": 0, "roberta": 2, "xlm-roberta": 2, "mpnet": 2}

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_DOWNLOADED = ("*.json", "*.txt", "*.md", "*.model", "model*.safetensors", "pytorch_model*.bin")
_NOT_DOWNLOADED = ("onnx/*", "openvino/*")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Student:
    """What the files of a sentence-transformers directory say about it."""

    path: Path
    encoder: Path
    """The folder of the first module's own files: `path` itself or, in old models, a folder inside."""
    family: str | None
    """The transformer's `model_type`; None where the encoder is no transformer but a table with a vector per token."""
    name: str
    dimension: int
    max_length: int
    pooling: Pooling
    normalized: bool
    prompts: dict[str, str]
    default_prompt: str | None

    @property
    def static(self) -> bool:
        """Whether the encoder is a table with a vector per token."""
        return self.family is None

    @property
    def tokenizer_file(self) -> Path:
        """Its `tokenizer.json`."""
        return self.encoder / TOKENIZER


def open_student(reference: str, *, name: str | None = None) -> Student:
    """Find the student that `reference` (a folder, a hub id or `package:NAME/FOLDER`) means and read what it is.

    Raises:
        MissingPackageError: there is no such package, or no such folder in it.
        StudentNotFoundError: no such folder, and the hub does not have it either.
        DamagedStudentError: a file is missing or malformed; the message names it.
        MissingTokenizerError: no `tokenizer.json`.
        UnsupportedArchitectureError, UnsupportedPoolingError, UnsupportedModuleError: a model of another kind.
    """
    if is_in_package(reference):
        path = folder_in_package(reference)
    elif not (path := Path(reference)).is_dir():
        path = _download(reference)
    return _describe(path, name or Path(reference).resolve().name)


def decode(path: Path, shape: type[_T]) -> _T:
    """Parse the JSON file `path` as `shape`.

    Raises:
        DamagedStudentError: it is missing or does not fit.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=shape)
    except FileNotFoundError as error:
        raise DamagedStudentError(f"{path} is missing; is {path.parent} a sentence-transformers model?") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedStudentError(f"{path}: {error}") from error


class _Module(msgspec.Struct):
    type: str
    path: str

    @property
    def kind(self) -> str:
        return self.type.rpartition(".")[2]


class _TransformerConfig(msgspec.Struct):
    model_type: str
    max_position_embeddings: int
    hidden_size: int | None = None
    dim: int | None = None  # what DistilBERT calls it


class _PoolingConfig(msgspec.Struct):
    """Both ways to write it: one `pooling_mode` (sentence-transformers ≥ 5.5) or a flag per mode (before)."""

    pooling_mode: str | list[str] | None = None
    include_prompt: bool = True
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False
    pooling_mode_lasttoken: bool = False

    def modes(self) -> list[str]:
        if self.pooling_mode is not None:
            return [self.pooling_mode] if isinstance(self.pooling_mode, str) else self.pooling_mode
        flags = [field for field in self.__struct_fields__ if field.startswith("pooling_mode_")]
        return [
            flag.removeprefix("pooling_mode_").removesuffix("s").removesuffix("_token")
            for flag in flags
            if getattr(self, flag)
        ]


class _Truncation(msgspec.Struct):
    max_length: int


class _Tokenizer(msgspec.Struct):
    truncation: _Truncation | None = None
    post_processor: dict[str, object] | None = None


class _SentenceConfig(msgspec.Struct):
    max_seq_length: int | None = None


class _TokenizerConfig(msgspec.Struct):
    model_max_length: float | None = None


class _PromptConfig(msgspec.Struct):
    prompts: dict[str, str] = {}
    default_prompt_name: str | None = None


def _download(reference: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if not _HUB_ID.fullmatch(reference):
        raise StudentNotFoundError(f"{reference} is neither a folder nor a hub id (ORGANISATION/MODEL)")
    try:
        return Path(
            snapshot_download(reference, allow_patterns=list(_DOWNLOADED), ignore_patterns=list(_NOT_DOWNLOADED))
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StudentNotFoundError(
            f"{reference} is no folder here, and the hub did not hand it out: {reason}"
        ) from error


def _describe(path: Path, name: str) -> Student:
    modules = decode(path / "modules.json", list[_Module])
    encoder, static = _encoder(path, modules)
    if not (encoder / TOKENIZER).is_file():
        raise MissingTokenizerError(
            f"{encoder / TOKENIZER} is missing; save the student with a fast tokenizer: "
            "AutoTokenizer.from_pretrained(STUDENT, use_fast=True).save_pretrained(STUDENT)"
        )
    prompts_file = path / "config_sentence_transformers.json"
    prompts = decode(prompts_file, _PromptConfig) if prompts_file.is_file() else _PromptConfig()
    if prompts.default_prompt_name is not None and prompts.default_prompt_name not in prompts.prompts:
        raise DamagedStudentError(f"{prompts_file}: default prompt {prompts.default_prompt_name!r} is not a prompt")
    family, dimension, max_length = (None, *_table_size(encoder)) if static else _transformer_size(encoder)
    return Student(
        path=path,
        encoder=encoder,
        family=family,
        name=name,
        dimension=dimension,
        max_length=max_length,
        pooling="mean" if static else _pooling(path / modules[1].path / "config.json"),
        normalized=modules[-1].kind == "Normalize",
        prompts=prompts.prompts,
        default_prompt=prompts.default_prompt_name,
    )


def _encoder(path: Path, modules: list[_Module]) -> tuple[Path, bool]:
    """The folder of the first module, and whether it is a token table."""
    kinds = [module.kind for module in modules]
    encoder = kinds[:-1] if kinds[-1:] == ["Normalize"] else kinds
    if encoder not in (["Transformer", "Pooling"], ["StaticEmbedding"]):
        raise UnsupportedModuleError(
            f"{path}: its modules are {', '.join(kinds) or 'none'}; only Transformer and Pooling, or StaticEmbedding, "
            "and then optionally Normalize are supported"
        )
    return path / modules[0].path, encoder == ["StaticEmbedding"]


def _table_size(encoder: Path) -> tuple[int, int]:
    """Dimension and longest text of a token table."""
    file = encoder / TOKENIZER
    tokenizer = decode(file, _Tokenizer)
    if tokenizer.post_processor is not None:
        raise UnsupportedModuleError(
            f"{file}: `post_processor` adds special tokens, which StaticEmbedding leaves out and a server would read; "
            "set it to null"
        )
    if tokenizer.truncation is None:
        raise UnsupportedModuleError(
            f"{file}: no `truncation`, without which there is no longest text; save it after "
            "Tokenizer.enable_truncation(512)"
        )
    return table_dimension(encoder), tokenizer.truncation.max_length


def _transformer_size(encoder: Path) -> tuple[str, int, int]:
    """Family, dimension and longest text of a transformer."""
    decode(encoder / TOKENIZER, dict[str, msgspec.Raw])
    config = decode(encoder / "config.json", _TransformerConfig)
    if config.model_type not in RESERVED_POSITIONS:
        known = ", ".join(RESERVED_POSITIONS)
        raise UnsupportedArchitectureError(f"{encoder}: {config.model_type!r} is not supported, only {known}")
    dimension = config.hidden_size or config.dim
    if dimension is None:
        raise DamagedStudentError(f"{encoder / 'config.json'}: neither `hidden_size` nor `dim`")
    return config.model_type, dimension, _max_length(encoder, config)


def _pooling(file: Path) -> Pooling:
    config = decode(file, _PoolingConfig)
    modes = config.modes()
    if not config.include_prompt:
        raise UnsupportedPoolingError(f"{file}: leaving the prompt out of pooling is not supported")
    if modes == ["mean"]:
        return "mean"
    if modes == ["cls"]:
        return "cls"
    raise UnsupportedPoolingError(
        f"{file}: pooling by {' + '.join(modes) or 'nothing'} is not supported, only mean or cls"
    )


def _max_length(transformer: Path, config: _TransformerConfig) -> int:
    positions = config.max_position_embeddings - RESERVED_POSITIONS[config.model_type]
    sentence_file, tokenizer_file = transformer / "sentence_bert_config.json", transformer / "tokenizer_config.json"
    limit: float | None = None
    if sentence_file.is_file():
        limit = decode(sentence_file, _SentenceConfig).max_seq_length
    if limit is None and tokenizer_file.is_file():
        limit = decode(tokenizer_file, _TokenizerConfig).model_max_length
    # A tokenizer without a limit says 10^30, and some models promise more tokens than they have positions for.
    return positions if limit is None else int(min(limit, positions))
