from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.train.report.test_record import write_record
from train.report.plots import plot_stage
from train.report.record import Evaluation, read_record


def words(svg: str) -> set[str]:
    return {text.strip() for text in ET.fromstring(svg).itertext() if text.strip()}


def test_a_stage_shows_loss_terms_and_the_score_that_was_kept(tmp_path: Path) -> None:
    stage = read_record(write_record(tmp_path)).stages["distil"]
    shown = words(plot_stage(stage, score="STSB.dev", kept=stage[1]))
    assert {"loss", "terms of the loss, unweighted", "STSB.dev", "examples", "ckd", "kept: 60.00"} <= shown
    assert "not recorded" not in shown


def test_the_curves_go_through_the_points(tmp_path: Path) -> None:
    stage = read_record(write_record(tmp_path)).stages["distil"]
    twice = [*stage, *(Evaluation("distil", entry.examples + 48, entry.score, entry.loss) for entry in stage)]
    before, after = (plot_stage(entries, score="s", kept=entries[0]).count("<use ") for entries in (stage, twice))
    assert after > before  # a mark each


@pytest.mark.parametrize("score", [70.0, None])
def test_a_stage_that_was_only_scored_is_drawn(score: float | None) -> None:
    entry = Evaluation("distil", 0, score)
    shown = words(plot_stage([entry], score="agreement", kept=entry))
    assert "not recorded" in shown
    assert ("kept: 70.00" in shown) == (score is not None)


def test_terms_may_be_zero_or_come_late() -> None:
    terms: list[dict[str, float]] = [{}, {"triplet_order": 0.0}, {"triplet_order": 0.1, "late": 1.0}]
    stage = [Evaluation("distil", 8 * row, 50.0, loss=1.0, terms=names) for row, names in enumerate(terms)]
    assert {"triplet_order", "late"} <= words(plot_stage(stage, score="s", kept=stage[0]))


def test_the_same_history_gives_the_same_file(tmp_path: Path) -> None:
    stage = read_record(write_record(tmp_path)).stages["distil"]
    assert plot_stage(stage, score="s", kept=stage[0]) == plot_stage(stage, score="s", kept=stage[0])
