"""Loading torch models from a folder without the libraries' chatter, and what may go wrong then."""

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

# What transformers and sentence-transformers raise for missing, truncated or ill-fitting weights.
LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers' notes about unused heads off the terminal; real gaps are checked by `export.graph`."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def first_line(error: BaseException) -> str:
    """The first line of what `error` says, or its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
