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

from server.jobs import Batch
from server.queue import Depth
from server.timings import Timings

DROPS = ("expired", "abandoned", "failed")
STAGES = ("tokenize", "queue", "inference", "total")
SECONDS = tuple(5e-5 * 2**i for i in range(20))  # 50 µs … 26 s
BATCH_ITEMS = tuple(2**i for i in range(11))
AGREEMENT = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
BATCH_TOKENS = tuple(2**i for i in range(3, 18))

READY, READY_HELP = "disco_ready", "1 while /ready answers 200, else 0."
RESTARTS, RESTARTS_HELP = "disco_front_end_restarts", "Front ends restarted after they died."


class ModelMetrics:
    """The series of one model; a model that takes its place goes on with them."""

    def __init__(self, families: "Metrics", model: str) -> None:
        self.texts = families.texts.labels(model)
        self.tokens = families.tokens.labels(model)
        self.padded_tokens = families.padded_tokens.labels(model)
        self.shared = families.shared.labels(model)
        self.restarts = families.restarts.labels(model)
        self.stages = {stage: families.stages.labels(model, stage) for stage in STAGES}
        self.cached = {result: families.cached.labels(model, result) for result in ("hit", "miss")}
        self.dropped = {reason: families.dropped.labels(model, reason) for reason in DROPS}
        self.refused = {
            reason: families.refused.labels(model, reason) for reason in ("items", "tokens", "seconds", "rate", "bytes")
        }
        self.serving = families.serving.labels(model)
        self._batch_items = families.batch_items.labels(model)
        self._batch_tokens = families.batch_tokens.labels(model)
        self._queue_items = families.queue_items.labels(model)
        self._queue_bulk_items = families.queue_bulk_items.labels(model)
        self._queue_tokens = families.queue_tokens.labels(model)
        self._queue_age = families.queue_age.labels(model)
        self._cache_bytes = families.cache_bytes.labels(model)
        self._workers = families.workers.labels(model)

    def watch(self, *, depth: Callable[[], Depth], cache_bytes: Callable[[], int], workers: Callable[[], int]) -> None:
        """Read these at every scrape instead of counting along."""
        self._queue_items.set_function(lambda: depth().items)
        self._queue_bulk_items.set_function(lambda: depth().bulk_items)
        self._queue_tokens.set_function(lambda: depth().tokens)
        self._queue_age.set_function(lambda: depth().oldest_seconds)
        self._cache_bytes.set_function(cache_bytes)
        self._workers.set_function(workers)

    def batch_done(self, batch: Batch) -> None:
        """A batch was embedded."""
        tokens = batch.tokens
        self._batch_items.observe(len(batch.items))
        self._batch_tokens.observe(tokens)
        self.tokens.inc(tokens)
        self.padded_tokens.inc(batch.cost)

    def request_done(self, timings: Timings, *, texts: int) -> None:
        """A request of `texts` texts was embedded."""
        self.texts.inc(texts)
        for stage, histogram in self.stages.items():
            histogram.observe(getattr(timings, stage))


