"""How urgent a request is, as its body or its headers say. Knows neither routes nor the queue that obeys."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from server.errors import InvalidRequestError
from server.jobs import LANES, Lane


@dataclass(frozen=True, slots=True)
class Urgency:
    """How long a client waits, and whether it is in a hurry."""

    timeout: float | None = None
    """In seconds; None, or more than the server's own: that one."""
    lane: Lane | None = None
    """None: by the number of texts."""


def urgency_of(headers: Mapping[str, str], timeout_ms: float | None, priority: Lane | None) -> Urgency:
    """What the body's fields say, or else the headers `X-Request-Timeout-Ms` and `X-Request-Priority`.

    Raises:
        InvalidRequestError: a header's value is none of those that are possible, whether it counts or not.
    """
    header_timeout_ms = _timeout_ms(headers.get("x-request-timeout-ms"))
    header_priority = _priority(headers.get("x-request-priority"))
    if timeout_ms is None:
        timeout_ms = header_timeout_ms
    return Urgency(timeout_ms / 1000 if timeout_ms is not None else None, priority or header_priority)


def _priority(header: str | None) -> Lane | None:
    if header is None:
        return None
    for lane in LANES:
        if lane == header.lower():
            return lane
    raise InvalidRequestError(f"`X-Request-Priority` is one of {', '.join(LANES)}. Given: {header[:64]!r}")


def _timeout_ms(header: str | None) -> float | None:
    if header is None:
        return None
    try:
        number = float(header)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise InvalidRequestError(f"`X-Request-Timeout-Ms` should be positive. Given: {header[:64]!r}")
    return number
