"""A teacher in the shadow of the model that is served: it embeds a sample of live texts too, when there is time.

How far both agree goes into histograms, so that a drift of what is asked shows as a drift of quality. Owns the sample;
no text outlives its comparison, and nothing of this changes, delays or fails an answer. Knows no HTTP.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from bundle.arrays import Vectors, normalize
from bundle.errors import DiscoError
from bundle.layout import Bundle
from bundle.quality import spearman
from bundle.text import TextEncoder
from server.batching import BatchLimits
from server.dispatch import Dispatcher, Patience
from server.engine import Engine
from server.engine_process import EngineSpec, ProcessEncoder
from server.metrics import Metrics
from server.queue import BatchQueue, QueueLimits

NAME = "shadow"
"""What the teacher is called in metrics."""

# How much may wait for the teacher; what is sampled beyond that is left out.
LIMITS = QueueLimits(items=64, tokens=16_384)
PATIENCE = 60.0
# Behind everything else on the machine.
NICENESS = 19
# With how many texts before it a text's similarities are ranked; fewer than the least say nothing.
WINDOW, LEAST = 64, 16

Observe = Callable[[Sequence[object], Vectors], None]
"""Takes what was asked and what was answered, float32[texts, dim]; returns at once."""


class Shadow:
    """The teacher, open from `start` to `stop`. To be used from one event loop."""

    def __init__(self, bundle: Bundle, metrics: Metrics, *, share: float, chance: Callable[[], float] = random.random):
        """One text of a `share` of all requests is compared; `chance` draws from [0, 1)."""
        self._share = share
        self._chance = chance
        self._metrics = metrics.shadow
        self._text_encoder = TextEncoder.from_bundle(bundle)
        teacher = metrics.of(NAME)
        queue = BatchQueue(LIMITS, BatchLimits())
        spec = EngineSpec(bundle.path, bundle.manifest.digest, precision=None, runtime=None, niceness=NICENESS)
        probe = self._text_encoder.encode(["a"])[0]
        self._engine = Engine(partial(ProcessEncoder, spec), queue, teacher, workers=1, probe=probe)
        self._dispatcher = Dispatcher(queue, teacher)
        teacher.watch(depth=queue.depth, cache_bytes=lambda: 0, workers=lambda: self._engine.alive)
        self._comparisons: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the teacher.

        Raises:
            DiscoError: it cannot be opened.
        """
        await self._engine.start()

    async def stop(self) -> None:
        """End the teacher; comparisons under way are given up."""
        for comparison in self._comparisons:
            comparison.cancel()
        await asyncio.gather(*self._comparisons, return_exceptions=True)
        await self._engine.stop()

    def watch(self) -> Observe:
        """What one model is to call with every answer; another version of it needs a watch of its own."""
        return partial(self._observe, deque(maxlen=WINDOW))

    def _observe(self, window: "Window", texts: Sequence[object], vectors: Vectors) -> None:
        if self._chance() >= self._share:
            return
        row = int(self._chance() * len(texts))
        text = texts[row]
        if not isinstance(text, str) or len(self._comparisons) >= LIMITS.items:
            self._metrics.skipped.inc()
            return
        comparison = asyncio.ensure_future(self._compare(window, text, vectors[row].copy()))
        self._comparisons.add(comparison)
        comparison.add_done_callback(self._comparisons.discard)

    async def _compare(self, window: "Window", text: str, student: Vectors) -> None:
        try:
            encoded = await asyncio.to_thread(self._text_encoder.encode, [text])
            patience = Patience(time.monotonic() + PATIENCE, "bulk", _stays)
            (teacher,) = (await self._dispatcher.run(encoded, patience, pooled=True)).rows
        except DiscoError:
            self._metrics.skipped.inc()
            return
        if student.shape == teacher.shape:
            self._metrics.cosine.observe(float(np.prod(normalize(np.stack([student, teacher])), axis=0).sum()))
        if len(window) >= LEAST and not np.isnan(agreement := rank_agreement(window, student, teacher)):
            self._metrics.rank.observe(agreement)
        window.append((student, teacher))
        self._metrics.compared.inc()


Window = deque[tuple[Vectors, Vectors]]
"""The last texts' vectors, of student and teacher."""


def rank_agreement(window: Window, student: Vectors, teacher: Vectors) -> float:
    """Whether both find the same texts of `window` similar to this one: Spearman's correlation of their cosines."""
    cosines = []
    for vector, others in zip((student, teacher), zip(*window, strict=True), strict=True):
        rows = normalize(np.stack([vector, *others]))
        cosines.append(rows[1:] @ rows[0])
    return spearman(*cosines)


async def _stays() -> None:
    await asyncio.Event().wait()
