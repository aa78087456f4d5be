"""One page of metrics out of those of several processes, at one time and in succession. Knows the rules, not what the
numbers mean for anything.
"""

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


class Succession:
    """What processes have counted that take one place after another: where one ends, no count of the place falls."""

    def __init__(self) -> None:
        self._before: Families = []
        self._latest: Families = []

    def told(self, families: Families) -> Families:
        """The metrics of the place, by those of the process that is there."""
        self._latest = families
        return merge((families, self._before))

    def known(self) -> Families:
        """What the place has counted as far as it was told: while nobody is there, or answers."""
        return merge((_counts(self._latest), self._before))

    def ended(self, *more: Metric) -> None:
        """The process that was there is gone; `more` is counted for the place as well."""
        self._before = merge((self.known(), more))
        self._latest = []


def _counts(families: Families) -> Families:
    return [family for family in families if family.type in ("counter", "histogram")]


def _both(one: Sample, other: Sample) -> Sample:
    return one._replace(value=_rule(one.name)((one.value, other.value)))


def _rule(name: str) -> Callable[[Iterable[float]], float]:
    if name in _LEAST:
        return min
    return max if name in _MOST else sum
