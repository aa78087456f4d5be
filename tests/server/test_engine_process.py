import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from bundle.arrays import Ids, Vectors, flatten
from bundle.errors import NotABundleError, UnsupportedGraphError
from bundle.layout import Bundle
from bundle.runtime import open_encoder
from server.engine_process import EngineSpec, ProcessEncoder
from server.errors import BundleConflictError, EngineDiedError
from tests.conftest import build_tiny_bundle

TEXTS: list[Ids] = [np.arange(4, 4 + length, dtype=np.int32) for length in (1, 7, 3, 12)]

Scenario = Callable[[ProcessEncoder], Awaitable[None]]


def spec_of(bundle: Bundle) -> EngineSpec:
    return EngineSpec(bundle.path, bundle.manifest.digest, precision=None, runtime=None)


def run(encoder: ProcessEncoder, scenario: Scenario) -> None:
    async def main() -> None:
        async with encoder:
            await scenario(encoder)

    asyncio.run(asyncio.wait_for(main(), 60))


async def embed(encoder: ProcessEncoder) -> Vectors:
    return await encoder.encode(*flatten(TEXTS), pooled=True)


async def nothing(_: ProcessEncoder) -> None: ...


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_does_what_the_encoder_does_that_it_runs(tiny_bundle: Bundle) -> None:
    direct = open_encoder(tiny_bundle)

    async def scenario(encoder: ProcessEncoder) -> None:
        assert (encoder.dimension, encoder.description) == (direct.dimension, direct.description)
        assert encoder.encodes_tokens == direct.encodes_tokens
        assert encoder.cost([3, 5, 4]) == direct.cost([3, 5, 4])
        batch = flatten(TEXTS)
        np.testing.assert_array_equal(await encoder.encode(*batch, pooled=True), direct.encode(*batch))
        np.testing.assert_array_equal(await encoder.encode(*batch, pooled=False), direct.encode_tokens(*batch))

    run(ProcessEncoder(spec_of(tiny_bundle)), scenario)


def test_a_large_batch_travels_whole(tiny_bundle: Bundle) -> None:
    batch = flatten([np.full(50, 4 + number % 20, dtype=np.int32) for number in range(5_000)])

    async def scenario(encoder: ProcessEncoder) -> None:
        vectors = await encoder.encode(*batch, pooled=False)
        np.testing.assert_array_equal(vectors, open_encoder(tiny_bundle).encode_tokens(*batch))

    run(ProcessEncoder(spec_of(tiny_bundle)), scenario)


def test_a_failing_batch_is_an_error_and_the_child_goes_on(tiny_bundle: Bundle) -> None:
    async def scenario(encoder: ProcessEncoder) -> None:
        with pytest.raises(RuntimeError, match="Traceback"):
            await encoder.encode(*flatten([np.array([10**6], dtype=np.int32)]), pooled=True)
        assert len(await embed(encoder)) == len(TEXTS)

    run(ProcessEncoder(spec_of(tiny_bundle)), scenario)


def test_a_death_with_nothing_to_do_is_told_too(tiny_bundle: Bundle) -> None:
    async def scenario(encoder: ProcessEncoder) -> None:
        waiting = asyncio.ensure_future(encoder.ended())
        assert len(await embed(encoder)) == len(TEXTS)
        assert not waiting.done()
        os.kill(encoder.pid, signal.SIGKILL)
        assert "SIGKILL" in str(await waiting)
        with pytest.raises(EngineDiedError, match="SIGKILL"):
            await embed(encoder)

    run(ProcessEncoder(spec_of(tiny_bundle)), scenario)


def test_a_crash_in_the_middle_of_a_batch_ends_the_wait(tiny_bundle: Bundle) -> None:
    async def scenario(encoder: ProcessEncoder) -> None:
        os.kill(encoder.pid, signal.SIGSTOP)  # the batch is under way for as long as the test likes
        waiting = asyncio.ensure_future(embed(encoder))
        await asyncio.sleep(0.05)
        os.kill(encoder.pid, signal.SIGKILL)
        with pytest.raises(EngineDiedError, match="SIGKILL"):
            await waiting

    run(ProcessEncoder(spec_of(tiny_bundle)), scenario)


def test_a_child_that_hangs_is_killed(tiny_bundle: Bundle) -> None:
    async def scenario(encoder: ProcessEncoder) -> None:
        os.kill(encoder.pid, signal.SIGSTOP)
        with pytest.raises(EngineDiedError, match="did not answer"):
            await embed(encoder)

    encoder = ProcessEncoder(spec_of(tiny_bundle), longest_batch=0.2)
    run(encoder, scenario)
    assert not is_running(encoder.pid)


def test_signals_for_the_group_are_left_to_the_parent(tiny_bundle: Bundle) -> None:
    async def scenario(encoder: ProcessEncoder) -> None:
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(encoder.pid, ignored)
        assert len(await embed(encoder)) == len(TEXTS)

    run(ProcessEncoder(spec_of(tiny_bundle)), scenario)


def test_it_ends_with_its_context(tiny_bundle: Bundle) -> None:
    encoder = ProcessEncoder(spec_of(tiny_bundle))
    run(encoder, nothing)
    assert not is_running(encoder.pid)


def test_what_cannot_be_opened_is_the_same_error_as_in_this_process(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(NotABundleError, match="nothing"):
        run(ProcessEncoder(EngineSpec(tmp_path / "nothing", "", precision=None, runtime=None)), nothing)
    with pytest.raises(UnsupportedGraphError):
        run(ProcessEncoder(spec_of(tiny_bundle)._replace(precision="int8")), nothing)


def test_another_bundle_in_the_place_of_the_verified_one_is_not_opened(tmp_path: Path) -> None:
    verified = build_tiny_bundle(tmp_path / "first")
    replaced = build_tiny_bundle(tmp_path / "second", scale=-1.0)
    with pytest.raises(BundleConflictError, match="another bundle"):
        run(ProcessEncoder(spec_of(verified)._replace(bundle=replaced.path)), nothing)
