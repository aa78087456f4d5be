"""Where a request's time went, and how that is told in headers. Measures nothing itself."""

from typing import NamedTuple


class Timings(NamedTuple):
    """Seconds per stage of one request."""

    tokenize: float
    queue: float
    inference: float
    total: float


def headers(timings: Timings, *, characters: int, tokens: int, compute_type: str) -> dict[str, str]:
    """The headers of Text Embeddings Inference (whole milliseconds), and `Server-Timing` with decimals."""
    milliseconds = {stage: seconds * 1000 for stage, seconds in timings._asdict().items()}
    compute = milliseconds["total"]
    return {
        "x-compute-type": compute_type,
        "x-compute-time": str(int(compute)),
        "x-compute-characters": str(characters),
        "x-compute-tokens": str(tokens),
        "x-total-time": str(int(milliseconds["total"])),
        "x-tokenization-time": str(int(milliseconds["tokenize"])),
        "x-queue-time": str(int(milliseconds["queue"])),
        "x-inference-time": str(int(milliseconds["inference"])),
        "server-timing": ", ".join(f"{stage};dur={value:.3f}" for stage, value in milliseconds.items()),
    }
