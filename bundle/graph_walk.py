"""Walking an ONNX graph backwards: who makes a value, and what it is made of. Knows operators, no models."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bundle.errors import UnsupportedModelError
from bundle.onnx_file import Constant, Node, OnnxGraph

PRODUCTS = ("MatMul", "MatMulIntegerToFloat", "QAttention", "Attention")
"""Operators that may multiply by a constant matrix, their second input."""

_MOST_SUMMANDS = 8
"""No sum of an encoder has more; a damaged graph may double one with every node."""


class GraphWalk:
    """A graph, looked at from its values.

    Nodes come after those whose values they read, as ONNX wants it, so that every walk comes to an end.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        """Raises UnsupportedModelError where a node reads what it or a later one makes."""
        self._constants = dict(graph.constants)
        self._producers: dict[str, Node] = {}
        # Outputs after the first are statistics and by-products, which nothing here may take for the result.
        self._others: set[str] = set()
        to_come = {name for node in graph.nodes for name in node.outputs if name}
        for node in graph.nodes:
            for name in to_come.intersection(node.inputs):
                raise UnsupportedModelError(f"{node.name}: reads {name}, which is not made before it")
            for i, name in enumerate(node.outputs):
                if name and (name not in to_come or name in self._constants):
                    raise UnsupportedModelError(f"{node.name}: makes {name}, which is made already")
                to_come.discard(name)
                if i > 0:
                    self._others.add(name)
            # Exporters keep one of several equal constants, and give it more names.
            if node.operator == "Identity" and node.inputs[0] in self._constants:
                self._constants[node.outputs[0]] = self._constants[node.inputs[0]]
            elif node.outputs:
                self._producers[node.outputs[0]] = node

    def producer(self, value: str, *operators: str) -> Node:
        """The node that makes `value`, which must be one of `operators` if any are named."""
        node = self._producers.get(value)
        if node is None or (operators and node.operator not in operators):
            absent = "no first output" if value in self._others else "an input or a constant"
            found = absent if node is None else node.operator
            raise UnsupportedModelError(f"{value}: made by {found}, not by {' or '.join(operators) or 'an operator'}")
        return node

    def is_made_by(self, value: str, *operators: str) -> bool:
        """Whether one of `operators` makes `value`."""
        return value in self._producers and self._producers[value].operator in operators

    def constant(self, name: str) -> Constant:
        """The constant `name`."""
        if name not in self._constants:
            raise UnsupportedModelError(f"{name}: is computed, where a constant was expected")
        return self._constants[name]

    def is_constant(self, name: str) -> bool:
        """Whether `name` is a constant."""
        return name in self._constants

    def floats(self, name: str) -> NDArray[np.float32]:
        """The constant `name` as aligned, contiguous fp32."""
        values = self.constant(name)
        if values.dtype != np.float32:
            raise UnsupportedModelError(f"{name}: is {values.dtype}, not float32")
        return np.require(values, requirements=["C", "ALIGNED"])

    def summands(self, value: str) -> list[str]:
        """What is added up to give `value`: itself where nothing is."""
        found: list[str] = []
        waiting = [value]
        while waiting:
            name = waiting.pop()
            node = self._producers.get(name)
            if node is None or node.operator != "Add":
                found.append(name)
            else:
                waiting += reversed(node.inputs)
            if len(found) + len(waiting) > _MOST_SUMMANDS:
                raise UnsupportedModelError(f"{value}: a sum of more than {_MOST_SUMMANDS}")
        return found

    def is_product(self, value: str) -> bool:
        """Whether `value` is the product of something with a constant matrix."""
        return self.is_made_by(value, *PRODUCTS) and self.is_constant(self._producers[value].inputs[1])

    def is_linear(self, value: str) -> bool:
        """Whether `value` is such products and constants, added up."""
        summands = [name for name in self.summands(value) if not self.is_constant(name)]
        return bool(summands) and all(self.is_product(name) for name in summands)

    def common_source(self, value: str, is_source: Callable[[str], bool]) -> str:
        """The one value, told by `is_source`, that everything before `value` is computed from."""
        found: set[str] = set()
        waiting, seen = [value], {value}
        while waiting:
            name = waiting.pop()
            if is_source(name):
                found.add(name)
                continue
            if name in self._constants:
                continue
            new = set(self.producer(name).inputs) - seen - {""}
            seen |= new
            waiting += new
        if len(found) != 1:
            raise UnsupportedModelError(f"{value}: computed from {len(found)} products, not one")
        return found.pop()

    def is_computed_from(self, value: str, source: str) -> bool:
        """Whether `value` is computed from the graph's input `source`, from constants and nothing else."""
        waiting, seen, found = [value], {value}, False
        while waiting:
            name = waiting.pop()
            if name == source:
                found = True
            elif name in self._producers:
                new = set(self._producers[name].inputs) - seen - {""}
                seen |= new
                waiting += new
            elif name not in self._constants:
                return False
        return found

    def through(self, value: str, permutation: tuple[int, ...], operator: str) -> Node:
        """The `operator` before `value`, past reshapes and transposes that amount to `permutation`."""
        axes: tuple[int, ...] = (0, 1, 2, 3)
        while (node := self.producer(value)).operator != operator:
            if node.operator == "Transpose":
                order = node.attributes["perm"]
                if not isinstance(order, tuple) or len(order) != 4:
                    raise UnsupportedModelError(f"{node.name}: an unexpected transposition")
                axes = tuple(order[axis] for axis in axes)
            elif node.operator != "Reshape":
                raise UnsupportedModelError(f"{value}: made by {node.operator}, not by {operator}")
            value = node.inputs[0]
        if axes != permutation:
            raise UnsupportedModelError(f"{node.name}: axes end up as {axes}, not {permutation}")
        return node

    def last_size(self, shape: str) -> int:
        """The last entry of a shape, which must be known."""
        if self.is_made_by(shape, "Concat"):
            shape = self.producer(shape).inputs[-1]
        return int(self.constant(shape).reshape(-1)[-1])

    def is_lookup(self, value: str) -> bool:
        """Whether `lookup` can be asked for `value`."""
        node = self._producers.get(value)
        if node is not None and node.operator == "Mul" and self.is_made_by(node.inputs[0], "Cast"):
            node = self._producers.get(self._producers[node.inputs[0]].inputs[0])
        return node is not None and node.operator == "Gather"

    def lookup(self, value: str) -> tuple[Constant, NDArray[np.float32] | None, str]:
        """The table that `value` has rows of, its rows' scales if it is int8, and the name of the row numbers."""
        node = self.producer(value, "Gather", "Mul")
        scales = None
        if node.operator == "Mul":
            steps, of_scales = (self.producer(name, "Cast", "Gather") for name in node.inputs)
            scales = self.floats(of_scales.inputs[0])
            rows = self.producer(steps.inputs[0], "Gather")
            if rows.inputs[1] != of_scales.inputs[1]:
                raise UnsupportedModelError(f"{value}: scales of other rows")
            node = rows
        if node.attributes.get("axis", 0) != 0:
            raise UnsupportedModelError(f"{node.name}: looks up along another axis")
        table = self.constant(node.inputs[0])
        if table.dtype != (np.float32 if scales is None else np.int8):
            raise UnsupportedModelError(f"{node.inputs[0]}: a table of {table.dtype}")
        return np.require(table, requirements=["C", "ALIGNED"]), scales, node.inputs[1]

    def indices(self, value: str) -> NDArray[np.int64]:
        """The constant row numbers of which `value` is the beginning."""
        while value not in self._constants:
            node = self.producer(value, "Slice", "Expand", "Unsqueeze", "Cast")
            if node.operator == "Slice":
                self._require_beginning(node)
            value = node.inputs[0]
        return self._constants[value].reshape(-1).astype(np.int64)

    def _require_beginning(self, node: Node) -> None:
        starts, steps = self.constant(node.inputs[1]), node.inputs[4:5]
        if starts.any() or any((self.constant(name) != 1).any() for name in steps if name):
            raise UnsupportedModelError(f"{node.name}: cuts out something else than the first entries")
