"""Pea-KD's shuffled parameter sharing: n stored layers run as 2n, the upper half with query and key swapped.

As many weights as n layers, as much time as 2n. Source: Pea-KD (2009.14822). Knows BERT's layer layout.
"""

import copy
from typing import Any

from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import PreTrainedModel

from train.errors import ModelError


def share_layers(encoder: PreTrainedModel) -> None:
    """Run the encoder's layers a second time on top of themselves, sharing all weights, query and key swapped.

    Raises:
        ModelError: the encoder is not laid out like BERT.
    """
    stack: Any = encoder.encoder if hasattr(encoder, "encoder") else None
    layers = getattr(stack, "layer", None)
    if not isinstance(layers, nn.ModuleList) or not all(map(_can_be_swapped, layers)):
        raise ModelError(
            f"{type(encoder).__name__} has no encoder.layer[…].attention.self with query and key to swap; "
            "set student.share_layers = false"
        )
    stack.layer = nn.ModuleList([*layers, *map(_twin, layers)])
    encoder.config.num_hidden_layers = 2 * len(layers)


def unshared(student: SentenceTransformer) -> SentenceTransformer:
    """A copy whose layers each have weights of their own, giving the same vectors: a stock model of 2n layers.

    The format of sentence-transformers cannot say that layers share weights, so this is what is saved and exported: the
    files hold the shared weights twice.
    """
    copied = copy.deepcopy(student)
    transformer: Any = copied[0]
    stack = transformer.auto_model.encoder
    # Copied one by one, layers no longer know of each other.
    stack.layer = nn.ModuleList(copy.deepcopy(layer) for layer in stack.layer)
    return copied


def _can_be_swapped(layer: nn.Module) -> bool:
    attention = getattr(getattr(layer, "attention", None), "self", None)
    return hasattr(attention, "query") and hasattr(attention, "key")


def _twin(layer: Any) -> Any:
    """A layer that holds the very modules of `layer`, but query and key in each other's place."""
    leaves = {id(module): module for module in layer.modules() if not list(module.children())}
    twin = copy.deepcopy(layer, leaves)  # what is in the memo is kept instead of copied
    attention = layer.attention.self
    twin.attention.self.query, twin.attention.self.key = attention.key, attention.query
    return twin
