"""Whether a system computes what it should: the vectors in its answers against a reference. Knows no HTTP."""

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.peers.errors import AbsentError
from loadtest.routes import RouteName

Vectors = NDArray[np.float32]


def read_vectors(route: RouteName, body: bytes) -> Vectors:
    """float32[texts, dimension] of an answer.

    Raises:
        AbsentError: the body is not what the route promises.
    """
    try:
        document = json.loads(body)
        rows = [_read_openai(item["embedding"]) for item in document["data"]] if route == "openai" else document
        vectors = np.array(rows, dtype=np.float32)
    except (ValueError, TypeError, LookupError) as error:
        raise AbsentError(f"the answer is not one of the route {route}: {type(error).__name__}") from error
    if vectors.ndim != 2:
        raise AbsentError(f"the answer is not one vector a text, but has the shape {vectors.shape}")
    return vectors


def check(vectors: Vectors, reference: Vectors, *, least_cosine: float) -> float:
    """The lowest cosine between vectors of the same text.

    Raises:
        AbsentError: it is below `least_cosine`, or the shapes differ.
    """
    if vectors.shape != reference.shape:
        raise AbsentError(f"its vectors have the shape {vectors.shape}, the reference has {reference.shape}")
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    lowest = float(((vectors * reference).sum(axis=1) / lengths).min())
    if not lowest >= least_cosine:  # also where it is not a number
        raise AbsentError(f"computes something else: cosine {lowest:.4f} with the reference, not {least_cosine:g}")
    return lowest


def _read_openai(embedding: Any) -> Any:
    # Servers may answer numbers although base64 was asked for.
    return np.frombuffer(base64.b64decode(embedding), "<f4") if isinstance(embedding, str) else embedding
