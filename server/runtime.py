"""Everything that lives while the server runs: the models by name. Opens, replaces and closes them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bundle.errors import BundleError, DiscoError
from bundle.layout import Bundle, open_bundle
from server.errors import BundleConflictError, OverloadedError, UnknownModelError
from server.memory import give_back
from server.metrics import Metrics
from server.model import Model, open_model
from server.settings import ServerSettings
from server.shadow import NAME as SHADOW
from server.shadow import Shadow

logger = logging.getLogger(__name__)


class Runtime:
    """What the routes need."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._models: dict[str, Model] = {}
        self._shadow: Shadow | None = None
        self._reloading = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self.draining = False

    @property
    def models(self) -> list[Model]:
        """All models, the default one first."""
        return list(self._models.values())

    @property
    def healthy(self) -> bool:
        """Whether every worker of every model can take work and none has hung."""
        return all(model.engine.healthy for model in self.models)

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome."""
        return self.healthy and not self.draining

    def refuses(self, coming: int = 0) -> bool:
        """Whether every model would refuse whatever is asked for after `coming` texts."""
        return all(model.queue.refuses(coming) for model in self._models.values())

    def refusal(self, coming: int = 0) -> OverloadedError | None:
        """Why they would, as the first one has it; None where it would not."""
        return self.model().queue.refusal(coming)

    def model(self, name: str | None = None) -> Model:
        """The model of that name; the only one, or without a name the first one, in any case.

        Raises:
            UnknownModelError: there are several, and none has this name.
        """
        if name is None or len(self._models) == 1:
            return self.models[0]
        if name not in self._models:
            raise UnknownModelError(f"there is no model {name[:64]!r}; this server has {', '.join(self._models)}")
        return self._models[name]

    async def start(self) -> None:
        """Open all models, and the teacher in their shadow.

        Raises:
            DiscoError: one cannot be served; none is left open.
        """
        if self._settings.shadow_bundle is not None:
            bundle = await asyncio.to_thread(open_bundle, self._settings.shadow_bundle)
            shadow = Shadow(bundle, self._metrics, share=self._settings.shadow_share)
            await shadow.start()
            self._shadow = shadow
        for name, path in self._settings.bundles:
            bundle = await asyncio.to_thread(open_bundle, path)
            model = await self._open(name, bundle, is_default=not self._models)
            taken = {*self._models, SHADOW} if self._shadow is not None else self._models
            if model.name in taken:
                await model.close()
                raise BundleConflictError(f"two bundles are called {model.name!r}; name them: --bundle NAME=PATH")
            self._models[model.name] = model
            model.announce()

    async def reload(self) -> list[str]:
        """Replace every model whose bundle has changed on disk, while requests go on; returns their names.

        The new one is verified, opened and warmed up before it takes a request; the old one answers what it has.

        Raises:
            DiscoError: a new bundle cannot be served; its model goes on as it was, and so do those after it.
        """
        replaced = []
        async with self._reloading:
            for old in self.models:
                bundle = await asyncio.to_thread(open_bundle, old.bundle.path)
                before, after = old.bundle.manifest, bundle.manifest
                if after.digest == before.digest:
                    continue
                if after.dimension != before.dimension:
                    raise BundleConflictError(
                        f"the new bundle of {old.name} has {after.dimension} dimensions, the one that is served "
                        f"{before.dimension}: whoever has vectors of it could not compare them; start a new server"
                    )
                new = await self._open_successor(old, bundle)
                self._models[old.name] = new
                new.announce()
                replaced.append(new.name)
                self._retire(old)
        return replaced

    async def try_reload(self) -> None:
        """`reload` for those who cannot be told of errors: they are logged, and what is served goes on."""
        try:
            replaced = await self.reload()
            logger.info("reloaded: %s", ", ".join(replaced) or "nothing has changed")
        except DiscoError as error:
            logger.error("not reloaded: %s", error)
        except Exception:  # whatever is wrong with a new bundle must not end the server
            logger.exception("not reloaded")

    async def stop(self) -> None:
        """Close all models."""
        await asyncio.gather(*(model.close() for model in self.models))
        await asyncio.gather(*self._retiring)
        self._models.clear()
        if self._shadow is not None:
            await self._shadow.stop()

    async def _open_successor(self, old: Model, bundle: Bundle) -> Model:
        try:
            return await self._open(old.name, bundle, is_default=old is self.models[0])
        except BundleError:
            raise
        except Exception as error:  # whatever is wrong with it, it is the new bundle's fault, and the old one goes on
            logger.exception("the new bundle of %s does not work", old.name)
            raise BundleConflictError(
                f"the new bundle of {old.name} does not work ({type(error).__name__}), the server's log says why; "
                "the one that is served goes on"
            ) from error

    async def _open(self, name: str | None, bundle: Bundle, *, is_default: bool) -> Model:
        observe = self._shadow.watch() if self._shadow is not None and is_default else None
        return await open_model(name, bundle, self._settings, self._metrics, observe=observe)

    def _retire(self, model: Model) -> None:
        task = asyncio.ensure_future(_retire(model))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


async def _retire(model: Model) -> None:
    await model.retire()
    del model  # its tokenizer goes with it
    await asyncio.to_thread(give_back)


@asynccontextmanager
async def running(settings: ServerSettings, metrics: Metrics) -> AsyncIterator[Runtime]:
    """Open all models, and close them afterwards.

    Raises:
        DiscoError: a bundle is missing or damaged, or has no graph that fits; the message says which file.
    """
    runtime = Runtime(settings, metrics)
    try:
        await runtime.start()
        metrics.ready.set_function(lambda: runtime.ready)
        yield runtime
    finally:
        await runtime.stop()
