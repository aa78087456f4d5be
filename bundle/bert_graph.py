"""Recognising a BERT-type encoder in an ONNX graph, from its last value back to its first.

Every operator on the way has to be the one that is expected, or the graph is refused: what is not understood is never
run. Reads fp32 graphs and those that `export.quantize` makes of them; knows no engine.
"""

from collections.abc import Sequence

import numpy as np

from bundle.errors import UnsupportedModelError
from bundle.gelu import is_tanh_gelu
from bundle.graph_walk import GraphWalk
from bundle.linear_graph import find_linear, join
from bundle.manifest import Pooling
from bundle.native_limits import require_fit
from bundle.native_weights import Floats, Layer, Linear, Normalization, Weights
from bundle.onnx_file import Node, OnnxGraph

_TOKENS = "last_hidden_state"
_SPLIT, _SPLIT_AND_TRANSPOSED = (0, 2, 1, 3), (0, 2, 3, 1)
_HIDING = -1e3
"""What is added to scores that are masked: so much, or more of it, and nothing is left of them."""
# What Python raises where a graph leaves out, or mistypes, what its operators need.
_MALFORMED = (IndexError, KeyError, ValueError, TypeError, ArithmeticError, RecursionError, StopIteration)


def find_weights(graph: OnnxGraph, *, dimension: int, pooling: Pooling, normalized: bool) -> Weights:
    """The weights of the encoder that computes the graph's tokens; what comes after them is the manifest's to tell.

    Raises:
        UnsupportedModelError: the graph is another kind of model, or the kernels do not take its weights; the message
            says where it differs.
    """
    try:
        weights = _weights(graph, pooling, normalized=normalized)
        require_fit(weights, dimension)
    except _MALFORMED as error:
        raise UnsupportedModelError(f"the graph is malformed: {type(error).__name__}: {error}") from error
    return weights


def _weights(graph: OnnxGraph, pooling: Pooling, *, normalized: bool) -> Weights:
    if _TOKENS not in graph.outputs:
        raise UnsupportedModelError(f"the graph has no output {_TOKENS}")
    walk = GraphWalk(graph)
    layers: list[Layer] = []
    heads: set[int] = set()
    tanh: set[bool] = set()
    value = _TOKENS
    while not _is_embedded(walk, value):
        layer, layer_heads, layer_tanh, value = _layer(walk, value)
        layers.insert(0, layer)
        heads.add(layer_heads)
        tanh.add(layer_tanh)
    if len(heads) != 1 or len(tanh) != 1:
        raise UnsupportedModelError("there are no layers, or layers that differ in heads or activation")
    norm, summands = _norm(walk, value)
    words, word_scales, positions = _tables(walk, summands)
    return Weights(
        words=words,
        word_scales=word_scales,
        positions=positions,
        embedding_norm=norm,
        heads=heads.pop(),
        tanh_gelu=tanh.pop(),
        pools_first=pooling == "cls",
        normalizes=normalized,
        layers=layers,
    )


def _layer(walk: GraphWalk, value: str) -> tuple[Layer, int, bool, str]:
    """The layer that computes `value`, its heads, whether its GELU is by tanh, and the value it starts from."""
    output_norm, summands = _norm(walk, value)
    between, terms = _residual(walk, summands)
    down, activated = find_linear(walk, terms)
    up_terms, tanh = _activation(walk, activated)
    up, entered = find_linear(walk, up_terms)
    _same(entered, between, "the feed-forward pair")
    attention_norm, summands = _norm(walk, between)
    start, terms = _residual(walk, summands)
    output, mixed = find_linear(walk, terms)
    qkv, heads, entered = _attention(walk, mixed)
    _same(entered, start, "attention")
    return Layer(qkv, output, attention_norm, up, down, output_norm), heads, tanh, start


def _norm(walk: GraphWalk, value: str) -> tuple[Normalization, list[str]]:
    """The layer normalisation that makes `value`, and the summands it reads."""
    node = walk.producer(value, "LayerNormalization", "SkipLayerNormalization")
    if node.attributes.get("axis", -1) != -1:
        raise UnsupportedModelError(f"{node.name} normalises another axis than the last")
    fused = node.operator == "SkipLayerNormalization"
    first = 2 if fused else 1
    gamma = walk.floats(node.inputs[first])
    beta = next((walk.floats(name) for name in node.inputs[first + 1 : first + 2] if name), np.zeros_like(gamma))
    epsilon = node.attributes.get("epsilon", 1e-12 if fused else 1e-5)
    summed = [*node.inputs[:2], *filter(None, node.inputs[4:5])] if fused else list(node.inputs[:1])
    if not isinstance(epsilon, float):
        raise UnsupportedModelError(f"{node.name} has no epsilon")
    return Normalization(gamma, beta, epsilon), [term for name in summed for term in walk.summands(name)]


def _residual(walk: GraphWalk, summands: Sequence[str]) -> tuple[str, list[str]]:
    """Which of `summands` is the output of a normalisation, and the others."""
    found = [name for name in summands if walk.is_made_by(name, "LayerNormalization", "SkipLayerNormalization")]
    if len(found) != 1:
        raise UnsupportedModelError(f"a normalised sum without exactly one residual: {', '.join(summands)}")
    return found[0], [name for name in summands if name != found[0]]


