"""Half an hour of everything at once: nothing wrong, nothing lost, no memory that keeps growing.

DISCO_SOAK_MINUTES=1 makes it a short trial, whose memory tells little; DISCO_SOAK_FRONT_ENDS=2 shares the work out.
"""

import asyncio
import os
import shutil
import signal
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from bundle.atomic import staged_directory
from bundle.embedder import Embedder
from bundle.layout import QUALITY, Bundle, open_bundle, seal_directory
from loadtest.corpus import generate_texts
from loadtest.peers.usage import tree
from tests.acceptance.conftest import Record
from tests.acceptance.machine import resident_kibibytes
from tests.acceptance.traffic import ANSWERED, LEFT, REFUSED, Traffic
from tests.e2e.conftest import SHIPPED, RunningServer, serve

MINUTES = float(os.environ.get("DISCO_SOAK_MINUTES", "30"))
FRONT_ENDS = int(os.environ.get("DISCO_SOAK_FRONT_ENDS", "1"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 * MINUTES + 600)]

LOAD = 0.8
CLIENTS = 16
CAPACITY_SECONDS = 10.0
SWAP_EVERY = 15.0
SWAP_WITHIN = 60.0
TEXTS = 4000
WARMUP_SHARE = 0.25
MOST_GROWTH = 0.05


def test_half_an_hour_of_everything(tmp_path: Path, record: Record) -> None:
    bundle = open_bundle(Path(shutil.copytree(SHIPPED, tmp_path / "bundle")))
    texts = generate_texts(TEXTS, seed=0)
    references = Embedder.from_bundle(bundle).embed(texts)
    options = ("--cache-bytes", "0", "--front-ends", str(FRONT_ENDS))
    with serve(bundle.path, tmp_path / "log", *options) as server:
        output_range = bundle.manifest.output_range
        assert output_range is not None
        traffic = Traffic(server.url, texts, references, output_range=output_range, seed=0)
        capacity, swaps, memory = asyncio.run(soak(server, bundle, traffic))
    settled = memory[int(len(memory) * WARMUP_SHARE) :]
    part = len(settled) // 4  # more than a swap, which has two bundles open, takes
    growth = float(np.median(settled[-part:]) / np.median(settled[:part])) - 1
    record(
        "soak" if FRONT_ENDS == 1 else f"soak-{FRONT_ENDS}-front-ends",
        {
            "minutes": MINUTES,
            "front_ends": FRONT_ENDS,
            "capacity_requests_per_second": round(capacity, 1),
            "outcomes": dict(traffic.outcomes),
            "checked": traffic.checked,
            "swaps": swaps,
            "memory_growth": round(growth, 4),
            "memory_mebibytes": [round(value / 1024, 1) for value in memory[:: max(len(memory) // 30, 1)]],
        },
    )
    assert set(traffic.outcomes) <= {ANSWERED, REFUSED, LEFT}
    assert traffic.outcomes[ANSWERED] > 0
    assert traffic.outcomes[LEFT] > 0
    assert traffic.checked > 0
    assert swaps > 0
    assert growth <= MOST_GROWTH


async def soak(server: RunningServer, bundle: Bundle, traffic: Traffic) -> tuple[float, int, list[int]]:
    """Returns the capacity in requests per second, how often the bundle was swapped, and the memory every second."""
    capacity = await traffic.keep_asking(CAPACITY_SECONDS, clients=CLIENTS)
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        swapping = tasks.create_task(swap_until(done, server, bundle))
        watching = tasks.create_task(watch_until(done, server))
        await traffic.pace(60 * MINUTES, rate=LOAD * capacity)
        done.set()
    await traffic.close()
    return capacity, swapping.result(), watching.result()


async def swap_until(done: asyncio.Event, server: RunningServer, bundle: Bundle) -> int:
    """Now and then put another version with the same vectors in the bundle's place; returns how often."""
    for number in count():
        if await happens(done, within=SWAP_EVERY):
            return number
        version = await asyncio.to_thread(replace_bundle, bundle, number)
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + SWAP_WITHIN
        while (await asyncio.to_thread(server.json, "/info"))["bundle_version"] != version:
            assert time.monotonic() < deadline, "the new bundle is not served"
            await asyncio.sleep(0.1)
    raise AssertionError("count() never ends")


def replace_bundle(bundle: Bundle, number: int) -> str:
    """Write a version of `bundle` that differs in its quality file; returns what identifies it."""
    with staged_directory(bundle.path) as staged:
        shutil.copytree(bundle.path, staged, dirs_exist_ok=True)
        (staged / QUALITY).write_text(f'{{"version": {number}}}\n')
        return seal_directory(staged, bundle.manifest).version


async def watch_until(done: asyncio.Event, server: RunningServer) -> list[int]:
    """The memory of the server's processes in KiB, every second."""
    memory = []
    while not await happens(done, within=1.0):
        memory.append(sum(map(resident_kibibytes, tree(server.process.pid))))
    return memory


async def happens(event: asyncio.Event, *, within: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), within)
    except TimeoutError:
        return False
    return True
