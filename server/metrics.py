"""Every metric of the server, in one registry of its own. Knows how to count, not what the numbers mean for health.

All series exist from the first second, so that a rate or an alert never meets a missing one.
`python -m server.metrics` prints docs/metrics.md.
"""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

from server.jobs import Batch
from server.queue import Depth
from server.timings import Timings

STAGES = ("tokenize", "queue", "inference", "total")
SECONDS = tuple(5e-5 * 2**i for i in range(20))  # 50 µs … 26 s
BATCH_ITEMS = tuple(2**i for i in range(11))
BATCH_TOKENS = tuple(2**i for i in range(3, 18))


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        # Without this each counter and histogram gets a second series that nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client does not annotate it
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "disco_requests", "Requests answered, by route and HTTP status.", ["route", "status"], registry=registry
        )
        self.in_flight = Gauge("disco_requests_in_flight", "Requests being answered right now.", registry=registry)
        self.stages = Histogram(
            "disco_stage_seconds",
            "Seconds that answered embedding requests spent in each stage; for requests of several texts queue and "
            "inference are means over the texts.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.texts = Counter("disco_texts", "Texts in answered requests.", registry=registry)
        self.tokens = Counter("disco_tokens", "Tokens embedded, padding not included.", registry=registry)
        self.padded_tokens = Counter(
            "disco_padded_tokens",
            "Tokens computed, padding included; disco_tokens_total / disco_padded_tokens_total is the useful share.",
            registry=registry,
        )
        self.batch_items = Histogram("disco_batch_items", "Texts per batch.", buckets=BATCH_ITEMS, registry=registry)
        self.batch_tokens = Histogram(
            "disco_batch_tokens", "Tokens per batch, padding not included.", buckets=BATCH_TOKENS, registry=registry
        )
        self.queue_items = Gauge(
            "disco_queue_items", "Texts waiting, those being tokenised included.", registry=registry
        )
        self.queue_tokens = Gauge("disco_queue_tokens", "Tokens waiting.", registry=registry)
        self.queue_age = Gauge("disco_queue_oldest_seconds", "Age of the oldest waiting text.", registry=registry)
        self.queue_bulk_items = Gauge(
            "disco_queue_bulk_items", "Texts waiting that are in no hurry.", registry=registry
        )
        self.cached = Counter(
            "disco_cache_texts",
            "Texts looked up in the cache of vectors, by result: hit or miss.",
            ["result"],
            registry=registry,
        )
        self.cache_bytes = Gauge("disco_cache_bytes", "Memory that cached vectors take.", registry=registry)
        self.shared = Counter(
            "disco_deduplicated_texts",
            "Texts that shared the work of an identical text in flight.",
            registry=registry,
        )
        self.dropped = Counter(
            "disco_dropped_texts",
            "Texts that left the queue unembedded, by reason: expired (deadline) or abandoned (client gone).",
            ["reason"],
            registry=registry,
        )
        self.refused = Counter(
            "disco_refused_requests",
            "Requests refused with a 429, by the limit that was hit.",
            ["reason"],
            registry=registry,
        )
        self.errors = Counter(
            "disco_errors",
            "Requests answered with an error, by the error_type of the answer.",
            ["type"],
            registry=registry,
        )
        self.workers = Gauge("disco_workers_alive", "Engine workers that can take work.", registry=registry)
        self.restarts = Counter("disco_worker_restarts", "Engine workers restarted after they died.", registry=registry)
        self.ready = Gauge("disco_ready", "1 while /ready answers 200, else 0.", registry=registry)
        self.serving = Info("disco_serving", "What is served, and by which version.", registry=registry)

    def declare(self, *, routes: dict[str, list[int]], error_types: list[str]) -> None:
        """Create the series of every route's documented statuses and of every error type."""
        for route, statuses in routes.items():
            for status in statuses:
                self.requests.labels(route, str(status))
        for error_type in error_types:
            self.errors.labels(error_type)
        for stage in STAGES:
            self.stages.labels(stage)
        for result in ("hit", "miss"):
            self.cached.labels(result)
        for reason in ("expired", "abandoned"):
            self.dropped.labels(reason)
        for reason in ("items", "tokens"):
            self.refused.labels(reason)

    def watch(
        self,
        *,
        depth: Callable[[], Depth],
        cache_bytes: Callable[[], int],
        workers: Callable[[], int],
        ready: Callable[[], bool],
    ) -> None:
        """Read these at every scrape instead of counting along."""
        self.queue_items.set_function(lambda: depth().items)
        self.queue_bulk_items.set_function(lambda: depth().bulk_items)
        self.cache_bytes.set_function(cache_bytes)
        self.queue_tokens.set_function(lambda: depth().tokens)
        self.queue_age.set_function(lambda: depth().oldest_seconds)
        self.workers.set_function(workers)
        self.ready.set_function(ready)

    def batch_done(self, batch: Batch) -> None:
        """A batch was embedded."""
        tokens = batch.tokens
        self.batch_items.observe(len(batch.items))
        self.batch_tokens.observe(tokens)
        self.tokens.inc(tokens)
        self.padded_tokens.inc(batch.cost)

    def request_done(self, timings: Timings, *, texts: int) -> None:
        """A request of `texts` texts was embedded."""
        self.texts.inc(texts)
        for stage in STAGES:
            self.stages.labels(stage).observe(getattr(timings, stage))

    def render(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self.registry)


def document() -> str:
    """docs/metrics.md: every metric with its type, labels and meaning."""
    metrics = Metrics()
    metrics.declare(routes={"": [200]}, error_types=[""])
    families = [family for family in metrics.registry.collect() if not family.name.startswith("process_")]
    return "\n".join([*_HEADER, *map(_row, families), ""])


_HEADER = [
    "# Metrics",
    "",
    "`GET /metrics` answers in Prometheus' text format. All series exist before the first request. This page is made",
    "by `python -m server.metrics > docs/metrics.md`, and a test compares the two. Besides these there are the usual",
    "`process_*` metrics: resident memory, CPU seconds, open files, start time.",
    "",
    "| name | type | labels | meaning |",
    "|---|---|---|---|",
]


def _row(family: Metric) -> str:
    name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    return f"| `{name}` | {family.type} | {', '.join(sorted(labels))} | {family.documentation} |"


if __name__ == "__main__":
    print(document(), end="")