def _activation(walk: GraphWalk, value: str) -> tuple[list[str], bool]:
    """The summands of what is activated to give `value`, and whether by tanh."""
    source = walk.common_source(value, walk.is_linear)
    return walk.summands(source), is_tanh_gelu(walk, value, source)


def _attention(walk: GraphWalk, value: str) -> tuple[Linear, int, str]:
    """The product of query, key and value whose attention gives `value`, the heads, and what it reads."""
    if walk.is_made_by(value, "QAttention", "Attention"):
        return _fused_attention(walk, walk.producer(value))
    mixing = walk.through(value, _SPLIT, "MatMul")
    shares = walk.producer(mixing.inputs[0], "Softmax")
    if shares.attributes.get("axis", -1) not in (-1, 3):
        raise UnsupportedModelError(f"{shares.name}: shares along another axis than the last")
    masked = walk.producer(shares.inputs[0], "Add")
    scores = [name for name in masked.inputs if not walk.is_computed_from(name, "attention_mask")]
    if len(scores) != 1:
        raise UnsupportedModelError(f"{masked.name}: scores are not masked by the attention mask alone")
    scaling = walk.producer(scores[0], "Div", "Mul")
    divisor = float(walk.floats(scaling.inputs[1]))
    scale = divisor if scaling.operator == "Mul" else 1 / divisor
    product = walk.producer(scaling.inputs[0], "MatMul")
    sources = (product.inputs[0], product.inputs[1], mixing.inputs[1])
    permutations = (_SPLIT, _SPLIT_AND_TRANSPOSED, _SPLIT)
    found = []
    for source, permutation in zip(sources, permutations, strict=True):
        split = walk.through(source, permutation, "Reshape")
        width = walk.last_size(split.inputs[1])
        if not np.isclose(scale, width**-0.5):
            raise UnsupportedModelError(f"{scaling.name}: scores of {width} channels are scaled by {scale:.4g}")
        found.append(find_linear(walk, walk.summands(split.inputs[0])))
    linears, inputs = zip(*found, strict=True)
    for name in inputs:
        _same(name, inputs[0], "query, key and value")
    qkv = join(linears)
    return qkv, len(qkv.weights) // width, inputs[0]


def _fused_attention(walk: GraphWalk, node: Node) -> tuple[Linear, int, str]:
    options = dict(node.attributes)
    heads, hiding = options.pop("num_heads", None), options.pop("mask_filter_value", _HIDING)
    if options.pop("unidirectional", 0) != 0 or options:
        raise UnsupportedModelError(f"{node.name}: attention with options {', '.join(options) or 'of one direction'}")
    if not isinstance(heads, int) or not isinstance(hiding, float) or hiding > _HIDING:
        raise UnsupportedModelError(f"{node.name}: {heads} heads, and {hiding} for what is masked")
    # What comes before the mask, with scales and zero points among it, is read as a product.
    mask_at, most = (5, 8) if node.operator == "QAttention" else (3, 4)
    if any(node.inputs[most:]):
        raise UnsupportedModelError(f"{node.name}: attention reads {', '.join(filter(None, node.inputs[most:]))}")
    mask = node.inputs[mask_at]
    if not walk.is_computed_from(mask, "attention_mask"):
        raise UnsupportedModelError(f"{node.name}: not masked by the attention mask")
    linear, value = find_linear(walk, [node.outputs[0]])
    return linear, heads, value


def _is_embedded(walk: GraphWalk, value: str) -> bool:
    """Whether `value` is the normalised sum of rows of tables."""
    return all(walk.is_lookup(name) for name in _norm(walk, value)[1])


def _tables(walk: GraphWalk, summands: Sequence[str]) -> tuple[np.ndarray, Floats | None, Floats]:
    """The words' table with its scales, and the positions' with the token type's row added."""
    words = None
    positions: Floats | None = None
    token_type: Floats | None = None
    for name in summands:
        rows, scales, indices = walk.lookup(name)
        if indices == "input_ids":
            if words is not None:
                raise UnsupportedModelError(f"{name}: a second table of words")
            words = (rows, None if scales is None else np.ascontiguousarray(scales.reshape(-1)))
            continue
        table = rows.astype(np.float32) * (1 if scales is None else scales)
        kind = walk.indices(indices)
        if np.array_equal(kind, np.arange(kind.size)) and kind.size > 1 and positions is None:
            positions = table[: kind.size]
        elif not kind.any() and token_type is None:
            token_type = table[0]
        else:
            raise UnsupportedModelError(
                f"{name}: rows of a table that are neither positions nor one token type, or a second of these"
            )
    if words is None or positions is None:
        raise UnsupportedModelError("the first sum has no rows of words or of positions")
    if token_type is not None:
        positions = positions + token_type
    return words[0], words[1], np.ascontiguousarray(positions, dtype=np.float32)


def _same(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise UnsupportedModelError(f"{what} reads {found}, not {expected}")
