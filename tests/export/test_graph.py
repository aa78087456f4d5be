import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from export.errors import DamagedStudentError
from export.graph import export_graph
from export.reference import TorchReference
from export.source import RESERVED_POSITIONS, open_student
from export.verify import Verifier

_SIZES = {"vocab_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2}
_BERT_SIZES = {**_SIZES, "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 40}
FAMILIES: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**_BERT_SIZES),
    "distilbert": DistilBertConfig(
        vocab_size=64, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=40, initializer_range=0.2
    ),
    "roberta": RobertaConfig(**_BERT_SIZES, pad_token_id=1),
    "xlm-roberta": XLMRobertaConfig(**_BERT_SIZES, pad_token_id=1),
    "mpnet": MPNetConfig(**_BERT_SIZES, pad_token_id=1),
}


def make_student(folder: Path, config: PretrainedConfig, tiny_teacher: Path, *modules: torch.nn.Module) -> Path:
    """A student of `config` with random weights and the tokenizer of the tiny teacher."""
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder / "hf")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(tiny_teacher / name, folder / "hf" / name)
    inputs = ["input_ids", "attention_mask"]  # DistilBERT knows no `token_type_ids`
    tokenizer_config = folder / "hf" / "tokenizer_config.json"
    tokenizer_config.write_text(json.dumps({**json.loads(tokenizer_config.read_bytes()), "model_input_names": inputs}))
    transformer = Transformer(str(folder / "hf"), max_seq_length=32)
    SentenceTransformer(modules=[transformer, *modules], device="cpu").save(str(folder / "student"))
    return folder / "student"


def test_every_supported_family_is_tested() -> None:
    assert FAMILIES.keys() == RESERVED_POSITIONS.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_computes_what_torch_does(family: str, tiny_teacher: Path, tmp_path: Path) -> None:
    path = make_student(tmp_path, FAMILIES[family], tiny_teacher, Pooling(32, "mean"), Normalize())
    student, graph = open_student(str(path)), tmp_path / "model.onnx"
    export_graph(student, graph)
    verifier = Verifier(student, TorchReference(student, threads=1), threads=1)
    assert verifier.same_tokens == 1
    parity = verifier.parity(verifier.open(graph, "fp32"))
    assert parity.cosine.worst > 0.9999
    assert parity.batch_spread < 1e-5


def test_cls_pooling_without_normalisation(tiny_teacher: Path, tmp_path: Path) -> None:
    path = make_student(tmp_path, FAMILIES["bert"], tiny_teacher, Pooling(32, "cls"))
    student, graph = open_student(str(path)), tmp_path / "model.onnx"
    export_graph(student, graph)
    verifier = Verifier(student, TorchReference(student, threads=1), threads=1)
    ids = verifier.text_encoder.encode(["the cat sat on the mat"])[0]
    vector = verifier.open(graph, "fp32").encode(ids, np.array([0, len(ids)], dtype=np.int32))
    np.testing.assert_allclose(vector, verifier.reference.embed(["the cat sat on the mat"]), rtol=1e-4, atol=1e-5)
    assert abs(float(np.linalg.norm(vector)) - 1) > 0.01, "the student's vectors should not be of unit length"


def test_inputs_and_outputs_are_a_bundles(tiny_teacher: Path, tmp_path: Path) -> None:
    export_graph(open_student(str(tiny_teacher)), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [node.name for node in graph.input] == ["input_ids", "attention_mask"]
    assert [node.name for node in graph.output] == ["sentence_embedding", "last_hidden_state"]
    assert graph.output[0].type.tensor_type.shape.dim[1].dim_value == 32


def test_weights_with_gaps_are_refused(student: Path, tmp_path: Path) -> None:
    weights = load_file(student / "model.safetensors")
    lost = next(name for name in weights if "layer.1" in name)
    save_file({name: tensor for name, tensor in weights.items() if name != lost}, student / "model.safetensors")
    with pytest.raises(DamagedStudentError, match=r"lack 1 tensors.*layer\.1"):
        export_graph(open_student(str(student)), tmp_path / "model.onnx")


def test_truncated_weights_are_refused(student: Path, tmp_path: Path) -> None:
    weights = student / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DamagedStudentError, match="cannot be loaded"):
        export_graph(open_student(str(student)), tmp_path / "model.onnx")
    with pytest.raises(DamagedStudentError, match="cannot be loaded"):
        TorchReference(open_student(str(student)), threads=1)
