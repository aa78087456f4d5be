from pathlib import Path

import numpy as np

from export.forms import Form
from export.fusion import Fusion
from export.quantize import quantize
from tests.export.conftest import NARROW, TEXTS, WIDTH, constants_of, relative_error


def test_taming_makes_int8_closer(product_graph: Path, tmp_path: Path) -> None:
    for name, form in (("plain", Form(smoothing=0)), ("tamed", Form())):
        quantize(product_graph, tmp_path / f"{name}.onnx", texts=TEXTS, cpu="avx512_vnni", form=form)
    plain, tamed = (relative_error(tmp_path / f"{name}.onnx", product_graph) for name in ("plain", "tamed"))
    assert 0 < tamed < plain / 2


def test_weights_and_table_become_int8(product_graph: Path, tmp_path: Path) -> None:
    fusion = quantize(product_graph, tmp_path / "int8.onnx", texts=TEXTS, cpu="avx512_vnni", form=Form())
    assert fusion == Fusion(layers=0, fused=0)
    found = constants_of(tmp_path / "int8.onnx")
    large = {name: tensor.dtype for name, tensor in found.items() if tensor.size >= WIDTH * NARROW}
    assert len(large) == 3
    assert set(large.values()) == {np.dtype(np.int8)}


def test_avx2_weights_keep_to_seven_bits(product_graph: Path, tmp_path: Path) -> None:
    largest = {}
    for cpu in ("avx2", "avx512_vnni"):
        quantize(product_graph, tmp_path / f"{cpu}.onnx", texts=TEXTS, cpu=cpu, form=Form(smoothing=0))
        largest[cpu] = np.abs(constants_of(tmp_path / f"{cpu}.onnx")["narrow_int8"].astype(int)).max()
    assert largest["avx2"] < 64 < largest["avx512_vnni"]
