"""Right vectors of the JSON list of texts on stdin, as JSON: python reference.py MODEL [ONNX_FILE].

By torch where the model has weights for it, else by plain ONNX Runtime over the file; one text at a time: no padding.
"""

import json
import sys

from sentence_transformers import SentenceTransformer


def main(folder: str, onnx_file: str | None = None) -> None:
    """Print one vector a text."""
    if onnx_file is None:
        model = SentenceTransformer(folder, device="cpu")
    else:
        options = {"file_name": onnx_file, "provider": "CPUExecutionProvider"}
        model = SentenceTransformer(folder, backend="onnx", device="cpu", model_kwargs=options)
    vectors = model.encode(json.load(sys.stdin), batch_size=1, show_progress_bar=False)
    json.dump(vectors.tolist(), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