class ShadowMetrics:
    """How far the served model and the teacher in its shadow agree."""

    def __init__(self, registry: CollectorRegistry) -> None:
        sampled = Counter(
            "disco_shadow_texts",
            "Texts sampled for the teacher in the shadow, by result: compared or skipped (it was busy or failed, or "
            "token ids were sent).",
            ["result"],
            registry=registry,
        )
        self.compared, self.skipped = (sampled.labels(result) for result in ("compared", "skipped"))
        self.cosine = Histogram(
            "disco_shadow_cosine",
            "Cosine of the served model's and the teacher's vector of a text, where both have as many dimensions.",
            buckets=AGREEMENT,
            registry=registry,
        )
        self.rank = Histogram(
            "disco_shadow_rank_correlation",
            "Spearman's correlation of a text's similarities to up to 64 texts before it, between model and teacher.",
            buckets=AGREEMENT,
            registry=registry,
        )


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
            ["model", "stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.texts = Counter("disco_texts", "Texts in answered requests.", ["model"], registry=registry)
        self.tokens = Counter("disco_tokens", "Tokens embedded, padding not included.", ["model"], registry=registry)
        self.padded_tokens = Counter(
            "disco_padded_tokens",
            "Tokens computed, padding included; disco_tokens_total / disco_padded_tokens_total is the useful share.",
            ["model"],
            registry=registry,
        )
        self.batch_items = Histogram(
            "disco_batch_items", "Texts per batch.", ["model"], buckets=BATCH_ITEMS, registry=registry
        )
        self.batch_tokens = Histogram(
            "disco_batch_tokens",
            "Tokens per batch, padding not included.",
            ["model"],
            buckets=BATCH_TOKENS,
            registry=registry,
        )
        self.queue_items = Gauge(
            "disco_queue_items", "Texts waiting, those being tokenised included.", ["model"], registry=registry
        )
        self.queue_tokens = Gauge("disco_queue_tokens", "Tokens waiting.", ["model"], registry=registry)
        self.queue_age = Gauge(
            "disco_queue_oldest_seconds", "Age of the oldest waiting text.", ["model"], registry=registry
        )
        self.queue_bulk_items = Gauge(
            "disco_queue_bulk_items", "Texts waiting that are in no hurry.", ["model"], registry=registry
        )
        self.cached = Counter(
            "disco_cache_texts",
            "Texts looked up in the cache of vectors, by result: hit or miss.",
            ["model", "result"],
            registry=registry,
        )
        self.cache_bytes = Gauge("disco_cache_bytes", "Memory that cached vectors take.", ["model"], registry=registry)
        self.shared = Counter(
            "disco_deduplicated_texts",
            "Texts that shared the work of an identical text in flight.",
            ["model"],
            registry=registry,
        )
        self.dropped = Counter(
            "disco_dropped_texts",
            "Texts that left the queue unembedded, by reason: expired (deadline), abandoned (client gone) or failed "
            "(another text of their request).",
            ["model", "reason"],
            registry=registry,
        )
        self.refused = Counter(
            "disco_refused_requests",
            "Requests refused with a 429, by the limit that was hit.",
            ["model", "reason"],
            registry=registry,
        )
        self.errors = Counter(
            "disco_errors",
            "Requests answered with an error, by the error_type of the answer.",
            ["type"],
            registry=registry,
        )
        self.workers = Gauge("disco_workers_alive", "Engine workers that can take work.", ["model"], registry=registry)
        self.restarts = Counter(
            "disco_worker_restarts", "Engine workers restarted after they died.", ["model"], registry=registry
        )
        front_ends = Gauge("disco_front_ends_alive", "Processes that answer HTTP.", registry=registry)
        front_ends.set(1)  # this one: those of all are added up
        # One that dies is counted by whoever keeps it alive.
        Counter(RESTARTS, RESTARTS_HELP, registry=registry)
        self.shadow = ShadowMetrics(registry)
        self.ready = Gauge(READY, READY_HELP, registry=registry)
        self.serving = Info("disco_serving", "What is served, and by which version.", ["model"], registry=registry)

    def declare(self, *, routes: dict[str, list[int]], error_types: list[str]) -> None:
        """Create the series of every route's documented statuses and of every error type."""
        for route, statuses in routes.items():
            for status in statuses:
                self.requests.labels(route, str(status))
        for error_type in error_types:
            self.errors.labels(error_type)

    def of(self, model: str) -> ModelMetrics:
        """The series of a model, which exist from now on."""
        return ModelMetrics(self, model)


def document() -> str:
    """docs/metrics.md: every metric with its type, labels and meaning."""
    metrics = Metrics()
    metrics.declare(routes={"": [200]}, error_types=[""])
    metrics.of("")
    families = [family for family in metrics.registry.collect() if not family.name.startswith("process_")]
    return "\n".join([*_HEADER, *map(_row, families), ""])


_HEADER = [
    "# Metrics",
    "",
    "`GET /metrics` answers in Prometheus' text format. All series exist before the first request. This page is made",
    "by `python -m server.metrics > docs/metrics.md`, and a test compares the two. Besides these there are the usual",
    "`process_*` metrics: resident memory, CPU seconds, open files, start time. They tell of the process that answers",
    "HTTP; what the engines take, each in a process of its own, is the operating system's to tell.",
    "",
    "With `--front-ends` every scrape answers for all of them: numbers are added up, `disco_ready` is the least,",
    "`disco_queue_oldest_seconds` the most of any. What a front end that died had counted stays, but for its last",
    "seconds.",
    "",
    "Labels: `stage` is tokenize, queue, inference or total; the `reason` of a refusal items, tokens, seconds, rate or",
    "bytes, that of a drop expired, abandoned or failed; `model` is the name it is served by. With `--shadow-bundle`",
    "the teacher's work is counted under the model `shadow`: leave it out of sums over models.",
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
