from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData

from bundle.layout import Bundle
from export.card import compose_card, read_card, teacher_of
from export.errors import DamagedStudentError
from export.report import Quality
from export.source import Student, open_student

QUALITY = Quality(gates=[], parity={}, sts_dev={}, sts={}, output_range=0.2, outputs={}, bytes={}, versions={})


def compose(path: Path) -> tuple[ModelCardData, str]:
    student: Student = open_student(str(path))
    card = read_card(student)
    text = compose_card(student, card, QUALITY, {"onnx/model.onnx": 1000}, teacher=teacher_of(student, card))
    composed = ModelCard(text)
    assert isinstance(composed.data, ModelCardData)
    return composed.data, text


def test_the_front_matter_is_completed_and_the_prose_kept(student: Path) -> None:
    (student / "README.md").write_text(
        "---\nlicense: mit\nbase_model: org/teacher\ntags: [mine]\n---\n# My student\nProse.\n"
    )
    data, text = compose(student)
    assert (data.license, data.library_name, data.base_model) == ("mit", "sentence-transformers", "org/teacher")
    assert data.tags == ["mine", "sentence-transformers", "onnx"]
    assert "# My student\nProse." in text
    assert 'InferenceSession("onnx/model.onnx"' in text


@pytest.mark.parametrize("card", [None, "# No front matter\n", "---\n---\n# Empty front matter\n"])
def test_a_card_without_metadata_gets_some(student: Path, card: str | None) -> None:
    if card is None:
        (student / "README.md").unlink()
    else:
        (student / "README.md").write_text(card)
    data, text = compose(student)
    assert (data.license, data.library_name) == ("unknown", "sentence-transformers")
    assert "front matter" in text or "# tiny" in text


def test_evaluation_results_survive(student: Path) -> None:
    metric = "metrics: [{type: spearman, value: 80.5}]"
    result = f"[{{task: {{type: sts}}, dataset: {{name: STS-B, type: stsb}}, {metric}}}]"
    (student / "README.md").write_text(f"---\nmodel-index: [{{name: tiny, results: {result}}}]\n---\n# Tiny\n")
    data, _ = compose(student)
    assert data.eval_results
    assert data.eval_results[0].metric_value == 80.5


def test_the_teacher_is_what_the_training_recorded(student: Path) -> None:
    (student / "README.md").write_text("---\nbase_model: org/from-card\n---\n")
    described = open_student(str(student))
    assert teacher_of(described, read_card(described)) == "org/from-card"
    (student / "training.json").write_text('{"teacher": "org/from-training", "epochs": 3}')
    assert teacher_of(described, read_card(described)) == "org/from-training"


def test_broken_front_matter_is_named(student: Path) -> None:
    (student / "README.md").write_text("---\nlicense: [mit\n---\n# Broken\n")
    with pytest.raises(DamagedStudentError, match=r"README\.md: its front matter"):
        read_card(open_student(str(student)))


def test_the_snippet_runs(exported: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (exported.path / "README.md").read_text()
    snippet = text.partition("## ONNX bundle")[2].partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(exported.path)
    found: dict[str, object] = {}
    exec(snippet, found)
    assert getattr(found["vectors"], "shape", None) == (2, 32)
