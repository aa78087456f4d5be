"""Everything that clients do, at random: one text or many, every form of answer, and leaving before it comes.

Knows what each answer should be, and counts what became of every request.
"""

import asyncio
import base64
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from bundle.arrays import Vectors, normalize
from bundle.output_types import OutputType, comparable, convert
from loadtest.client import Client, Endpoint, Reply, TransferError

TIMEOUT = 30.0
CHECKED_SHARE = 0.1
LEAST_COSINE = 0.999
LEAST_COSINE_OF_BITS = 0.95
"""A component next to zero may change its sign; each that does costs 2 / dimension."""
LEAVE_WITHIN = 0.02

WRONG = "wrong vectors"
LEFT = "left"
ANSWERED = "answered"
REFUSED = "refused"


@dataclass(frozen=True)
class Kind:
    """Requests of one kind, and how often they come."""

    weight: float
    texts: int
    output_type: OutputType = "float32"
    encoding: str = "float"
    leaves: bool = False


KINDS = (
    Kind(0.40, texts=1),
    Kind(0.10, texts=1, encoding="base64"),
    Kind(0.10, texts=1, output_type="float16"),
    Kind(0.10, texts=4, output_type="int8"),
    Kind(0.08, texts=4, output_type="uint8", encoding="base64"),
    Kind(0.07, texts=8, output_type="binary"),
    Kind(0.05, texts=64),
    Kind(0.07, texts=1, leaves=True),
    Kind(0.03, texts=64, leaves=True),
)


class Traffic:
    """Sends requests of all kinds for `texts`, whose vectors are `references` (float32[texts, dim])."""

    def __init__(self, url: str, texts: Sequence[str], references: Vectors, *, output_range: float, seed: int) -> None:
        self._endpoint = Endpoint.from_url(f"{url}/embed")
        self._client = Client(self._endpoint, connections=256)
        self._texts = texts
        self._references = references
        self._output_range = output_range
        self._random = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.checked = 0

    async def keep_asking(self, seconds: float, *, clients: int) -> float:
        """Let so many clients ask one request after the other; returns how many a second were done."""
        until = time.monotonic() + seconds
        before = self.outcomes.total()

        async def ask() -> None:
            while time.monotonic() < until:
                await self.send_one()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(clients):
                tasks.create_task(ask())
        return (self.outcomes.total() - before) / seconds

    async def pace(self, seconds: float, *, rate: float) -> None:
        """Send `rate` requests a second at random times, and wait for the last answer."""
        due = time.monotonic()
        until = due + seconds
        async with asyncio.TaskGroup() as tasks:
            while (due := due + self._random.expovariate(rate)) < until:
                await asyncio.sleep(due - time.monotonic())
                tasks.create_task(self.send_one())

    async def send_one(self) -> None:
        """Send a request of some kind and count what became of it."""
        kind = self._random.choices(KINDS, [kind.weight for kind in KINDS])[0]
        rows = self._random.sample(range(len(self._texts)), kind.texts)
        body = {
            "inputs": [self._texts[row] for row in rows],
            "output_dtype": kind.output_type,
            "encoding_format": kind.encoding,
        }
        patience = self._random.uniform(0, LEAVE_WITHIN) if kind.leaves else TIMEOUT
        try:
            async with asyncio.timeout(patience):
                reply = await self._client.send(self._endpoint.request(msgspec.json.encode(body)))
        except TimeoutError:
            outcome = LEFT if kind.leaves else "timeout"
        except TransferError as error:
            outcome = str(error)
        else:
            outcome = self._judge(kind, rows, reply)
        self.outcomes[outcome] += 1

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _judge(self, kind: Kind, rows: list[int], reply: Reply) -> str:
        if reply.status != 200:
            return REFUSED if reply.status == 429 else f"HTTP {reply.status}"
        if self._random.random() > CHECKED_SHARE:
            return ANSWERED
        self.checked += 1
        expected = convert(self._references[rows], kind.output_type, output_range=self._output_range)
        received = msgspec.json.decode(reply.body)
        if kind.encoding == "base64":
            received = [np.frombuffer(base64.b64decode(row), expected.dtype) for row in received]
        codes = np.array(received, dtype=expected.dtype)
        return ANSWERED if codes.shape == expected.shape and self._agree(codes, expected, kind) else WRONG

    def _agree(self, codes: Vectors, expected: Vectors, kind: Kind) -> bool:
        dimension = self._references.shape[1]
        ours, theirs = (
            normalize(comparable(array, kind.output_type, dimension=dimension)) for array in (expected, codes)
        )
        least = LEAST_COSINE_OF_BITS if kind.output_type == "binary" else LEAST_COSINE
        return bool((ours * theirs).sum(axis=1).min() >= least)
