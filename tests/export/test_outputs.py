import numpy as np

from bundle.output_types import OUTPUT_TYPES, calibrate_range
from export.outputs import measure_outputs


def test_smaller_outputs_keep_less() -> None:
    vectors = np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32)
    outputs = measure_outputs(vectors, output_range=calibrate_range(vectors))
    assert tuple(outputs) == OUTPUT_TYPES
    assert [output.bytes for output in outputs.values()] == [256, 128, 64, 64, 8, 8]
    kept = {name: output.neighbours_kept for name, output in outputs.items()}
    assert kept["float32"] == 1
    assert kept["float16"] > 0.99
    assert kept["int8"] > 0.9
    assert kept["uint8"] > 0.9
    assert 0.2 < kept["binary"] == kept["ubinary"] < kept["int8"]
