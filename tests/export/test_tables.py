from pathlib import Path

import numpy as np

from export.tables import quantize_tables
from tests.export.conftest import constants_of


def test_each_row_of_a_table_is_within_half_a_step(product_graph: Path, tmp_path: Path) -> None:
    quantize_tables(product_graph, tmp_path / "tables.onnx")
    before, after = constants_of(product_graph), constants_of(tmp_path / "tables.onnx")
    rows, scales = after["table_int8"].astype(np.float32), after["table_scales"].astype(np.float32)
    assert "table" not in after
    assert np.all(np.abs(rows * scales - before["table"].astype(np.float32)) <= scales / 2 + 1e-6)
    assert not rows[0].any()
