"""BERT-type encoders of any shape with random weights, as the exporter writes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bundle.arrays import Ids
from bundle.onnx_encoder import OnnxEncoder
from tests.conftest import SPECIAL, WORDS, save_tokenizer

VOCABULARY = len(SPECIAL) + len(WORDS)
LONGEST = 512


@dataclass(frozen=True)
class Shape:
    """A BERT by its sizes."""

    hidden: int
    heads: int
    layers: int
    feed_forward: int
    activation: str = "gelu"
    pooling: str = "mean"


@dataclass(frozen=True)
class Graphs:
    """A model's graphs."""

    shape: Shape
    fp32: Path
    int8: Path

    def reference(self, graph: Path) -> OnnxEncoder:
        """The same graph in ONNX Runtime."""
        return OnnxEncoder(graph, dimension=self.shape.hidden, label="reference")


def random_texts(lengths: list[int], seed: int = 0) -> list[Ids]:
    """Token ids of texts of these lengths."""
    random = np.random.default_rng(seed)
    return [random.integers(0, VOCABULARY, length).astype(np.int32) for length in lengths]


def build_graphs(folder: Path, shape: Shape) -> Graphs:
    """Write a random model of `shape` as both graphs."""
    # Imported here so that collecting the tests loads no torch.
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    from export.graph import export_graph
    from export.source import open_student

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        hidden_act=shape.activation,
        max_position_embeddings=LONGEST,
        initializer_range=0.06,
    )
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():  # freshly made ones add nothing, and would hide mistakes
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
            elif "LayerNorm" in name:
                parameter.normal_(1, 0.2)
    model.save_pretrained(folder / "hf")
    save_tokenizer(folder / "hf", longest=LONGEST)
    transformer = Transformer(str(folder / "hf"), max_seq_length=LONGEST)
    modules = [transformer, Pooling(shape.hidden, shape.pooling), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "student"))
    graphs = Graphs(shape, folder / "fp32.onnx", folder / "int8.onnx")
    export_graph(open_student(str(folder / "student")), graphs.fp32)
    write_int8(graphs.fp32, graphs.int8)
    return graphs


def write_int8(fp32: Path, target: Path, **form: Any) -> None:
    """Write the int8 graph of that form."""
    from export.forms import Form
    from export.quantize import quantize

    texts = random_texts([3, 5, 8, 13, 21, 34, 55, 64] * 2, seed=1)
    quantize(fp32, target, texts=texts, cpu="avx512_vnni", form=Form(**form))
