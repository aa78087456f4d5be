"""Everything that lives while the server runs: bundle, queue, engine, service. Opens and closes them in order."""

import datetime as dt
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from bundle.choice import choose
from bundle.cpu import detect_cpu
from bundle.layout import Bundle, open_bundle
from bundle.runtime import Encoder, open_encoder
from bundle.text import TextEncoder
from server.batching import BatchLimits
from server.cache import VectorCache
from server.engine import Engine
from server.metrics import Metrics
from server.outputs import Outputs
from server.queue import BatchQueue, QueueLimits
from server.schemas import Info, ModelType, PoolingInfo
from server.service import EmbeddingService
from server.settings import ServerSettings

logger = logging.getLogger(__name__)


@dataclass
class Runtime:
    """What the routes need."""

    service: EmbeddingService
    outputs: Outputs
    engine: Engine
    info: Info
    created: dt.datetime
    """When the bundle was exported."""
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome."""
        return self.engine.healthy and not self.draining

    @property
    def compute_type(self) -> str:
        """Which kind of device computes, for the header of that name."""
        return "gpu+optimized" if "CUDA" in self.info.engine else "cpu+optimized"


@asynccontextmanager
async def running(settings: ServerSettings, metrics: Metrics) -> AsyncIterator[Runtime]:
    """Open the bundle, start and warm the workers up, and end them afterwards.

    Raises:
        BundleError: the bundle is missing or damaged, or has no graph that fits; the message says which file.
    """
    bundle = open_bundle(settings.bundle)
    text_encoder = TextEncoder.from_bundle(bundle)
    queue = BatchQueue(
        QueueLimits(items=settings.max_queue_items, tokens=settings.max_queue_tokens),
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
        metrics,
        workers=settings.workers,
        probe=text_encoder.encode(["a"])[0],
    )
    cache = VectorCache(settings.cache_bytes)
    service = EmbeddingService(
        text_encoder,
        queue,
        cache,
        metrics,
        dimension=bundle.manifest.dimension,
        auto_truncate=settings.auto_truncate,
        max_texts=settings.max_client_batch_size,
        bulk_texts=settings.bulk_texts,
        timeout=settings.request_timeout,
        tokenizer_threads=settings.tokenizer_threads,
    )
    await engine.start()
    try:
        outputs = Outputs(
            dimension=bundle.manifest.dimension,
            normalized=bundle.manifest.normalized,
            output_range=bundle.manifest.output_range,
        )
        created = dt.datetime.fromisoformat(bundle.manifest.provenance.created)
        runtime = Runtime(service, outputs, engine, _info(settings, bundle, engine, text_encoder), created)
        metrics.watch(
            depth=queue.depth,
            cache_bytes=lambda: cache.bytes,
            workers=lambda: engine.alive,
            ready=lambda: runtime.ready,
        )
        metrics.serving.info(
            {
                "version": runtime.info.version,
                "model": runtime.info.served_model_name,
                "bundle_version": runtime.info.bundle_version,
                "precision": runtime.info.model_dtype,
                "engine": runtime.info.engine,
            }
        )
        logger.info(
            "serving %s, bundle %s, with %d workers of %s: %s, %s",
            runtime.info.served_model_name,
            runtime.info.bundle_version,
            runtime.info.workers,
            runtime.info.engine,
            runtime.info.graph,
            runtime.info.choice,
        )
        yield runtime
    finally:
        await engine.stop()
        service.close()


def _open_encoder(bundle: Bundle, settings: ServerSettings) -> Encoder:
    return open_encoder(bundle, precision=settings.precision, runtime=settings.runtime, threads=1)


def _info(settings: ServerSettings, bundle: Bundle, engine: Engine, text_encoder: TextEncoder) -> Info:
    manifest = bundle.manifest
    choice = choose(bundle, precision=settings.precision, runtime=settings.runtime)
    return Info(
        model_id=manifest.name,
        model_sha=manifest.digest,
        model_dtype=choice.graph.precision,
        served_model_name=settings.served_model_name or manifest.name,
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
    )


def _version() -> str:
    try:
        return version("disco-embeddings")
    except PackageNotFoundError:
        return "0+unknown"
