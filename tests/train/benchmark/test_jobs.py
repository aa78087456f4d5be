from pathlib import Path

import msgspec
import pytest

from train.benchmark.jobs import Benchmark, Contender, Measurement, compare, fastest, table, trainer_settings

OURS = Contender("train", "disco", bf16=True, batch_size=256)
THEIRS = Contender("train", "sentence-transformers", True, "default", 64)


def measured(speed: float) -> Measurement:
    return Measurement(sentences=100, seconds=100 / speed, sentences_per_second=speed, threads=2)


def test_ratios_are_taken_within_a_round() -> None:
    speeds = [(40, 10), (90, 30), (20, 10)]
    comparison = compare(
        [OURS, THEIRS], [{OURS.name: measured(own), THEIRS.name: measured(other)} for own, other in speeds]
    )
    assert msgspec.structs.astuple(comparison.sentences_per_second[OURS.name]) == (40, 20, 90)
    assert msgspec.structs.astuple(comparison.sentences_per_second[THEIRS.name]) == (10, 10, 30)
    assert msgspec.structs.astuple(comparison.ratios[OURS.name][THEIRS.name]) == pytest.approx((3, 2, 4))
    assert list(comparison.ratios) == [OURS.name]
    assert list(comparison.ratios[OURS.name]) == [THEIRS.name]


def test_the_trainer_is_tried_in_every_setting_and_taken_at_its_best_of_either_attention() -> None:
    settings = trainer_settings([16, 64])
    assert len({setting.name for setting in settings}) == len(settings) == 8
    survey = {setting: measured(10 + number) for number, setting in enumerate(settings)}
    for attention, setting in (("default", settings[1]), ("eager", settings[6])):
        assert setting.attention == attention
        survey[setting] = measured(99)
    assert fastest(survey) == [settings[1], settings[6]]


def test_the_table_has_a_line_a_contender() -> None:
    comparison = compare([OURS, THEIRS], [{OURS.name: measured(40), THEIRS.name: measured(10)}])
    lines = table(comparison).splitlines()
    assert lines[2] == "| disco, bf16 | 40 (40–40) |  |"
    assert lines[3] == (
        "| sentence-transformers, bf16, default attention, batches of 64 | 10 (10–10) | 4.00 (4.00–4.00) |"
    )
    assert {line.count("|") for line in lines} == {4}


def test_the_committed_record_can_be_read() -> None:
    file = Path(__file__).parents[3] / "benchmarks" / "train.json"
    record = msgspec.json.decode(file.read_bytes(), type=Benchmark)
    assert record.training == compare(list(record.training.contenders.values()), record.training.rounds)
