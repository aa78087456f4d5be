import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from export.errors import (
    DamagedStudentError,
    ExportError,
    MissingTokenizerError,
    StudentNotFoundError,
    UnsupportedArchitectureError,
    UnsupportedModuleError,
    UnsupportedPoolingError,
)
from export.source import open_student


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def test_a_student_is_described_by_its_files(student: Path) -> None:
    edit(student / "config_sentence_transformers.json", prompts={"query": "the "}, default_prompt_name="query")
    found = open_student(str(student))
    assert (found.name, found.dimension, found.max_length) == ("tiny", 32, 32)
    assert (found.pooling, found.normalized) == ("mean", True)
    assert (found.prompts, found.default_prompt) == ({"query": "the "}, "query")


def test_pooling_may_be_written_as_flags(student: Path) -> None:
    flags = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (student / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    assert open_student(str(student)).pooling == "cls"


@pytest.mark.parametrize(
    ("sentence_limit", "tokenizer_limit", "expected"), [(16, 32, 16), (None, 24, 24), (None, 1e30, 64), (512, 32, 64)]
)
def test_the_length_is_the_least_of_what_the_files_allow(
    student: Path, sentence_limit: int | None, tokenizer_limit: float, expected: int
) -> None:
    edit(student / "sentence_bert_config.json", max_seq_length=sentence_limit)
    edit(student / "tokenizer_config.json", model_max_length=tokenizer_limit)
    assert open_student(str(student)).max_length == expected


def _remove(name: str) -> Callable[[Path], object]:
    return lambda student: (student / name).unlink()


def _set(name: str, **changes: object) -> Callable[[Path], object]:
    return lambda student: edit(student / name, **changes)


def _write(name: str, text: str) -> Callable[[Path], object]:
    return lambda student: (student / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_remove("tokenizer.json"), MissingTokenizerError, r"tokenizer\.json is missing"),
        (_remove("modules.json"), DamagedStudentError, r"modules\.json is missing"),
        (_remove("config.json"), DamagedStudentError, r"config\.json is missing"),
        (_write("config.json", "{"), DamagedStudentError, r"config\.json"),
        (_write("tokenizer.json", '{"version": '), DamagedStudentError, r"tokenizer\.json"),
        (_write("modules.json", "[]"), UnsupportedModuleError, "its modules are none"),
        (_set("config.json", model_type="t5"), UnsupportedArchitectureError, "'t5' is not supported, only bert"),
        (_set("1_Pooling/config.json", pooling_mode="max"), UnsupportedPoolingError, "by max is not"),
        (_set("1_Pooling/config.json", pooling_mode=["cls", "mean"]), UnsupportedPoolingError, r"cls \+ mean"),
        (_set("1_Pooling/config.json", include_prompt=False), UnsupportedPoolingError, "prompt"),
        (_set("config_sentence_transformers.json", default_prompt_name="x"), DamagedStudentError, "default prompt 'x'"),
    ],
)
def test_each_fault_has_a_name(
    student: Path, damage: Callable[[Path], object], error: type[ExportError], message: str
) -> None:
    damage(student)
    with pytest.raises(error, match=message):
        open_student(str(student))


def test_other_modules_are_named(student: Path) -> None:
    modules = json.loads((student / "modules.json").read_bytes())
    modules[2]["type"] = "sentence_transformers.models.Dense"
    (student / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedModuleError, match="Transformer, Pooling, Dense"):
        open_student(str(student))


def test_a_hub_id_is_downloaded(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot_download(reference: str, **_: object) -> str:
        asked.append(reference)
        return str(student)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert open_student("somebody/model").name == "model"
    assert asked == ["somebody/model"]


def test_a_hub_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(reference: str, **_: object) -> str:
        raise LocalEntryNotFoundError("no connection\nand much more text")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(StudentNotFoundError, match=r"somebody/model.*no connection$"):
        open_student("somebody/model")


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(StudentNotFoundError, match=r"\./missing/student is neither"):
        open_student("./missing/student")
