"""The systems that are compared: how each is installed and started, and what it must compute. Starts nothing.

A new peer is a new entry here, and a requirements file where it needs one.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from loadtest.routes import RouteName

OURS, STUDENT = "ours-teacher", "ours-student"
INT8, FLOAT32 = 0.99, 0.999
"""Least cosines with the reference."""

Reference: TypeAlias = Literal["teacher", "student"]


@dataclass(frozen=True)
class Places:
    """Where everything is, given and made."""

    teacher: Path
    """A copy of the teacher with `onnx/model.onnx` and its int8 form beside the weights."""
    bundle: Path
    """The teacher as a bundle of this project."""
    student: Path
    requirements: Path
    """The folder of requirements files and of the peers' own scripts."""
    environments: Path

    def python(self, environment: str) -> str:
        """The interpreter of an environment."""
        return str(self.environments / environment / "bin" / "python")


@dataclass(frozen=True)
class System:
    """A server, on the command line of which `{port}` stands for the port that it is given."""

    name: str
    title: str
    command: tuple[str, ...]
    route: RouteName = "embed"
    environment: str | None = None
    """The stem of its requirements file; None: it runs in this program's environment, or is a program by itself."""
    packages: tuple[str, ...] = ()
    """Whose versions decide how fast it is."""
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    """Where it is started; None: where this program is."""
    reference: Reference = "teacher"
    least_cosine: float = FLOAT32
    served_name: str = "disco"
    """What requests call the model, where the route wants a name."""
    description: str | None = None
    """The route of a JSON object whose `engine` says what it computes with."""
    missing: str | None = None
    """Why it cannot be started on this machine, where that is known beforehand."""


SENTENCE_TRANSFORMERS, INFINITY = "sentence-transformers", "infinity"
INT8_FILE = "onnx/model_quantized.onnx"
"""By this name Infinity prefers it on CPUs."""


def systems(places: Places) -> list[System]:
    """All of them, ours first."""
    return [
        *our_systems(places.bundle, places.student, "--front-ends", str(front_ends())),
        _infinity(places, "torch", "Infinity, torch", FLOAT32),
        _infinity(places, "optimum", "Infinity, ONNX int8", INT8),
        _sentence_transformers(places, "torch", "sentence-transformers, torch", FLOAT32),
        _sentence_transformers(places, "onnx", "sentence-transformers, ONNX int8", INT8),
        _text_embeddings_inference(places),
    ]


def front_ends() -> int:
    """Two, where engines can be shared out evenly between them."""
    return 1 if _cores() % 2 else 2


def our_systems(teacher: Path, student: Path, *options: str) -> list[System]:
    """Our server with either bundle."""
    return [
        _ours(OURS, "disco, the same model (int8)", teacher, "teacher", options),
        _ours(STUDENT, "disco, its student (int8)", student, "student", options),
    ]


def _ours(name: str, title: str, bundle: Path, reference: Reference, options: Sequence[str]) -> System:
    return System(
        name=name,
        title=title,
        # Texts recur within a run: without a cache every one of them is embedded.
        command=(
            *(sys.executable, "-m", "server", "--bundle", str(bundle), "--port", "{port}"),
            *("--cache-bytes", "0", "--log-level", "warning", *options),
        ),
        packages=("onnxruntime", "tokenizers", "litestar", "uvicorn"),
        description="/info",
        reference=reference,
        least_cosine=INT8,
    )


def _infinity(places: Places, engine: str, title: str, least_cosine: float) -> System:
    # Of a model's relative path it finds ONNX files only where that is the folder it is started in; given an absolute
    # one, it would write the graphs that it optimises beside the model instead of into the hub's cache.
    cache = str(places.environments / "cache")
    return System(
        name=f"infinity-{engine}",
        title=title,
        command=(
            *(str(Path(places.python(INFINITY)).with_name("infinity_emb")), "v2", "--model-id", "."),
            *(
                "--engine",
                engine,
                "--device",
                "cpu",
                "--pooling-method",
                "mean",
                "--url-prefix",
                "/v1",
                "--served-model-name",
                "disco",
            ),
            *("--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"),
        ),
        route="openai",
        environment=INFINITY,
        folder=places.teacher,
        packages=("infinity-emb", "torch", "transformers", "optimum", "onnxruntime"),
        variables={"INFINITY_ANONYMOUS_USAGE_STATS": "0", "HF_HUB_OFFLINE": "1", "HF_HOME": cache},
        least_cosine=least_cosine,
    )


def _sentence_transformers(places: Places, backend: str, title: str, least_cosine: float) -> System:
    return System(
        name=f"sentence-transformers-{backend}",
        title=title,
        command=(
            *(places.python(SENTENCE_TRANSFORMERS), "-m", "uvicorn", "sentence_transformers_app:app"),
            *("--app-dir", str(places.requirements), "--port", "{port}", "--log-level", "warning"),
        ),
        environment=SENTENCE_TRANSFORMERS,
        packages=("sentence-transformers", "torch", "transformers", "onnxruntime", "uvicorn"),
        variables={"MODEL": str(places.teacher), "BACKEND": backend, "ONNX_FILE": INT8_FILE, "HF_HUB_OFFLINE": "1"},
        least_cosine=least_cosine,
    )


def _text_embeddings_inference(places: Places) -> System:
    program = shutil.which("text-embeddings-router")
    cores = _cores()
    return System(
        name="text-embeddings-inference",
        title="Text Embeddings Inference",
        command=(
            *(program or "text-embeddings-router", "--model-id", str(places.teacher), "--hostname", "127.0.0.1"),
            *("--port", "{port}", "--max-client-batch-size", "32", "--tokenization-workers", str(cores)),
        ),
        missing=None if program else "text-embeddings-router is not on the PATH",
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
