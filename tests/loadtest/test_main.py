"""The command as a user runs it, against a real server on loopback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from loadtest.__main__ import main
from loadtest.exits import BOTTLENECK, INTERRUPTED, NOT_RUN, SUCCESS, VIOLATED
from loadtest.measurement import Measurement
from tests.loadtest.conftest import StubServer, answer_like_tei

QUICK = ["--duration", "0.4", "--warmup", "0.1", "--rate", "50"]


@pytest.fixture(autouse=True)
def _tolerant_of_busy_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is tested here is the command; whether this machine is fast enough is not.
    monkeypatch.setattr("loadtest.bottleneck.TOLERATED_LAG", 60)
    monkeypatch.setattr("loadtest.bottleneck.MOST_CPU", 60)


@pytest.mark.parametrize(
    ("route", "path"), [("embed", "/embed"), ("similarity", "/similarity"), ("openai", "/v1/embeddings")]
)
def test_a_good_run(stub_server: StubServer, tmp_path: Path, route: str, path: str) -> None:
    out = tmp_path / "report.json"
    arguments = ["--url", stub_server.url, "--routes", route, "--texts-per-request", "3", "--json", str(out)]
    assert main([*QUICK, *arguments, "--slo", "p99=60s", "--slo", "errors=0%"]) == SUCCESS
    report = json.loads(out.read_text())
    assert report["requests"]["succeeded"] == report["requests"]["due"] > 5
    assert [verdict["holds"] for verdict in report["slo"]] == [True, True]
    assert report["settings"]["rate"] == 50
    assert set(stub_server.received) == {path}
    assert report["generator"]["cpu_us_per_request"] > 0
    assert sum(report["latency_histogram"]["counts"].values()) == report["requests"]["succeeded"]
    assert sum(interval["due"] for interval in report["timeline"]) == report["requests"]["due"]


def test_a_run_that_its_limit_of_requests_ends_is_no_success(stub_server: StubServer, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    arguments = ["--url", stub_server.url, "--clients", "2", "--warmup", "0", "--max-requests", "20"]
    assert main([*arguments, "--json", str(out)]) == NOT_RUN
    report = json.loads(out.read_text())
    assert report["ending"] == "too many requests"
    assert report["requests"]["succeeded"] > 0


def test_a_mix_is_sent_as_declared(stub_server: StubServer, tmp_path: Path) -> None:
    async def note(request: web.Request) -> web.Response:
        body = await request.json()
        inputs = body["inputs"]
        texts = inputs["sentences"] if request.path == "/similarity" else inputs
        sizes[request.path].add(1 if isinstance(texts, str) else len(texts))
        forms.add((body.get("output_dtype"), body.get("encoding_format"), request.headers["Accept"]))
        if request.headers["Accept"] == "application/octet-stream":
            return web.Response(body=bytes(4 * (1 if isinstance(texts, str) else len(texts))))
        return await answer_like_tei(request)

    sizes: dict[str, set[int]] = {"/embed": set(), "/similarity": set()}
    forms: set[tuple[str | None, str | None, str]] = set()
    stub_server.handler = note
    lengths = tmp_path / "lengths.txt"
    lengths.write_text("5 1\n")
    arguments = ["--mix", "1:0.5,3:0.5", "--routes", "embed:2,similarity", "--lengths", str(lengths)]
    forms_wanted = ["--forms", "float32/json,int8/bytes"]
    assert main([*QUICK, "--url", stub_server.url, *arguments, *forms_wanted]) == SUCCESS
    assert sizes == {"/embed": {1, 3}, "/similarity": {1, 3}}
    assert forms == {
        (None, None, "application/json"),
        ("float32", "float", "application/json"),
        ("int8", None, "application/octet-stream"),
    }


def test_wrong_vectors_under_load_fail_the_run(stub_server: StubServer, tmp_path: Path) -> None:
    async def turn_after_the_references(request: web.Request) -> web.Response:
        if len(stub_server.received) > 1 + 200:
            return web.json_response([[1.0, 0.25]])
        return await answer_like_tei(request)

    out = tmp_path / "report.json"
    arguments = [*QUICK, "--url", stub_server.url, "--check", "2", "--json", str(out)]
    assert main(arguments) == SUCCESS
    assert json.loads(out.read_text())["answers_checked"] > 3
    stub_server.received.clear()
    stub_server.handler = turn_after_the_references
    assert main(arguments) == VIOLATED
    report = json.loads(out.read_text())
    assert 0 < report["requests"]["errors"]["wrong vectors"] < report["requests"]["due"]


def test_the_capacity_is_searched_and_reported(
    stub_server: StubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stop_answering_well(request: web.Request) -> web.Response:
        if len(stub_server.received) > 60:
            return web.json_response({}, status=429)
        return await answer_like_tei(request)

    stub_server.handler = stop_answering_well
    out, page = tmp_path / "capacity.json", tmp_path / "capacity.html"
    arguments = ["--find-capacity", "--slo", "errors=50%", "--rate", "30", "--duration", "1", "--warmup", "0"]
    files = ["--json", str(out), "--html", str(page)]
    assert main(["--url", stub_server.url, *arguments, *files]) == VIOLATED
    report = json.loads(out.read_text())
    assert report["conclusion"] == "no request succeeded"
    assert report["requests_per_second"] == 30
    assert report["trials"][0]["holds"]
    assert "30.0 requests/s held" in capsys.readouterr().out
    assert page.read_text().startswith("<!doctype html>")


def test_a_path_prefix_is_kept(stub_server: StubServer) -> None:
    assert main([*QUICK, "--url", f"{stub_server.url}/v2/"]) == SUCCESS
    assert set(stub_server.received) == {"/v2/embed"}


def test_the_users_own_texts_and_key_are_sent(stub_server: StubServer, tmp_path: Path) -> None:
    async def note(request: web.Request) -> web.Response:
        texts.add((await request.json())["inputs"])
        keys.add(request.headers["Authorization"])
        return await answer_like_tei(request)

    texts: set[str] = set()
    keys: set[str] = set()
    stub_server.handler = note
    corpus, out = tmp_path / "texts.txt", tmp_path / "report.json"
    corpus.write_text("mine\nyours\n")
    arguments = ["--url", stub_server.url, "--corpus", str(corpus), "--api-key", "hush", "--json", str(out)]
    assert main([*QUICK, *arguments]) == SUCCESS
    assert texts == {"mine", "yours"}
    assert keys == {"Bearer hush"}
    assert "hush" not in out.read_text()


def test_a_violated_objective(stub_server: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--url", stub_server.url, "--clients", "2", "--duration", "0.3", "--warmup", "0"]
    assert main([*arguments, "--slo", "p50=1us"]) == VIOLATED
    assert "violated  p50=1us" in capsys.readouterr().out


def test_a_server_that_begins_to_refuse(stub_server: StubServer) -> None:
    async def refuse_after_the_probe(request: web.Request) -> web.Response:
        if len(stub_server.received) == 1:
            return await answer_like_tei(request)
        return web.json_response({}, status=429)

    stub_server.handler = refuse_after_the_probe
    assert main([*QUICK, "--url", stub_server.url]) == VIOLATED
    stub_server.received.clear()
    assert main([*QUICK, "--url", stub_server.url, "--max-errors", "3"]) == VIOLATED
    assert len(stub_server.received) < 20


def test_an_overwhelmed_generator(
    stub_server: StubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def accuse(_measurement: Measurement) -> list[str]:
        return ["it was the generator"]

    monkeypatch.setattr("loadtest.report.find_bottlenecks", accuse)
    assert main([*QUICK, "--url", stub_server.url, "--slo", "p50=1us"]) == BOTTLENECK
    assert "Do not trust this run: it was the generator" in capsys.readouterr().out


def test_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "http://127.0.0.1:1", *QUICK]) == NOT_RUN
    assert "http://127.0.0.1:1/embed: cannot connect" in capsys.readouterr().err


URL = ["--url", "http://127.0.0.1:1"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--url: Field required"),
        ([*URL, "--rate", "5", "--clients", "5"], "--rate and --clients exclude each other"),
        ([*URL, "--rate", "0"], "--rate: Input should be greater than 0"),
        ([*URL, "--clients", "1000"], "--clients: Input should be less than or equal to 900"),
        (
            [*URL, "--rate", "1000", "--duration", "2000"],
            "2002000 requests would be due, but --max-requests is 1000000",
        ),
        ([*URL, "--slo", "p99=fast"], "--slo: 'p99=fast' is not an objective"),
        ([*URL, "--routes", "rerank"], "--routes: 'rerank' is not a route; write one of embed, similarity, openai"),
        ([*URL, "--corpus", "absent.txt"], "absent.txt: No such file"),
        ([*URL, "--json", "absent/report.json"], "absent is not a folder"),
        ([*URL, "--html", "absent/report.html"], "absent is not a folder"),
        ([*URL, "--lengths", "absent.txt"], "absent.txt: No such file"),
        ([*URL, "--lengths", "a", "--corpus", "b"], "--corpus and --lengths exclude each other"),
        ([*URL, "--mix", "1:0.9,0:0.1"], "--texts-per-request: '0' is not a number of texts from 1 to 10,000"),
        ([*URL, "--mix", "1:0.9,2:x"], "--texts-per-request: the weight 'x' of '2' is not a positive number"),
        ([*URL, "--forms", "int4/json"], "--forms: 'int4/json' is not a form of answer; write one of float32"),
        ([*URL, "--forms", "int8/json", "--routes", "similarity"], "--forms int8/json is for vectors"),
        ([*URL, "--forms", "int8/bytes", "--routes", "openai"], "openai answers json or base64, not bytes"),
        ([*URL, "--check", "3", "--forms", "int8/json"], "--check 3 compares vectors of floating numbers"),
        ([*URL, "--low-rate", "3"], "--low-rate 3 is where a step or ramp begins: add --shape"),
        ([*URL, "--shape", "ramp", "--clients", "3"], "--shape ramp is one of rates: leave out --clients"),
        ([*URL, "--shape", "step", "--rate", "5", "--low-rate", "9"], "--low-rate 9 is above --rate 5"),
        ([*URL, "--find-capacity"], "--find-capacity needs to know what must hold: add e.g. --slo p99=20ms"),
        ([*URL, "--find-capacity", "--slo", "p99=1s", "--clients", "3"], "--find-capacity searches a rate"),
        ([*URL, "--find-capacity", "--slo", "p99=1s", "--shape", "ramp"], "leave out --shape ramp"),
        ([*URL, "--nonsense"], "unrecognized arguments: --nonsense"),
        (["--url", "localhost:8080"], "--url: URL scheme should be 'http' or 'https'"),
        (["--url", "http://user:pass@host"], "--url: holds a user name or password; use --api-key"),
        (["--url", "http://host/?a=b"], "--url: must end with the path"),
    ],
)
def test_bad_settings(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == NOT_RUN
    assert complaint in capsys.readouterr().err


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, stub_server: StubServer) -> None:
    monkeypatch.setenv("DISCO_LOADTEST_URL", stub_server.url)
    monkeypatch.setenv("DISCO_LOADTEST_ROUTES", "similarity")
    assert main(QUICK) == SUCCESS
    assert set(stub_server.received) == {"/similarity"}


def test_help_documents_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for code in (SUCCESS, VIOLATED, BOTTLENECK, NOT_RUN, INTERRUPTED):
        assert f"\n      {code} " in text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to another process")
def test_ctrl_c_still_reports(stub_server: StubServer) -> None:
    arguments = ["--url", stub_server.url, "--rate", "50", "--duration", "60", "--warmup", "0"]
    root = Path(__file__).parents[2]
    # Whoever runs the tests in the background of a shell has SIGINT ignored, and a child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtest", *arguments], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    signal.signal(signal.SIGINT, before)
    try:
        while len(stub_server.received) < 10:
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == INTERRUPTED, errors.decode()
    assert "ended early: interrupted" in output.decode()
    assert "latency p99" in output.decode()
