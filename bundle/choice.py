"""Which graph of a bundle runs in which engine on this machine, and why. Opens no engine."""

from dataclasses import dataclass
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from bundle import native_package
from bundle.bert_graph import find_weights
from bundle.cpu import Cpu, detect_cpu, features, suits
from bundle.errors import MissingRuntimeError, UnsupportedGraphError
from bundle.layout import Bundle
from bundle.manifest import Graph, Precision, Runtime
from bundle.onnx_file import read_onnx

_INSTALLING = {
    "openvino": "the package openvino: pip install '.[openvino]' in disco's folder",
    "native": "the package disco-native: `make native` builds it where a C++ compiler is",
}

# Where the native engine has kernels besides its slow reference; docs/native.md has the figures.
_NATIVE_CPUS: frozenset[Cpu] = frozenset({"avx512_vnni"})


@dataclass(frozen=True)
class Choice:
    """What is to be opened."""

    graph: Graph
    runtime: Runtime
    reason: str
    """Why this one, for logs and `/info`."""


def choose(
    bundle: Bundle,
    *,
    precision: Precision | None = None,
    runtime: Runtime | None = None,
    cpu: Cpu | None = None,
    gpu: bool | None = None,
) -> Choice:
    """Where there is a GPU the graph for it; what was measured to be fastest on a CPU like this one.

    Else the first graph that is right: in the native engine where that is the faster one, else in ONNX Runtime.

    Args:
        bundle: an opened bundle.
        precision: take only such graphs.
        runtime: take this engine.
        cpu: the kind of machine; by default this one.
        gpu: whether graphs for GPUs can be run; by default whether they can be here.

    Raises:
        UnsupportedGraphError: no graph of the bundle is right here.
        MissingRuntimeError: `runtime` is not installed.
    """
    cpu = cpu or detect_cpu()
    gpu = has_gpu() if gpu is None else gpu
    for graph in bundle.manifest.graphs:
        if gpu and graph.target == "cuda" and precision in (None, graph.precision) and runtime in (None, "onnxruntime"):
            return Choice(graph, "onnxruntime", "made for the GPU that is here")
    tuned = bundle.manifest.tuned
    if tuned and precision is None and runtime is None and tuned.features == features() and is_installed(tuned.runtime):
        graph = _first_right(bundle, tuned.precision, cpu)
        return Choice(graph, tuned.runtime, f"measured to be fastest on a CPU with {' '.join(tuned.features)}")
    if runtime not in (None, "onnxruntime") and not is_installed(runtime):
        why = native_package.why_not_loadable() if runtime == "native" else None
        raise MissingRuntimeError(f"--runtime {runtime} needs {_INSTALLING[runtime]}{f' ({why})' if why else ''}")
    if runtime == "openvino":
        if precision == "int8":
            raise UnsupportedGraphError(
                "OpenVINO cannot read ONNX Runtime's int8 graphs: leave the precision out, it takes the fp32 graph"
            )
        return Choice(_first_right(bundle, "fp32", cpu), runtime, "asked for")
    graph = _first_right(bundle, precision, cpu)
    if runtime == "native":
        return Choice(graph, runtime, "asked for")
    reason = f"the first graph that is right on this CPU ({cpu})"
    # An fp32 graph would be computed in bfloat16: that is for the user to ask for, or for `--tune` to find.
    if runtime is None and graph.precision == "int8" and cpu in _NATIVE_CPUS:
        refusal = _native_refusal(bundle, graph)
        if refusal is None:
            return Choice(graph, "native", f"{reason}, in the engine made for such CPUs")
        reason += f"; not native: {refusal}"
    return Choice(graph, "onnxruntime", reason)


def is_installed(runtime: Runtime) -> bool:
    """Whether the package of that engine is there, for this Python; nothing is imported."""
    if runtime == "native":
        return native_package.why_not_loadable() is None
    return find_spec(runtime) is not None  # the others' packages are called as they are


def has_fast_native(cpu: Cpu) -> bool:
    """Whether the native engine is installed and has kernels for such a CPU, besides its slow reference."""
    return cpu in _NATIVE_CPUS and is_installed("native")


def _native_refusal(bundle: Bundle, graph: Graph) -> str | None:
    """Why the native engine cannot run `graph`; None where it can."""
    if (absent := native_package.why_not_loadable()) is not None:
        return absent
    manifest = bundle.manifest
    try:
        find_weights(
            read_onnx(bundle.path / graph.path),
            dimension=manifest.dimension,
            pooling=manifest.pooling,
            normalized=manifest.normalized,
        )
    except UnsupportedGraphError as error:
        return str(error)
    return None


def has_gpu(device: Path = Path("/dev/nvidiactl")) -> bool:
    """Whether there is an NVIDIA GPU and the ONNX Runtime that can use it."""
    return device.exists() and bool(list(distributions(name="onnxruntime-gpu")))


def _first_right(bundle: Bundle, precision: Precision | None, cpu: Cpu) -> Graph:
    graphs = bundle.manifest.graphs
    wanted = [graph for graph in graphs if precision in (None, graph.precision)]
    if not wanted:
        found = ", ".join(graph.precision for graph in graphs)
        raise UnsupportedGraphError(f"{bundle.path} has no {precision} graph, only {found}")
    for graph in wanted:
        if suits(graph.target, cpu):
            return graph
    found = ", ".join(graph.target for graph in wanted)
    if found == "cuda":
        raise UnsupportedGraphError(
            f"{bundle.path}: its {wanted[0].precision} graph is for NVIDIA GPUs with the package onnxruntime-gpu, "
            "which is not what is here; leave the precision out, or export with another one"
        )
    raise UnsupportedGraphError(
        f"{bundle.path} has graphs for {found}, which would be wrong on this CPU; export again with --target {cpu}"
    )
