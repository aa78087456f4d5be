"""The comparison of servers: who is measured when, what is refused, and that nothing is left running."""

import base64
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadtest.peers.answers import check, read_vectors
from loadtest.peers.comparison import choose_systems
from loadtest.peers.environments import install, versions
from loadtest.peers.errors import AbsentError, PreparationError
from loadtest.peers.measure import Figures, Load, all_loads, measure
from loadtest.peers.record import make_rows
from loadtest.peers.server import serve
from loadtest.peers.systems import OURS, System
from loadtest.peers.texts import LONG_TOKENS, SHORT_TOKENS, Texts, make_texts
from loadtest.peers.turns import take_turns

SHIPPED = Path(__file__).resolve().parents[2] / "students" / "disco-minilm-l3"
SHORT, LONG = Load(8, 1, "short"), Load(8, 1, "long")

# A server in a process with a child of its own; after `port` it takes what it should do.
STAND_IN = """
import http.server, subprocess, sys, time
port, mood = int(sys.argv[1]), sys.argv[2]
if mood == "broken":
    sys.exit("no such model")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        body = b'{"engine": "fast"}' if self.path == "/info" else b"{}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        body = b"[[0.6,0.8]]"
        while time.thread_time() < 0.02: pass  # once a connection: the system counts in hundredths of a second
        self.send_response(500 if b"refuse me" in asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def stand_in(mood: str = "good", name: str = "stand-in") -> System:
    return System(name=name, title=name, command=(sys.executable, "-c", STAND_IN, "{port}", mood))


def figures(texts_per_second: float, failed: int = 0) -> Figures:
    return Figures(
        requests_per_second=texts_per_second,
        texts_per_second=texts_per_second,
        tokens_per_second=texts_per_second,
        p50_ms=1000 / texts_per_second,
        p99_ms=1000 / texts_per_second,
        peak_mebibytes=1.0,
        cpu_seconds_per_1000_texts=1.0,
        failed=failed,
        generator_cores=0.1,
        generator_bottlenecks=[],
    )


def reaches(pid: int, states: str) -> bool:
    """Whether the process comes to be in one of `states`, as in /proc, before long; `Z` includes that it is gone."""
    deadline = time.monotonic() + 30
    while (state := state_of(pid)) not in states and time.monotonic() < deadline:
        time.sleep(0.01)
    return state in states


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_an_engine_is_told_where_a_system_says_it(tmp_path: Path) -> None:
    with serve(stand_in(), tmp_path / "log", patience=60) as server:
        assert server.engine() is None
        server.system = replace(server.system, description="/info")
        assert server.engine() == "fast"
        server.system = replace(server.system, description="/other")
        with pytest.raises(AbsentError, match="/other"):
            server.engine()


def test_a_server_is_measured_held_and_ended_with_its_children(tmp_path: Path) -> None:
    texts = Texts(["a", "b", "c"], [3, 4, 5])
    with serve(stand_in(), tmp_path / "log", patience=60) as server:
        assert server.startup_seconds > 0
        pids = server.pids
        assert len(pids) == 2
        found = measure(server, Load(2, 1, "short"), texts, seconds=0.3)
        server.hold()
        assert all(reaches(pid, "T") for pid in pids)
        server.resume()
        assert read_vectors("embed", server.embed(["a"])).shape == (1, 2)
        with pytest.raises(AbsentError, match="HTTP 500"):
            server.embed(["refuse me"])
        server.hold()
    assert all(reaches(pid, "ZX") for pid in pids)
    assert found.failed == 0
    assert found.tokens_per_second == pytest.approx(4 * found.texts_per_second, rel=0.2)
    assert found.peak_mebibytes > 1
    assert found.cpu_seconds_per_1000_texts > 0
    assert 0 < found.p50_ms <= found.p99_ms


def test_children_end_with_a_server_that_was_killed(tmp_path: Path) -> None:
    with serve(stand_in(), tmp_path / "log", patience=60) as server:
        parent, child = server.pids
        os.kill(parent, signal.SIGKILL)
    assert reaches(child, "ZX")


def test_why_a_server_did_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AbsentError, match="status 1: no such model"),
        serve(stand_in("broken"), tmp_path / "log", patience=60),
    ):
        pass
    silent = System(name="silent", title="silent", command=("sleep", "600"))
    with pytest.raises(AbsentError, match="no answer within"), serve(silent, tmp_path / "log", patience=0.2):
        pass
    absent = System(name="absent", title="absent", command=("./absent", "{port}"))
    with pytest.raises(AbsentError, match=r"\./absent cannot be started"), serve(absent, tmp_path / "log", patience=1):
        pass


def test_vectors_are_read_from_numbers_and_from_base64() -> None:
    vectors = np.array([[0.5, -2.0], [1.0, 3.0]], dtype=np.float32)
    coded = [base64.b64encode(row.tobytes()).decode() for row in vectors]
    as_base64 = f'{{"data": [{{"embedding": "{coded[0]}"}}, {{"embedding": "{coded[1]}"}}]}}'
    as_numbers = '{"data": [{"embedding": [0.5, -2]}, {"embedding": [1, 3]}]}'
    for body in (as_base64, as_numbers):
        np.testing.assert_array_equal(read_vectors("openai", body.encode()), vectors)
    np.testing.assert_array_equal(read_vectors("embed", b"[[0.5,-2],[1,3]]"), vectors)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"error": "no"}', b"[1, 2]", b"[[1, 2], [3]]", b'[["a"]]'])
def test_answers_without_vectors_are_refused(body: bytes) -> None:
    for route in ("embed", "openai"):
        with pytest.raises(AbsentError):
            read_vectors(route, body)


def test_only_who_computes_the_same_is_measured() -> None:
    reference = np.array([[1, 0], [0, 1]], dtype=np.float32)
    assert check(reference * 7, reference, least_cosine=0.999) == pytest.approx(1)
    for wrong in (reference[::-1], reference * np.nan, reference[:1], np.zeros_like(reference)):
        with pytest.raises(AbsentError), np.errstate(invalid="ignore"):
            check(wrong, reference, least_cosine=0.99)


def test_texts_have_the_lengths_that_they_promise() -> None:
    texts = make_texts(SHIPPED / "tokenizer.json", seed=0)
    assert max(texts["short"].tokens) <= SHORT_TOKENS
    assert set(texts["long"].tokens) == {LONG_TOKENS}
    assert max(texts["mixed"].tokens) <= LONG_TOKENS
    assert min(texts["mixed"].tokens) < SHORT_TOKENS < max(texts["mixed"].tokens)
    assert len(set(texts["long"].texts)) == len(texts["long"].texts)
    assert texts == make_texts(SHIPPED / "tokenizer.json", seed=0)


def test_tokens_are_counted_in_the_order_of_sending() -> None:
    texts = Texts(["a", "b", "c"], [1, 10, 100])
    assert [texts.tokens_of_first(count) for count in (0, 1, 2, 3, 4, 8)] == [0, 1, 11, 111, 112, 233]


def test_every_round_measures_all_under_a_load_and_nobody_is_always_first() -> None:
    order = []

    def note(name: str, load: Load) -> Figures:
        order.append((name, load))
        return figures(1)

    take_turns(["a", "b"], [SHORT, LONG], note, rounds=2, seconds=1e9)
    sets = [order[i : i + 2] for i in range(0, len(order), 2)]
    assert [found[0][1] for found in sets] == [SHORT, LONG, SHORT, LONG]
    assert all({name for name, _ in found} == {"a", "b"} for found in sets)
    assert {found[0][0] for found in sets} == {"a", "b"}


def test_time_runs_out_between_loads_only() -> None:
    now = [0.0]

    def take_ten_seconds(_name: str, _load: Load) -> Figures:
        now[0] += 10
        return figures(1)

    results = take_turns(["a", "b"], [SHORT, LONG], take_ten_seconds, rounds=9, seconds=70, clock=lambda: now[0])
    assert now[0] == 60
    assert {len(by_round) for (_, load), by_round in results.figures.items() if load == SHORT} == {2}
    assert {len(by_round) for (_, load), by_round in results.figures.items() if load == LONG} == {1}


def test_who_breaks_down_is_measured_no_more() -> None:
    calls = []

    def break_b(name: str, _load: Load) -> Figures:
        calls.append(name)
        if name == "b":
            raise AbsentError("fell over")
        return figures(1)

    results = take_turns(["a", "b", "c"], [SHORT], break_b, rounds=3, seconds=1e9)
    assert calls.count("b") == 1
    assert calls.count("a") == calls.count("c") == 3
    assert results.absent == {"b": "fell over"}


def test_ratios_are_taken_within_rounds() -> None:
    # The machine was ten times slower in the second round; the ratio was not.
    measured = {
        ("ours", SHORT): {0: figures(100), 1: figures(10), 2: figures(50)},
        ("peer", SHORT): {0: figures(50), 1: figures(5, failed=2)},
    }
    ours, peer = make_rows(measured, [stand_in(name="ours"), stand_in(name="peer")], "ours")
    assert (ours.system, ours.rounds, peer.rounds) == ("ours", 3, 2)
    assert peer.throughput_of_ours is not None
    assert peer.throughput_of_ours.min == peer.throughput_of_ours.max == 0.5
    assert peer.p50_of_ours is not None
    assert peer.p50_of_ours.median == 2
    assert list(peer.texts_per_second_range) == [5, 50]
    assert peer.figures["failed"] == 2
    assert "generator_bottlenecks" not in peer.figures


def test_loads_have_names_of_their_own() -> None:
    names = [load.name for load in all_loads()]
    assert len(set(names)) == len(names) == 15
    assert "4x32-long" in names


def test_an_environment_is_made_once_and_pips_complaint_is_the_reason(tmp_path: Path) -> None:
    requirements = tmp_path / "nothing.txt"
    requirements.write_text("# nothing\n")
    python = install(requirements, tmp_path / "nothing")
    made = python.lstat().st_mtime_ns
    assert install(requirements, tmp_path / "nothing").lstat().st_mtime_ns == made
    assert set(versions(python, ["pip"])) == {"pip", "python"}
    requirements.write_text("./absent-package\n")
    with pytest.raises(AbsentError, match=r"pip cannot install nothing\.txt: ERROR"):
        install(requirements, tmp_path / "nothing")


def test_only_takes_names_by_their_beginning_and_ours_in_any_case() -> None:
    known = [stand_in(name=OURS), stand_in(name="infinity-torch"), stand_in(name="infinity-optimum"), stand_in()]
    assert choose_systems(known, []) == known
    assert choose_systems(known, ["infinity"]) == known[:3]


def test_only_refuses_what_no_system_is_called() -> None:
    with pytest.raises(PreparationError, match=r"--only infinty: .* ours-teacher, stand-in"):
        choose_systems([stand_in(name=OURS), stand_in()], ["stand", "infinty"])
