"""The teachers' own STS figures, which every student's report sets beside the student's: worked out once and kept.

Kept like teachers' vectors, in a file whose name has everything in it that they depend on.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bundle.arrays import normalize
from bundle.atomic import write_atomically
from bundle.layout import sha256_of
from bundle.quality import Encode
from bundle.sts import StsScores, evaluate
from train.cache import cache_directory, fingerprint, folder_identity
from train.config import Teacher
from train.corpus import side_by_side
from train.scoring import encode_texts
from train.teacher import default_prompt, open_model


def teacher_scores(teachers: Sequence[Teacher], folders: Sequence[Path], data: Path) -> StsScores:
    """Of the teachers' vectors side by side, each unit and in float32; `folders` are where the teachers lie.

    Raises:
        ModelError: a folder is no model.
        DataError: a file of STS is missing or malformed.
    """
    file = cache_directory() / f"sts-{_key(teachers, folders, data)}.json"
    if file.is_file():
        return msgspec.json.decode(file.read_bytes(), type=StsScores)
    scores = evaluate(_encode_side_by_side(teachers, folders), data)
    write_atomically(file, msgspec.json.encode(scores))
    return scores


def _key(teachers: Sequence[Teacher], folders: Sequence[Path], data: Path) -> str:
    files: dict[str, str | int | None] = {file.name: sha256_of(file) for file in sorted((data / "sts").glob("*.jsonl"))}
    models = {
        f"teacher {number}": _model_key(teacher, folder)
        for number, (teacher, folder) in enumerate(zip(teachers, folders, strict=True))
    }
    return fingerprint(files | models)


def _model_key(teacher: Teacher, folder: Path) -> str:
    own = default_prompt(folder)
    # Figures of models with a prompt of their own were once made otherwise.
    default = {"default prompt": own} if own else {}
    return fingerprint({"folder": folder_identity(folder), "prompt": teacher.prompt} | default)


def _encode_side_by_side(teachers: Sequence[Teacher], folders: Sequence[Path]) -> Encode:
    encoders = [_encode_by(*teacher) for teacher in zip(teachers, folders, strict=True)]
    return lambda texts: side_by_side([encode(texts) for encode in encoders])


def _encode_by(teacher: Teacher, folder: Path) -> Encode:
    model, prompt = open_model(folder), teacher.prompt or default_prompt(folder)
    return lambda texts: normalize(encode_texts(model, texts, prompt=prompt))
