"""One served model: bundle, queue, workers and service, opened together and closed together. Knows no HTTP."""

import asyncio
import datetime as dt
import logging
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from bundle.choice import choose
from bundle.cpu import detect_cpu
from bundle.layout import Bundle
from bundle.runtime import open_encoder
from bundle.text import TextEncoder
from server.batching import BatchLimits
from server.cache import VectorCache
from server.engine import Engine
from server.engine_process import EngineSpec, ProcessEncoder
from server.engine_thread import ThreadEncoder
from server.metrics import Metrics, ModelMetrics
from server.outputs import Outputs
from server.queue import BatchQueue, QueueLimits
from server.reading import Reader
from server.schemas import Info, ModelType, PoolingInfo
from server.service import EmbeddingService
from server.settings import ServerSettings
from server.shadow import Observe
from server.worker import AsyncEncoder

logger = logging.getLogger(__name__)

IDLE_LOOK = 0.02
"""Seconds between looks at whether a model's last request has been answered."""


@dataclass(frozen=True)
class Model:
    """A model whose workers run, until `close`."""

    name: str
    bundle: Bundle
    service: EmbeddingService
    outputs: Outputs
    engine: Engine
    queue: BatchQueue
    cache: VectorCache
    metrics: ModelMetrics
    info: Info

    @property
    def created(self) -> dt.datetime:
        """When the bundle was exported."""
        return dt.datetime.fromisoformat(self.bundle.manifest.provenance.created)

    @property
    def compute_type(self) -> str:
        """Which kind of device computes, for the header of that name."""
        return "gpu+optimized" if "CUDA" in self.info.engine else "cpu+optimized"

    def announce(self) -> None:
        """Let metrics and log tell that from now on this is what is served under its name."""
        self.metrics.watch(
            depth=self.queue.depth, cache_bytes=lambda: self.cache.bytes, workers=lambda: self.engine.alive
        )
        self.metrics.serving.info(
            {
                "version": self.info.version,
                "bundle_version": self.info.bundle_version,
                "precision": self.info.model_dtype,
                "engine": self.info.engine,
            }
        )
        logger.info(
            "serving %s, bundle %s, with %d workers of %s: %s, %s",
            self.name,
            self.info.bundle_version,
            self.engine.alive,
            self.info.engine,
            self.info.graph,
            self.info.choice,
        )

    async def retire(self) -> None:
        """Let the requests that it has be answered, then close it. None may come any more."""
        while self.service.busy:
            await asyncio.sleep(IDLE_LOOK)
        await self.close()

    async def close(self) -> None:
        """End its workers; what still waits fails."""
        await self.engine.stop()
        self.service.close()


async def open_model(
    name: str | None,
    bundle: Bundle,
    settings: ServerSettings,
    metrics: Metrics,
    *,
    observe: Observe | None = None,
) -> Model:
    """Start and warm up the workers of `bundle`; without a `name` the model has the bundle's own.

    `observe` is called with the texts and vectors of every answer.

    Raises:
        BundleError: the bundle has no graph that fits.
    """
    manifest = bundle.manifest
    name = name or settings.served_model_name or manifest.name
    own_metrics = metrics.of(name)
    text_encoder = TextEncoder.from_bundle(bundle)
    queue = BatchQueue(
        QueueLimits(
            items=settings.share_of(settings.max_queue_items),
            tokens=settings.share_of(settings.max_queue_tokens),
            seconds=settings.max_queue_seconds,
        ),
        BatchLimits(
            tokens=settings.max_batch_tokens,
            items=settings.max_batch_items,
            look_ahead=settings.look_ahead,
            bulk_tokens=settings.max_bulk_batch_tokens,
        ),
    )
    engine = Engine(
        partial(_open_encoder, bundle, settings),
        queue,
        own_metrics,
        workers=settings.share_of(settings.workers),
        probe=text_encoder.encode(["a"])[0],
    )
    cache = VectorCache(settings.share_of(settings.cache_bytes))
    service = EmbeddingService(
        Reader(
            text_encoder, auto_truncate=settings.auto_truncate, threads=settings.share_of(settings.tokenizer_threads)
        ),
        queue,
        cache,
        own_metrics,
        dimension=manifest.dimension,
        max_texts=settings.max_client_batch_size,
        bulk_texts=settings.bulk_texts,
        timeout=settings.request_timeout,
        observe=observe,
    )
    try:
        await engine.start()
    except BaseException:
        service.close()
        raise
    return Model(
        name=name,
        bundle=bundle,
        service=service,
        outputs=Outputs(
            dimension=manifest.dimension, normalized=manifest.normalized, output_range=manifest.output_range
        ),
        engine=engine,
        queue=queue,
        cache=cache,
        metrics=own_metrics,
        info=_info(name, settings, bundle, engine, text_encoder),
    )


def _open_encoder(bundle: Bundle, settings: ServerSettings) -> AbstractAsyncContextManager[AsyncEncoder]:
    if settings.isolate_engines:
        return ProcessEncoder(
            EngineSpec(bundle.path, bundle.manifest.digest, precision=settings.precision, runtime=settings.runtime)
        )
    return ThreadEncoder(partial(open_encoder, bundle, precision=settings.precision, runtime=settings.runtime))


def _info(name: str, settings: ServerSettings, bundle: Bundle, engine: Engine, text_encoder: TextEncoder) -> Info:
    manifest = bundle.manifest
    choice = choose(bundle, precision=settings.precision, runtime=settings.runtime)
    return Info(
        model_id=manifest.name,
        model_sha=manifest.digest,
        model_dtype=choice.graph.precision,
        served_model_name=name,
        model_type=ModelType(embedding=PoolingInfo(pooling=manifest.pooling)),
        max_concurrent_requests=settings.max_queue_items,
        max_input_length=manifest.max_length,
        max_batch_tokens=settings.max_batch_tokens,
        max_batch_requests=settings.max_batch_items,
        max_client_batch_size=settings.max_client_batch_size,
        auto_truncate=settings.auto_truncate,
        tokenization_workers=settings.tokenizer_threads,
        version=_version(),
        sha=None,
        docker_label=None,
        bundle_version=manifest.version,
        graph=choice.graph.path,
        choice=choice.reason,
        cpu=detect_cpu(),
        engine=engine.description,
        dimension=manifest.dimension,
        prompts=sorted(text_encoder.prompts),
        workers=settings.workers,
        front_ends=settings.front_ends,
    )


def _version() -> str:
    try:
        return version("disco-embeddings")
    except PackageNotFoundError:
        return "0+unknown"
