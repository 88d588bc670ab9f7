"""A graph as a table in torchinfo's layout: shapes, parameters, multiply-adds and memory, without computing.

What is counted:

- Params: the values of the parameters, not of buffers; a shared layer's once, "(recursive)" where it stands again.
  Those of a layer that is wholly frozen stand in brackets.
- Mult-adds: one for a multiplication with its addition, over the whole batch. A convolution has its weights and biases
  at each place of the filter, as torchinfo counts; a transposed one its weights at each input position, where torchinfo
  takes the output's; a linear layer its weights and biases for each row; batch normalisation one for each value.
  Pooling, unpooling, resizing and activations count as none.
- Memory: the arrays that the nodes return; a pooling's indices too, 4 bytes each. What a backend notes besides for the
  way back is not counted, nor are gradients.

1 MB is 10**6 bytes; k, M, G, T are powers of 1000.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minisegnet.shapes import Shape

if TYPE_CHECKING:
    from minisegnet.graph import Graph
    from minisegnet.nodes import Node

NOTHING = "--"
TITLES = ("Layer (type (node))", "Output Shape", "Param #", "Mult-Adds", "Memory (MB)")
UNITS = ((" (T)", 10**12), (" (G)", 10**9), (" (M)", 10**6), (" (k)", 10**3), ("", 1))
LEGEND = "1 MB is 10**6 bytes; mult-adds are of convolutions, linear layers and batch norms."


class Cost(NamedTuple):
    """What one node costs; parameters are 0 where its layer stood before."""

    parameters: int
    trainable: int
    multiply_adds: int
    bytes: int


def table(graph: Graph, input_shape: Any) -> str:
    """The table, for an input of shape (N, C, H, W), or a sequence of shapes where there are several inputs.

    Raises ShapeError or GraphError where the network does not take such inputs.
    """
    shapes = graph.shapes(*several_shapes(input_shape))
    costs = node_costs(graph, shapes)
    rows = [TITLES, *_rows(graph, shapes, costs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    lines = [
        "   ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "=" * (sum(widths) + 3 * (len(widths) - 1))
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, *_totals(graph, shapes, costs, rule), rule, LEGEND])


def several_shapes(input_shape: Any) -> tuple[Shape, ...]:
    """One shape or a sequence of them, as a tuple of shapes."""
    shapes = tuple(input_shape)
    return tuple(tuple(shape) for shape in shapes) if all(np.ndim(part) for part in shapes) else (shapes,)


def node_costs(graph: Graph, shapes: dict[str, Shape]) -> dict[str, Cost]:
    """What each node costs, given every node's shape."""
    itemsize = (graph.dtype or np.dtype(np.float32)).itemsize
    first = graph.layers
    costs = {}
    for node in graph.layer_nodes():
        parameters = list(node.layer.parameters.values()) if node.name in first else []
        output = shapes[node.name]
        costs[node.name] = Cost(
            sum(parameter.data.size for parameter in parameters),
            sum(parameter.data.size for parameter in parameters if parameter.trainable),
            node.layer.multiply_adds(tuple(shapes[handle.node.name] for handle in node.inputs), output),
            prod(output) * (itemsize + 4 * (node.layer.outputs - 1)),
        )
    return costs


def _rows(graph: Graph, shapes: dict[str, Shape], costs: dict[str, Cost]) -> Iterator[tuple[str, ...]]:
    """A row for each node, under a row for each part of its dotted name, as torchinfo shows nested modules."""
    outputs = ", ".join(_shape(shapes[node.name]) for node in graph.outputs)
    yield graph.name, outputs, NOTHING, NOTHING, NOTHING
    nodes = list(graph.nodes.values())
    paths = [node.name.split(".")[:-1] for node in nodes]
    for i, (node, path) in enumerate(zip(nodes, paths, strict=True)):
        for depth in range(1, len(path) + 1):
            if i and paths[i - 1][:depth] == path[:depth]:
                continue
            last = i
            while last + 1 < len(nodes) and paths[last + 1][:depth] == path[:depth]:
                last += 1
            title = f"{_indent(depth - 1)}Chain ({'.'.join(path[:depth])})"
            yield title, _shape(shapes[nodes[last].name]), NOTHING, NOTHING, NOTHING
        yield _row(graph, node, len(path), shapes, costs)


def _row(graph: Graph, node: Node, depth: int, shapes: dict[str, Shape], costs: dict[str, Cost]) -> tuple[str, ...]:
    shape = _shape(shapes[node.name])
    if node.layer is None:
        return f"{_indent(depth)}Input ({node.name})", shape, NOTHING, NOTHING, NOTHING
    cost = costs[node.name]
    parameters = f"{cost.parameters:,}" if cost.trainable else f"({cost.parameters:,})"
    if not node.layer.parameters:
        parameters = NOTHING
    elif node.name not in graph.layers:
        parameters = "(recursive)"
    return (
        f"{_indent(depth)}{type(node.layer).__name__} ({node.name})",
        shape,
        parameters,
        f"{cost.multiply_adds:,}" if cost.multiply_adds else NOTHING,
        f"{cost.bytes / 1e6:,.2f}",
    )


def _totals(graph: Graph, shapes: dict[str, Shape], costs: dict[str, Cost], rule: str) -> list[str]:
    total = Cost(*(sum(column) for column in zip(*costs.values(), strict=True))) if costs else Cost(0, 0, 0, 0)
    itemsize = (graph.dtype or np.dtype(np.float32)).itemsize
    input_bytes = itemsize * sum(prod(shapes[node.name]) for node in graph.inputs)
    parameter_bytes = itemsize * total.parameters
    unit, scale = next((u, s) for u, s in UNITS if total.multiply_adds >= s or s == 1)
    return [
        f"Total params: {total.parameters:,}",
        f"Trainable params: {total.trainable:,}",
        f"Non-trainable params: {total.parameters - total.trainable:,}",
        f"Total mult-adds{unit}: {total.multiply_adds / scale:,.{2 if unit else 0}f}",
        rule,
        f"Input size (MB): {input_bytes / 1e6:,.2f}",
        f"Forward pass size (MB): {total.bytes / 1e6:,.2f}",
        f"Params size (MB): {parameter_bytes / 1e6:,.2f}",
        f"Estimated total size (MB): {(input_bytes + total.bytes + parameter_bytes) / 1e6:,.2f}",
    ]


def _shape(shape: Shape) -> str:
    return str(list(shape))


def _indent(depth: int) -> str:
    return "├─" if depth == 0 else "│    " * depth + "└─"
