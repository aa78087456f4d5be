"""The sentence-transformers files of a bundle, written so that any version of its readers understands them.

The small JSON files are written anew in their oldest form (flags per pooling mode, short module names), which
sentence-transformers 2 to 5 and Text Embeddings Inference read alike; paths of the machine that trained are left out.
"""

import shutil
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
        if (file := student.transformer / name).is_file():
            shutil.copyfile(file, target / name)
    if (record := student.path / TRAINING).is_file():
        shutil.copyfile(record, target / TRAINING)
    for name in _CLEANED_FILES:
        if (file := student.transformer / name).is_file():
            content = decode(file, dict[str, object])
            _write(target / name, {key: value for key, value in content.items() if key not in _PATH_KEYS})
    _write(target / "modules.json", _modules(student))
    _write(target / "sentence_bert_config.json", {"max_seq_length": student.max_length, "do_lower_case": False})
    _write(
        target / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": version("sentence-transformers")},
            "prompts": student.prompts,
            "default_prompt_name": student.default_prompt,
            "similarity_fn_name": "cosine",
        },
    )
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


def copy_weights(student: Student, target: Path) -> None:
    """Copy the torch weights into `target`.

    Raises:
        DamagedStudentError: there are none under a known name.
    """
    files = [file for pattern in _WEIGHTS for file in student.transformer.glob(pattern)]
    if not files:
        raise DamagedStudentError(f"{student.transformer}: no weights to include, looked for {', '.join(_WEIGHTS)}")
    for file in files:
        shutil.copyfile(file, target / file.name)


def _modules(student: Student) -> list[dict[str, object]]:
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling")]
    if student.normalized:
        kinds.append(("Normalize", "2_Normalize"))
    return [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(kinds)
    ]


def _write(path: Path, content: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
