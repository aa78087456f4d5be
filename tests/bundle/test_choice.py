from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bundle.choice import choose, has_gpu
from bundle.cpu import Cpu, Target, features
from bundle.errors import MissingRuntimeError, UnsupportedGraphError
from bundle.layout import Bundle
from bundle.manifest import Graph, Manifest, Precision, Provenance, Tuned
from tests.bert import Graphs, Shape, build_graphs


def with_graphs(bundle: Bundle, *graphs: tuple[Precision, Target], tuned: Tuned | None = None) -> Bundle:
    """The bundle as if it had these graphs, all in one file."""
    path = bundle.manifest.graphs[0].path
    made = tuple(Graph(path=path, precision=precision, target=target) for precision, target in graphs)
    manifest = msgspec.structs.replace(bundle.manifest, graphs=made, tuned=tuned or msgspec.UNSET)
    return replace(bundle, manifest=manifest)


@pytest.mark.parametrize(
    ("cpu", "chosen"),
    [("avx512_vnni", ("int8", "avx512_vnni")), ("arm64", ("int8", "avx512_vnni")), ("avx2", ("int8", "avx2"))],
)
def test_the_first_graph_that_is_right_on_the_cpu_is_chosen(
    tiny_bundle: Bundle, cpu: Cpu, chosen: tuple[Precision, Target]
) -> None:
    bundle = with_graphs(tiny_bundle, ("int8", "avx512_vnni"), ("int8", "avx2"), ("fp32", "any"))
    choice = choose(bundle, cpu=cpu)
    assert (choice.graph.precision, choice.graph.target) == chosen
    assert choice.runtime == "onnxruntime"
    assert cpu in choice.reason
    assert choose(bundle, precision="fp32", cpu=cpu).graph.target == "any"


def test_a_bundle_whose_graphs_are_wrong_here_is_refused(tiny_bundle: Bundle) -> None:
    bundle = with_graphs(tiny_bundle, ("int8", "avx512_vnni"), ("int8", "arm64"))
    with pytest.raises(UnsupportedGraphError, match=r"graphs for avx512_vnni, arm64.*--target avx2"):
        choose(bundle, cpu="avx2")


def test_a_precision_that_is_not_there_is_refused_beside_what_is(tiny_bundle: Bundle) -> None:
    with pytest.raises(UnsupportedGraphError, match="has no int8 graph, only fp32"):
        choose(tiny_bundle, precision="int8")


def tuned(*, here: bool = True) -> Tuned:
    measured_on = features() if here else (*features(), "another")
    return Tuned(features=measured_on, runtime="openvino", precision="fp32")


def installed(monkeypatch: pytest.MonkeyPatch, *, openvino: bool) -> None:
    monkeypatch.setattr("bundle.choice.find_spec", lambda name: object() if openvino or name != "openvino" else None)


def test_what_was_measured_on_such_a_cpu_is_taken(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, openvino=True)
    choice = choose(with_graphs(tiny_bundle, ("int8", "avx2"), ("fp32", "any"), tuned=tuned()))
    assert (choice.runtime, choice.graph.precision) == ("openvino", "fp32")
    assert choice.reason.startswith("measured to be fastest")


@pytest.mark.parametrize(
    ("here", "openvino", "asked"),
    [
        (False, True, {}),
        (True, False, {}),
        (True, True, {"precision": "int8"}),
        (True, True, {"runtime": "onnxruntime"}),
    ],
    ids=["another CPU", "engine missing", "a precision asked for", "an engine asked for"],
)
def test_what_was_measured_is_not_taken(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, here: bool, openvino: bool, asked: dict[str, str]
) -> None:
    installed(monkeypatch, openvino=openvino)
    bundle = with_graphs(tiny_bundle, ("int8", "avx2"), ("fp32", "any"), tuned=tuned(here=here))
    choice = choose(bundle, **asked)  # type: ignore[arg-type]  # names and values come from the table above
    assert (choice.runtime, choice.graph.precision) == ("onnxruntime", "int8")


def test_openvino_takes_the_fp32_graph(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, openvino=True)
    bundle = with_graphs(tiny_bundle, ("int8", "avx2"), ("fp32", "any"))
    assert choose(bundle, runtime="openvino").graph.precision == "fp32"
    with pytest.raises(UnsupportedGraphError, match="cannot read ONNX Runtime's int8 graphs"):
        choose(bundle, runtime="openvino", precision="int8")
    with pytest.raises(UnsupportedGraphError, match="has no fp32 graph, only int8"):
        choose(with_graphs(tiny_bundle, ("int8", "avx2")), runtime="openvino")


def test_an_engine_that_is_not_installed_is_named_with_its_extra(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, openvino=False)
    with pytest.raises(MissingRuntimeError, match=r"pip install '\.\[openvino\]'"):
        choose(tiny_bundle, runtime="openvino")


@pytest.fixture(scope="module")
def bert_graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return build_graphs(tmp_path_factory.mktemp("bert"), Shape(hidden=32, heads=2, layers=1, feed_forward=64))


