"""An encoder whose answers are known and whose moods the tests control, and an application around the tiny bundle."""

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from bundle.arrays import Ids, Offsets, Vectors
from bundle.layout import Bundle
from server.app import create_app
from server.settings import ServerSettings

POISON = 666
"""A batch with this token fails; the encoder goes on."""
LETHAL = 667
"""A batch with this token breaks the encoder for good."""


class Mood:
    """How the fake encoders of one test behave, and what they have seen."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        """While it is not set, `encode` waits."""
        self.gate.set()
        self.entered = threading.Event()
        """Set when an `encode` begins."""
        self.batches: list[list[list[int]]] = []
        self.poison = POISON
        self.nan = False
        """Whether nothing but NaN comes out."""


class FakeEncoder:
    """Embeds a text as [sum of its ids, number of ids]."""

    dimension = 2
    description = "fake"

    def __init__(self, mood: Mood) -> None:
        self._mood = mood
        self._broken = False

    def cost(self, lengths: Sequence[int]) -> int:
        return len(lengths) * max(lengths, default=0)

    encodes_tokens = True

    def encode_tokens(self, ids: Ids, offsets: Offsets) -> Vectors:
        """Embeds a token as [its id, the number of ids in its text]."""
        lengths = np.repeat(np.diff(offsets), np.diff(offsets))
        self.encode(ids, offsets)
        return np.stack([ids, lengths], axis=1).astype(np.float32)

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        self._mood.entered.set()
        self._mood.gate.wait()
        texts = [ids[start:end].tolist() for start, end in pairwise(offsets)]
        self._mood.batches.append(texts)
        self._broken = self._broken or LETHAL in ids
        if self._broken or self._mood.poison in ids:
            raise RuntimeError("the fake encoder was asked to fail")
        if self._mood.nan:
            return np.full((len(texts), self.dimension), np.nan, dtype=np.float32)
        return np.array([[sum(text), len(text)] for text in texts], dtype=np.float32)


@pytest.fixture(scope="session")
def settings(tiny_bundle: Bundle) -> ServerSettings:
    return ServerSettings(
        bundle=[str(tiny_bundle.path)],
        workers=2,
        isolate_engines=False,
        max_client_batch_size=64,
        payload_limit=200_000,
    )


@pytest.fixture(scope="session")
def client(settings: ServerSettings) -> Iterator[TestClient[Litestar]]:
    with TestClient(create_app(settings)) as client:
        yield client
