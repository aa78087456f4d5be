from pathlib import Path

from litestar import Litestar
from litestar.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families

from server.app import create_app
from server.metrics import document
from server.settings import ServerSettings


def samples(client: TestClient[Litestar]) -> dict[str, float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {f"{s.name}{sorted(s.labels.items())}": s.value for family in families for s in family.samples}


def test_every_series_exists_before_any_request_and_traffic_adds_none(settings: ServerSettings) -> None:
    with TestClient(create_app(settings)) as client:
        before = samples(client)
        client.post("/embed", json={"inputs": ["cat", "cat", "dog"]})
        client.post("/v1/embeddings", json={"input": ""})
        client.post("/nowhere")
        after = samples(client)
    assert set(after) == set(before)
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert changed["disco_requests_total[('route', '/embed'), ('status', '200')]"] == 1
    assert changed["disco_requests_total[('route', '/v1/embeddings'), ('status', '400')]"] == 1
    assert changed["disco_requests_total[('route', 'unknown'), ('status', '404')]"] == 1
    assert changed["disco_texts_total[('model', 'tiny')]"] == 3
    assert changed["disco_deduplicated_texts_total[('model', 'tiny')]"] == 1
    assert changed["disco_tokens_total[('model', 'tiny')]"] == 6
    assert changed["disco_errors_total[('type', 'Empty')]"] == 1
    for stage in ("tokenize", "queue", "inference", "total"):
        assert changed[f"disco_stage_seconds_count[('model', 'tiny'), ('stage', '{stage}')]"] == 1


def test_two_applications_count_apart(settings: ServerSettings) -> None:
    with TestClient(create_app(settings)) as busy, TestClient(create_app(settings)) as quiet:
        busy.post("/embed", json={"inputs": "cat"})
        assert samples(quiet)["disco_texts_total[('model', 'tiny')]"] == 0


def test_the_documentation_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text() == document(), "run `python -m server.metrics > docs/metrics.md`"


def test_every_metric_is_documented() -> None:
    rows = [line for line in document().splitlines() if line.startswith("| `")]
    assert rows
    assert all(row.split("|")[4].strip() for row in rows)
