from pathlib import Path

from export.outliers import tame_outliers
from tests.export.conftest import HUGE, LARGE, TEXTS, constants_of, relative_error


def test_taming_leaves_the_graphs_function_as_it_was(product_graph: Path, tmp_path: Path) -> None:
    kept = tame_outliers(product_graph, tmp_path / "tamed.onnx", TEXTS, strength=0.75)
    assert relative_error(tmp_path / "tamed.onnx", product_graph) < 1e-5
    assert kept == ["second_outliers"], "only the product that narrows keeps its outliers in fp32"
    found = constants_of(tmp_path / "tamed.onnx")
    assert found["hidden_outlier_channels"].tolist() == [HUGE]
    assert not found["second_weights"][HUGE].any()
    assert "hidden_smoothing" not in found
    assert found["tokens_smoothing"][HUGE] < found["tokens_smoothing"][LARGE] < 1
