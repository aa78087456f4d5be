"""What operators ask of a server: all of its front ends together answer, whichever of them is reached.

Knows no HTTP, and not how the others are reached.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from bundle.errors import DiscoError
from server.aggregation import render
from server.metrics import Metrics
from server.runtime import Runtime
from server.schemas import Reloaded

Question = Literal["health", "metrics", "reload", "drain"]
Versions = dict[str, str]
"""The bundle version that is served under each model's name."""
Ask = Callable[[Question], Awaitable[list[Any]]]
"""Asks every front end; in the place of an answer stands the DiscoError for which there is none."""


class Health(NamedTuple):
    """How one front end does."""

    healthy: bool
    """Every worker of every model can take work."""
    ready: bool
    """New requests are welcome."""


class FrontEnd:
    """What a front end knows of itself."""

    def __init__(self, runtime: Runtime, metrics: Metrics) -> None:
        self._runtime = runtime
        self._metrics = metrics

    @property
    def versions(self) -> Versions:
        """What it serves."""
        return {model.name: model.info.bundle_version for model in self._runtime.models}

    async def answer(self, question: Question) -> object:
        """What is asked: a Health, the families of all metrics, or a Reloaded.

        Raises:
            DiscoError: a changed bundle cannot be served; the one before goes on.
        """
        runtime = self._runtime
        match question:
            case "health":
                return Health(runtime.healthy, runtime.ready)
            case "metrics":
                return list(self._metrics.registry.collect())
            case "reload":
                return Reloaded(await runtime.reload(), self.versions)
            case "drain":
                runtime.draining = True
                return Health(runtime.healthy, runtime.ready)

    async def ask_alone(self, question: Question) -> list[Any]:
        """`Ask` where there is no other front end."""
        try:
            return [await self.answer(question)]
        except DiscoError as error:
            return [error]


class Siblings:
    """All front ends of a server."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def healthy(self) -> bool:
        """Whether every front end is there, and every worker of every model can take work."""
        answers = await self._ask("health")
        return all(isinstance(answer, Health) and answer.healthy for answer in answers)

    async def ready(self) -> bool:
        """Whether new requests are welcome."""
        answers = await self._ask("health")
        return all(isinstance(answer, Health) and answer.ready for answer in answers)

    async def metrics(self) -> bytes:
        """The metrics of all of them that answer, in Prometheus' text format."""
        answers = await self._ask("metrics")
        return render([answer for answer in answers if not isinstance(answer, DiscoError)])

    async def reload(self) -> Reloaded:
        """Replace every model whose bundle has changed on disk, in every front end.

        Raises:
            DiscoError: one of them could not, and goes on with what it has.
        """
        answers = await self._ask("reload")
        for answer in answers:
            if isinstance(answer, DiscoError):
                raise answer
        replaced = {name: None for answer in answers for name in answer.replaced}
        return Reloaded(list(replaced), answers[0].bundle_versions)
