"""Keeps one front end alive: starts it, replaces it when it dies or hangs, ends it. Knows no other one."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from bundle.errors import DiscoError
from server.aggregation import Succession
from server.backoff import LONGEST_BACKOFF, Backoff
from server.errors import BundleConflictError, DisconnectedError
from server.front_end_process import FrontEndProcess, Start
from server.messages import Handle
from server.metrics import READY, READY_HELP, RESTARTS, RESTARTS_HELP
from server.settings import ServerSettings
from server.siblings import Question, Versions

logger = logging.getLogger(__name__)

LOOK = 5.0
"""Seconds between looks whether a front end still answers."""
LONGEST_SILENCE = 10.0
"""Seconds that it has for its answer."""
MOST_MISSES = 3
"""One that has owed so many answers in succession has hung; a single one may be owed because all were suspended."""


class Keeper:
    """One front end, replaced when it dies."""

    def __init__(self, number: int, settings: ServerSettings, handle: Handle, served: Callable[[], Versions]) -> None:
        """`handle` answers what it asks of all front ends; `served` tells what those that are there serve."""
        self.name = f"front end {number}"
        self.turn = -1
        self._settings = settings
        self._handle = handle
        self._served = served
        self._front_end: FrontEndProcess | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._counted = Succession()
        self._missed = 0
        self._backoff = Backoff()
        self._closing = asyncio.Event()

    async def open(self) -> None:
        """Start the front end.

        Raises:
            DiscoError: it cannot serve; whatever else keeps it from starting is raised as it is.
        """
        self._opened = asyncio.get_running_loop().create_future()
        self._keeping = asyncio.create_task(self._keep())
        await self._opened

    async def close(self) -> None:
        """Let it finish what it has, then end it."""
        self._closing.set()
        if self._keeping is not None:
            if self._front_end is None:
                self._keeping.cancel()
            await asyncio.wait((self._keeping,))

    @property
    def held(self) -> int:
        """The connections that it has."""
        return self._front_end.held if self._front_end else 0

    @property
    def versions(self) -> Versions:
        """What it serves; nothing while it is not there."""
        return self._front_end.versions if self._front_end else {}

    @property
    def silent(self) -> bool:
        """Whether it did not answer when it was looked at last."""
        return self._missed > 0

    def give(self, connection: socket.socket) -> bool:
        """Hand a connection over, if it is there and takes one."""
        return self._front_end is not None and self._front_end.give(connection)

    async def ask(self, question: Question) -> Any:
        """Its answer, or the DiscoError for which there is none; of metrics then what it is known to have counted."""
        front_end = self._front_end
        try:
            if front_end is None:
                raise DisconnectedError(f"{self.name} is being restarted")
            answer = await front_end.ask(question)
        except DiscoError as error:
            return self._known() if question == "metrics" else error
        if question == "metrics":
            return self._counted.told(answer) if front_end is self._front_end else self._known()
        if question == "reload":
            front_end.versions = answer.bundle_versions
        return answer

    def kill(self) -> None:
        """End it at once, for good."""
        self._closing.set()
        if self._front_end is not None:
            self._front_end.kill()

    def _known(self) -> list[Metric]:
        """The metrics of a front end that is not there, or silent."""
        return [*self._counted.known(), GaugeMetricFamily(READY, READY_HELP, value=0)]

    async def _keep(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                await self._serve_with_one()
            except Exception as error:  # whatever it was, it is tried again
                if not self._opened.done():
                    self._opened.set_exception(error)
                    return
                if isinstance(error, DiscoError):
                    logger.error("%s cannot be restarted: %s", self.name, error)
                else:
                    logger.exception("%s cannot be restarted", self.name)
            finally:
                self._front_end = None
            if time.monotonic() - began > LONGEST_BACKOFF:
                self._backoff.start_over()
            await self._backoff.wait(self._closing)

    async def _serve_with_one(self) -> None:
        """Keep one front end until it dies, or is to end.

        Raises:
            DiscoError: it cannot be started.
        """
        async with FrontEndProcess(Start(self._settings, self._served()), self._handle) as front_end:
            if self._served() not in ({}, front_end.versions):
                raise BundleConflictError("a bundle was replaced while it was being opened")
            self._front_end = front_end
            if not self._opened.done():
                self._opened.set_result(None)
            ended, closing = asyncio.create_task(front_end.ended()), asyncio.create_task(self._closing.wait())
            watching = asyncio.create_task(self._watch(front_end))
            await asyncio.wait((ended, closing), return_when=asyncio.FIRST_COMPLETED)
            closing.cancel()
            watching.cancel()
            if not ended.done():
                ended.cancel()
                return
            logger.error("%s has ended (%s) and will be restarted", self.name, ended.result())
            self._front_end = None  # no answer that is still on its way counts any more
            self._counted.ended(CounterMetricFamily(RESTARTS, RESTARTS_HELP, value=1))

    async def _watch(self, front_end: FrontEndProcess) -> None:
        """Kill it if it hangs; learn what it has counted, lest that is lost with it."""
        self._missed = 0
        while self._missed < MOST_MISSES:
            await asyncio.sleep(LOOK)
            try:
                self._counted.told(await front_end.ask("metrics", patience=LONGEST_SILENCE))
                self._missed = 0
            except DisconnectedError:
                self._missed += 1
            except DiscoError:
                self._missed = 0  # not what was asked for, but an answer
        logger.error("%s does not answer and is killed", self.name)
        front_end.kill()
