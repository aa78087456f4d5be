"""The check of the harness: the teacher's published figures, reproduced by the evaluator."""

from pathlib import Path

import pytest

from bundle.sts import data_directory, evaluate
from train.evaluate import open_encode

PUBLISHED = {
    "STS12": 72.37,
    "STS13": 80.60,
    "STS14": 75.59,
    "STS15": 85.39,
    "STS16": 78.99,
    "STSB": 82.03,
    "SICK": 77.15,
}


def test_the_evaluator_reproduces_the_teachers_figures(real_teacher: Path) -> None:
    data = data_directory()
    if data is None:
        pytest.skip("needs the STS files: set DISCO_DATA")
    scores = evaluate(open_encode(str(real_teacher)), data)
    assert scores.tasks == pytest.approx(PUBLISHED, abs=0.05)
    assert scores.mean == pytest.approx(78.87, abs=0.05)
