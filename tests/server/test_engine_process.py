import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bundle.arrays import Ids, flatten
from bundle.errors import NotABundleError, UnsupportedGraphError
from bundle.layout import Bundle
from bundle.runtime import open_encoder
from server.engine_process import EngineSpec, ProcessEncoder
from server.errors import BundleConflictError, EngineDiedError
from tests.conftest import build_tiny_bundle

TEXTS: list[Ids] = [np.arange(4, 4 + length, dtype=np.int32) for length in (1, 7, 3, 12)]


def spec_of(bundle: Bundle) -> EngineSpec:
    return EngineSpec(bundle.path, bundle.manifest.digest, precision=None, runtime=None)


@pytest.fixture
def encoder(tiny_bundle: Bundle) -> Iterator[ProcessEncoder]:
    with ProcessEncoder(spec_of(tiny_bundle)) as encoder:
        yield encoder


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_does_what_the_encoder_does_that_it_runs(encoder: ProcessEncoder, tiny_bundle: Bundle) -> None:
    direct = open_encoder(tiny_bundle)
    assert (encoder.dimension, encoder.description) == (direct.dimension, direct.description)
    assert encoder.encodes_tokens == direct.encodes_tokens
    assert encoder.cost([3, 5, 4]) == direct.cost([3, 5, 4])
    batch = flatten(TEXTS)
    np.testing.assert_array_equal(encoder.encode(*batch), direct.encode(*batch))
    np.testing.assert_array_equal(encoder.encode_tokens(*batch), direct.encode_tokens(*batch))


def test_a_failing_batch_is_an_error_and_the_child_goes_on(encoder: ProcessEncoder) -> None:
    outside = np.array([10**6], dtype=np.int32)
    with pytest.raises(RuntimeError, match="Traceback"):
        encoder.encode(*flatten([outside]))
    assert encoder.encode(*flatten(TEXTS)).shape == (len(TEXTS), encoder.dimension)


def test_a_child_that_is_killed_while_it_has_nothing_to_do_is_replaced(tiny_bundle: Bundle) -> None:
    restarts: list[str] = []
    with ProcessEncoder(spec_of(tiny_bundle), restarted=lambda: restarts.append("once")) as encoder:
        first = encoder.pid
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)  # until it is gone
        assert encoder.encode(*flatten(TEXTS)).shape == (len(TEXTS), encoder.dimension)
        assert encoder.pid != first
    assert restarts == ["once"]


def test_a_crash_in_the_middle_of_a_batch_ends_the_wait(encoder: ProcessEncoder) -> None:
    os.kill(encoder.pid, signal.SIGSTOP)  # the batch is under way for as long as the test likes
    died: list[EngineDiedError] = []

    def embed() -> None:
        try:
            encoder.encode(*flatten(TEXTS))
        except EngineDiedError as error:
            died.append(error)

    waiting = threading.Thread(target=embed)
    waiting.start()
    time.sleep(0.05)
    os.kill(encoder.pid, signal.SIGKILL)
    waiting.join(30)
    assert "SIGKILL" in str(died[0])


def test_a_child_that_hangs_is_killed(tiny_bundle: Bundle) -> None:
    with ProcessEncoder(spec_of(tiny_bundle), longest_batch=0.2) as encoder:
        os.kill(encoder.pid, signal.SIGSTOP)
        with pytest.raises(EngineDiedError, match="did not answer"):
            encoder.encode(*flatten(TEXTS))
    assert not is_running(encoder.pid)


def test_signals_for_the_group_are_left_to_the_parent(encoder: ProcessEncoder) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(encoder.pid, ignored)
    assert encoder.encode(*flatten(TEXTS)).shape == (len(TEXTS), encoder.dimension)


def test_it_ends_with_its_context(tiny_bundle: Bundle) -> None:
    with ProcessEncoder(spec_of(tiny_bundle)) as encoder:
        assert is_running(encoder.pid)
    assert not is_running(encoder.pid)


def test_what_cannot_be_opened_is_the_same_error_as_in_this_process(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(NotABundleError, match="nothing"):
        ProcessEncoder(EngineSpec(tmp_path / "nothing", "", precision=None, runtime=None))
    with pytest.raises(UnsupportedGraphError):
        ProcessEncoder(spec_of(tiny_bundle)._replace(precision="int8"))


def test_another_bundle_in_the_place_of_the_verified_one_is_not_opened(tmp_path: Path) -> None:
    verified = build_tiny_bundle(tmp_path / "first")
    replaced = build_tiny_bundle(tmp_path / "second", scale=-1.0)
    with pytest.raises(BundleConflictError, match="another bundle"):
        ProcessEncoder(spec_of(verified)._replace(bundle=replaced.path))
