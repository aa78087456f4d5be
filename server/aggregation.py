"""One page of metrics out of those of several processes. Knows the rules, not what the numbers mean for anything."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.samples import Sample

Families = Sequence[Metric]
"""What one process' registry collects."""

# Everything else is a number of things, and added up.
_LEAST = {"disco_ready", "process_start_time_seconds"}
_MOST = {"disco_queue_oldest_seconds", "disco_serving_info", "process_max_fds"}


class _Collected:
    """What `generate_latest` takes for a registry."""

    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Families:
        return self._families


def render(processes: Sequence[Families]) -> bytes:
    """All families of all processes, each once, in Prometheus' text format."""
    families = processes[0] if len(processes) == 1 else merge(processes)
    return generate_latest(_Collected(families))


def merge(processes: Iterable[Families]) -> list[Metric]:
    """The same families with the samples of all processes: those of one name and labels have become one."""
    merged: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], Sample]] = {}
    for families in processes:
        for family in families:
            if family.name not in merged:
                merged[family.name] = Metric(family.name, family.documentation, family.type)
            samples = values.setdefault(family.name, {})
            for sample in family.samples:
                series = sample.name, frozenset(sample.labels.items())
                before = samples.get(series)
                samples[series] = sample if before is None else _both(before, sample)
    for name, family in merged.items():
        family.samples = list(values[name].values())
    return list(merged.values())


def _both(one: Sample, other: Sample) -> Sample:
    return one._replace(value=_rule(one.name)((one.value, other.value)))


def _rule(name: str) -> Callable[[Iterable[float]], float]:
    if name in _LEAST:
        return min
    return max if name in _MOST else sum
