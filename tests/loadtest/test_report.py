import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loadtest.files import write_whole
from loadtest.measurement import OK, Ending, Measurement
from loadtest.report import Report, make_report, to_json
from loadtest.slo import check, parse_objective
from loadtest.table import print_report
from tests.loadtest.conftest import make_measurement


def measured(*, outcomes: list[str], ending: Ending = "complete", lag: float = 0.0001) -> Measurement:
    latencies = [number / 1000 for number in range(1, len(outcomes) + 1)]
    return make_measurement(latencies, outcomes=outcomes, ending=ending, lag=lag, seconds=2.0)


def report_on(
    measurement: Measurement, *, url: str = "http://127.0.0.1:8080/", paced: bool = True, shape: str = "steady"
) -> Report:
    verdicts = check([parse_objective("p99=20ms")], measurement)
    settings: dict[str, Any] = {"url": url, "routes": "embed", "shape": shape}
    return make_report(measurement, verdicts, paced=paced, answers_checked=None, settings=settings)


def show(report: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_figures_in_their_units() -> None:
    report = report_on(measured(outcomes=[OK] * 100 + ["timeout"] * 2))
    assert report.requests.due == 102
    assert report.requests.failed == 2
    assert report.requests.errors == {"timeout": 2}
    assert report.throughput.requests_per_second == 50
    assert report.throughput.texts_per_second == 200
    assert report.latency_ms is not None
    assert report.latency_ms.p50 == pytest.approx(50)  # failures are not among the latencies
    assert report.latency_ms.max == pytest.approx(100)
    assert report.generator.lag_ms is not None
    assert report.generator.lag_ms.p99 == pytest.approx(0.1)


def test_a_closed_loop_has_no_lag() -> None:
    assert report_on(measured(outcomes=[OK]), paced=False).generator.lag_ms is None


def test_a_run_without_a_success_has_no_latency() -> None:
    report = report_on(measured(outcomes=["HTTP 503"]))
    assert report.latency_ms is None
    assert "HTTP 503" in show(report)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("http://127.0.0.1:1/", True),
        ("http://[::1]:1/", True),
        ("http://localhost/", True),
        ("http://10.0.0.1/", False),
        ("https://example.org/", False),
    ],
)
def test_a_server_on_the_same_machine_is_noted(url: str, same: bool) -> None:
    report = report_on(measured(outcomes=[OK]), url=url)
    assert report.generator.on_loopback == same
    assert ("on the server's machine" in show(report)) == same
    assert url in show(report)


def test_the_table_says_whether_to_believe_it() -> None:
    sound = show(report_on(measured(outcomes=[OK] * 10)))
    assert "Do not trust" not in sound
    assert "holds  p99=20ms: 10.00 ms" in sound
    bad = show(report_on(measured(outcomes=[OK] * 50, ending="interrupted", lag=1)))
    assert "Do not trust this run: requests left late" in bad
    assert "ended early: interrupted" in bad
    assert "violated  p99=20ms: 50.00 ms" in bad


def test_json_holds_everything(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    write_whole(path, to_json(report_on(measured(outcomes=[OK, "timeout"]))))
    document = json.loads(path.read_text())
    assert document["format"] == 1
    assert set(document["latency_ms"]) == {"mean", "p50", "p90", "p95", "p99", "p99.9", "max"}
    assert document["slo"][0]["actual"] is None  # an unbounded latency
    assert document["machine"]["cores"] >= 1
    assert document["versions"]["python"].startswith("3.")
    assert document["settings"] == {"url": "http://127.0.0.1:8080/", "routes": "embed", "shape": "steady"}
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: Path, _target: Path) -> None:
        raise OSError("disk full")

    path = tmp_path / "report.json"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
