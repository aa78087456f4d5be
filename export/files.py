"""The sentence-transformers files of a bundle, written so that any version of its readers understands them.

The small JSON files are written anew in their oldest form (flags per pooling mode, short module names), which
sentence-transformers 2 to 5 and Text Embeddings Inference read alike; paths of the machine that trained are left out.
"""

import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from bundle.layout import TOKENIZER, TRAINING
from export.errors import DamagedStudentError
from export.source import Student, decode

_TOKENIZER_FILES = (
    TOKENIZER,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
)
_CLEANED_FILES = ("config.json", "tokenizer_config.json")
_PATH_KEYS = {"_name_or_path", "name_or_path"}
_WEIGHTS = ("model*.safetensors", "model.safetensors.index.json", "pytorch_model*.bin", "pytorch_model.bin.index.json")


def write_sentence_transformers_files(student: Student, target: Path) -> None:
    """Fill the existing folder `target` with everything but weights, graphs and model card."""
    for name in _TOKENIZER_FILES:
        if (file := student.encoder / name).is_file():
            shutil.copyfile(file, target / name)
    if (record := student.path / TRAINING).is_file():
        shutil.copyfile(record, target / TRAINING)
    for name in _CLEANED_FILES:
        if (file := student.encoder / name).is_file():
            content = decode(file, dict[str, object])
            _write(target / name, {key: value for key, value in content.items() if key not in _PATH_KEYS})
    kinds = ["StaticEmbedding"] if student.static else ["Transformer", "Pooling"]
    _write(target / "modules.json", _modules([*kinds, "Normalize"] if student.normalized else kinds))
    _write(
        target / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": version("sentence-transformers")},
            "prompts": student.prompts,
            "default_prompt_name": student.default_prompt,
            "similarity_fn_name": "cosine",
        },
    )
    if not student.static:
        _write_pooling_files(student, target)


def copy_weights(student: Student, target: Path) -> None:
    """Copy the torch weights into `target`.

    Raises:
        DamagedStudentError: there are none under a known name.
    """
    files = [file for pattern in _WEIGHTS for file in student.encoder.glob(pattern)]
    if not files:
        raise DamagedStudentError(f"{student.encoder}: no weights to include, looked for {', '.join(_WEIGHTS)}")
    for file in files:
        shutil.copyfile(file, target / file.name)


def _write_pooling_files(student: Student, target: Path) -> None:
    """What says how a transformer's tokens become one vector; a token table has no choice."""
    _write(target / "sentence_bert_config.json", {"max_seq_length": student.max_length, "do_lower_case": False})
    (target / "1_Pooling").mkdir()
    _write(
        target / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": student.dimension,
            "pooling_mode_cls_token": student.pooling == "cls",
            "pooling_mode_mean_tokens": student.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )


def _modules(kinds: Sequence[str]) -> list[dict[str, object]]:
    """The content of `modules.json`; the first module lies in the root."""
    return [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{kind}" if index else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]


def _write(path: Path, content: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
