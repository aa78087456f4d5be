"""The tiny world every unit test lives in: a small tokenizer and two-layer models, made in milliseconds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from bundle.arrays import Vectors
from bundle.layout import ONNX_FOLDER, QUALITY, TOKENIZER, Bundle, write_bundle
from bundle.manifest import Graph, Manifest, Provenance

# How long an example takes says nothing about the code on a machine that others use too.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

collect_ignore = ["clients"]  # they run in an environment of their own

_VOCABULARY = """
a the cat dog bird sat ran flew on under over mat tree house river quick slow brown red blue big small
man woman child eats drinks reads writes music book water food city day night and with in
"""
WORDS = _VOCABULARY.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TINY_DIMENSION = 8
TINY_MAX_LENGTH = 32


def build_tokenizer() -> Tokenizer:
    """A word-level, lower-casing tokenizer with BERT's template."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)  # decoding leaves them out only where they are declared
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def save_tokenizer(folder: Path, *, longest: int) -> None:
    """Write the tiny tokenizer to `folder`, for texts of up to `longest` tokens."""
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(),
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=longest,
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    build_tokenizer().save(str(path))
    return path


def build_token_table() -> Vectors:
    """The tiny bundle's only weights: float32[vocabulary, 8], one vector per token."""
    shape = (len(SPECIAL) + len(WORDS), TINY_DIMENSION)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def build_tiny_graph(path: Path, *, table: Vectors) -> None:
    """Write an ONNX graph that averages the unmasked tokens' vectors and scales the mean to unit length."""
    from onnx import TensorProto, helper, numpy_helper, save

    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last_axis"], ["column"]),
        helper.make_node("Mul", ["last_hidden_state", "column"], ["unmasked"]),
        helper.make_node("ReduceSum", ["unmasked", "length_axis"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["column", "length_axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], ["mean"]),
        helper.make_node("LpNormalization", ["mean"], ["sentence_embedding"], axis=-1, p=2),
    ]
    constants: dict[str, NDArray[Any]] = {
        "table": table,
        "last_axis": np.array([-1], dtype=np.int64),
        "length_axis": np.array([1], dtype=np.int64),
    }
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [
        helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["n", table.shape[1]]),
        helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "length", table.shape[1]]),
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def build_tiny_bundle(path: Path, *, scale: float = 1.0, dimension: int = TINY_DIMENSION) -> Bundle:
    """Write a complete bundle to `path`: 8 dimensions, 32 tokens, the prompt `query`; order of words is ignored.

    Another `scale` or `dimension` makes another version of it.
    """
    table = np.float32(scale) * build_token_table()[:, :dimension]

    def fill(staged: Path) -> Manifest:
        (staged / ONNX_FOLDER).mkdir()
        build_tiny_graph(staged / ONNX_FOLDER / "model.onnx", table=table)
        build_tokenizer().save(str(staged / TOKENIZER))
        (staged / QUALITY).write_text("{}\n")
        (staged / "README.md").write_text("# tiny\n")
        return Manifest(
            name="tiny",
            dimension=dimension,
            max_length=TINY_MAX_LENGTH,
            pooling="mean",
            normalized=True,
            output_range=0.7,
            prompts={"query": "a "},
            graphs=(Graph(path=f"{ONNX_FOLDER}/model.onnx", precision="fp32", target="any"),),
            files=(),
            provenance=Provenance(student="tiny", teacher="tiny-teacher", created="2025-01-01T00:00:00Z"),
        )

    return write_bundle(path, fill)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Shared by all tests, so read-only: a test that damages a bundle builds its own with `build_tiny_bundle`."""
    return build_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def tiny_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer, 32-dimensional sentence-transformers directory with random weights."""
    # Imported here so that the server's and the load test's own tests never load torch.
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hf")
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,  # large enough for texts to differ clearly
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    save_tokenizer(folder, longest=32)
    transformer = Transformer(str(folder), max_seq_length=32)
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    path = tmp_path_factory.mktemp("teacher") / "tiny-teacher"
    SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu").save(str(path))
    return path
