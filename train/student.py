"""Making a student and running it on token ids. Knows layers and pooling; knows no loss and no data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding, Transformer
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from bundle.arrays import Ids
from train.config import Student
from train.errors import ModelError
from train.layer_sharing import share_layers, unshared
from train.locate import locate_model
from train.teacher import MODEL_OPTIONS, open_model
from train.token_table import bag_features, make_token_table

# On CPU a batch goes through the student in passes of so many padded tokens: tensors stay small enough for the caches,
# and for the C library to hand out freed memory again instead of having the kernel zero new pages (measured: 1.4
# times faster on passages). The loss sees the whole batch all the same.
_PASS_TOKENS = 4096


def make_student(config: Student, teacher: Path, scratch: Path) -> SentenceTransformer:
    """Build the untrained student: encoder, mean pooling, normalisation. `scratch` is a folder for a random start.

    Raises:
        ModelError: the teacher has no such layers, a model to start from cannot be loaded, or layers cannot be shared.
    """
    if config.init == "token-table":
        modules: list[nn.Module] = [make_token_table(open_model(teacher), config.max_length)]
    else:
        transformer = _make_transformer(config, teacher, scratch)
        modules = [transformer, Pooling(transformer.get_embedding_dimension(), "mean")]
    student: SentenceTransformer = SentenceTransformer(modules=[*modules, Normalize()], similarity_fn_name="cosine")
    return student


def embed_ids(student: SentenceTransformer, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The student's vectors of padded ids, int64[n, length] each → float[n, dim], with gradients."""
    if isinstance(student[0], StaticEmbedding):
        vectors: Tensor = student(bag_features(input_ids, attention_mask))["sentence_embedding"]
        return vectors
    on_cpu = input_ids.device.type == "cpu"
    rows = max(1, _PASS_TOKENS // input_ids.shape[1]) if on_cpu else len(input_ids)
    passes = zip(input_ids.split(rows), attention_mask.split(rows), strict=True)
    return torch.cat([student({"input_ids": i, "attention_mask": a})["sentence_embedding"] for i, a in passes])


def embed_rows(student: SentenceTransformer, rows: Sequence[Ids]) -> Tensor:
    """The student's vectors of ragged ids, float[n, dim], with gradients."""
    return embed_ids(student, *pad_rows(rows, student.device))


def tokenizer_file(model: SentenceTransformer, scratch: Path) -> Path:
    """Write the model's `tokenizer.json` into `scratch` and return its path.

    Raises:
        ModelError: the tokenizer is a slow one, which no bundle can hold.
    """
    tokenizer, file = model.tokenizer, scratch / "tokenizer.json"
    if isinstance(tokenizer, Tokenizer):  # a token table has the bare one
        scratch.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(file))
    elif getattr(tokenizer, "is_fast", False):
        tokenizer.save_pretrained(scratch)
    else:
        raise ModelError("the model's tokenizer has no fast version (tokenizer.json); convert it first")
    return file


def save_student(student: SentenceTransformer, config: Student, folder: Path) -> None:
    """Write `student` as a stock sentence-transformers directory; shared layers are written out in full."""
    (unshared(student) if config.share_layers else student).save(str(folder), create_model_card=False)


def set_dropout(model: nn.Module, probability: float) -> None:
    """Set every dropout of `model`."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


def positions(model: SentenceTransformer) -> int | None:
    """How many tokens its encoder has positions for; None where order does not count."""
    first = model[0]
    return _positions(first) if isinstance(first, Transformer) else None


def parameter_count(model: nn.Module) -> int:
    """The number of weights."""
    return sum(parameter.numel() for parameter in model.parameters())


def _make_transformer(config: Student, teacher: Path, scratch: Path) -> Transformer:
    if config.init == "teacher-layers":
        transformer = _keep_layers(teacher, config.layers)
    elif config.init == "pretrained":
        assert config.model is not None  # the recipe guarantees it
        transformer = _open_transformer(locate_model(config.model))
    else:
        transformer = _random(config, teacher, scratch)
    if config.share_layers:
        share_layers(transformer.auto_model)
    transformer.max_seq_length = min(config.max_length, _positions(transformer))
    return transformer


def _open_transformer(folder: Path) -> Transformer:
    try:
        opened: Transformer = Transformer(str(folder), model_kwargs=MODEL_OPTIONS)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"student.model = {str(folder)!r} cannot be opened as a transformer with its tokenizer: {error}"
        ) from error
    return opened


def _keep_layers(teacher: Path, layers: tuple[int, ...]) -> Transformer:
    first = open_model(teacher)[0]
    if not isinstance(first, Transformer):
        raise ModelError(f"{teacher}: the first module is a {type(first).__name__}, expected a Transformer")
    encoder = getattr(first.auto_model, "encoder", None)
    stack = getattr(encoder, "layer", None)
    if encoder is None or not isinstance(stack, nn.ModuleList):
        raise ModelError(
            f"{teacher}: {type(first.auto_model).__name__} has no encoder.layer to keep layers of; "
            "use student.init = 'pretrained' or 'random'"
        )
    if not all(0 <= layer < len(stack) for layer in layers):
        raise ModelError(f"student.layers {list(layers)}: the teacher has layers 0 to {len(stack) - 1}")
    encoder.layer = nn.ModuleList(stack[layer] for layer in layers)
    first.auto_model.config.num_hidden_layers = len(layers)
    # The teacher's unused pooler stays: without its weights, every loading of the student would print a warning.
    kept: Transformer = first
    return kept


def _random(config: Student, teacher: Path, scratch: Path) -> Transformer:
    """The teacher's architecture and tokenizer at another size, with fresh weights."""
    architecture = AutoConfig.from_pretrained(
        teacher,
        num_hidden_layers=config.hidden_layers,
        hidden_size=config.hidden_size,
        intermediate_size=4 * config.hidden_size,
        num_attention_heads=config.attention_heads,
        **MODEL_OPTIONS,
    )
    model = AutoModel.from_config(architecture)
    model.save_pretrained(scratch)
    open_model(teacher).tokenizer.save_pretrained(scratch)
    fresh: Transformer = Transformer(str(scratch), model_kwargs=MODEL_OPTIONS)
    return fresh


def _positions(transformer: Transformer) -> int:
    table = getattr(getattr(transformer.auto_model, "embeddings", None), "position_embeddings", None)
    if isinstance(table, nn.Embedding) and table.padding_idx is not None:
        return table.num_embeddings - table.padding_idx - 1  # RoBERTa and its kin count on from the padding's
    return int(getattr(transformer.auto_model.config, "max_position_embeddings", 512))


def pad_rows(rows: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ragged ids as (input_ids, attention_mask), int64[n, longest] each, padded with 0 on the right."""
    padded = nn.utils.rnn.pad_sequence([torch.from_numpy(row.astype(np.int64)) for row in rows], batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()
    return padded.to(device), mask.to(device)
