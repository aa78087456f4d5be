"""Copies a model and adds ONNX forms as sentence-transformers makes them: python prepare.py SOURCE TARGET INT8_FILE."""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model


def main(source: Path, target: Path, int8_file: str) -> None:
    """Write `target`, which is there only when it is complete."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    options = {"provider": "CPUExecutionProvider", "export": True}
    model = SentenceTransformer(str(source), backend="onnx", model_kwargs=options)
    cpu = "avx512_vnni" if "avx512_vnni" in Path("/proc/cpuinfo").read_text() else "avx2"
    with TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        export_dynamic_quantized_onnx_model(model, cpu, saved)
        # The graphs alone: the other files name classes that older versions, which some peers need, do not have.
        shutil.copytree(Path(saved) / "onnx", partial / "onnx", dirs_exist_ok=True)
    (made,) = (partial / "onnx").glob("model_qint8_*.onnx")
    made.replace(partial / int8_file)
    partial.replace(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