def bert_bundle(graphs: Graphs, *, precision: Precision = "int8") -> Bundle:
    """A bundle around one graph of a BERT; only what is needed to choose by."""
    graph = Graph(path=f"{precision}.onnx", precision=precision, target="any")
    provenance = Provenance(student="bert", created="2026-01-01T00:00:00Z")
    manifest = Manifest(
        name="bert", dimension=32, max_length=64, pooling="mean", normalized=True, graphs=(graph,), files=(),
        provenance=provenance,
    )  # fmt: skip
    return Bundle(graphs.fp32.parent, manifest)


def native_installed(monkeypatch: pytest.MonkeyPatch, *, native: bool) -> None:
    monkeypatch.setattr("bundle.choice.features", lambda: ("avx512_vnni",))
    refusal = None if native else "disco-native is not installed"
    monkeypatch.setattr("bundle.native_package.why_not_loadable", lambda: refusal)


def test_native_runs_int8_where_it_has_kernels_for_the_cpu(
    bert_graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    native_installed(monkeypatch, native=True)
    choice = choose(bert_bundle(bert_graphs), cpu="avx512_vnni")
    assert choice.runtime == "native"
    assert choice.reason.endswith("in the engine made for such CPUs")
    others: tuple[Cpu, ...] = ("avx2", "arm64")
    for cpu in others:
        assert choose(bert_bundle(bert_graphs), cpu=cpu).runtime == "onnxruntime"
    # bfloat16 instead of fp32 has to be asked for.
    fp32 = bert_bundle(bert_graphs, precision="fp32")
    assert choose(fp32, cpu="avx512_vnni").runtime == "onnxruntime"
    assert choose(fp32, cpu="avx512_vnni", runtime="native").runtime == "native"
    assert choose(bert_bundle(bert_graphs), cpu="avx512_vnni", runtime="onnxruntime").runtime == "onnxruntime"


def test_why_native_is_not_chosen_is_told(
    bert_graphs: Graphs, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    native_installed(monkeypatch, native=True)
    other = choose(with_graphs(tiny_bundle, ("int8", "avx2")), cpu="avx512_vnni")
    assert other.runtime == "onnxruntime"
    assert "not native: last_hidden_state: made by Gather" in other.reason
    native_installed(monkeypatch, native=False)
    without = choose(bert_bundle(bert_graphs), cpu="avx512_vnni")
    assert without.runtime == "onnxruntime"
    assert "not native: disco-native is not installed" in without.reason
    with pytest.raises(MissingRuntimeError, match=r"make native.*disco-native is not installed"):
        choose(bert_bundle(bert_graphs), runtime="native")


def test_weights_that_the_kernels_would_refuse_leave_a_graph_to_onnx_runtime(
    bert_graphs: Graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    native_installed(monkeypatch, native=True)
    bundle = replace(bert_bundle(bert_graphs), path=tmp_path)
    model = onnx.load(bert_graphs.int8)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("_smoothed_scale"))
    scale.CopyFrom(onnx.numpy_helper.from_array(np.array(1e-40, np.float32), scale.name))
    onnx.save(model, tmp_path / "int8.onnx")
    choice = choose(bundle, cpu="avx512_vnni")
    assert choice.runtime == "onnxruntime"
    assert "not native: layer 0, query-key-value: its input's scale is 1e-40" in choice.reason
    other = replace(
        bundle, path=bert_graphs.int8.parent, manifest=msgspec.structs.replace(bundle.manifest, dimension=8)
    )
    assert "not native: tokens have 32 components, vectors 8" in choose(other, cpu="avx512_vnni").reason


def test_what_was_measured_needs_an_extension_that_can_be_loaded(
    bert_graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Tuned(features=("avx512_vnni",), runtime="native", precision="int8")
    for native, runtime in ((True, "native"), (False, "onnxruntime")):
        native_installed(monkeypatch, native=native)
        bundle = bert_bundle(bert_graphs)
        bundle = replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, tuned=measured))
        assert choose(bundle, cpu="avx512_vnni").runtime == runtime


def test_a_graph_for_gpus_is_taken_where_there_is_one_and_never_elsewhere(tiny_bundle: Bundle) -> None:
    bundle = with_graphs(tiny_bundle, ("fp16", "cuda"), ("int8", "avx2"), ("fp32", "any"), tuned=tuned())
    assert choose(bundle, gpu=True).graph.target == "cuda"
    assert choose(bundle, gpu=True, precision="int8").graph.target == "avx2", "asked for"
    assert choose(bundle, gpu=False, runtime="onnxruntime").graph.target == "avx2"


def test_who_asks_for_the_gpus_graph_without_one_is_told_so(tiny_bundle: Bundle) -> None:
    bundle = with_graphs(tiny_bundle, ("fp16", "cuda"), ("fp32", "any"))
    with pytest.raises(UnsupportedGraphError, match=r"fp16 graph is for NVIDIA GPUs.*onnxruntime-gpu"):
        choose(bundle, gpu=False, precision="fp16")


@pytest.mark.parametrize("device", [True, False])
def test_a_gpu_needs_a_device_and_its_onnx_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: bool
) -> None:
    file = tmp_path / "nvidiactl"
    if device:
        file.touch()
    monkeypatch.setattr("bundle.choice.distributions", lambda **_: [])
    assert not has_gpu(file)
    monkeypatch.setattr("bundle.choice.distributions", lambda **_: ["onnxruntime-gpu"])
    assert has_gpu(file) is device
