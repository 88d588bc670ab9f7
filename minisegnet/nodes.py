"""What a graph is made of: nodes, each a layer and the values it reads, and what a layer may read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from minisegnet.errors import GraphError, ShapeError
from minisegnet.layers.base import Layer
from minisegnet.shapes import Shape


@dataclass(frozen=True, eq=False)
class Node:
    """One place in a graph.

    layer      what computes there; None for an input of the graph
    inputs     the values it reads
    size_of    a value whose (H, W) the layer gets as output_size, or None
    channels   of an input: how many it must have, None for any number
    check      of an input: a function of its shape that raises ShapeError for one that the network cannot take
    """

    name: str
    layer: Any
    inputs: tuple[Handle, ...] = ()
    size_of: Handle | None = None
    channels: int | None = None
    check: Callable[[Shape], None] | None = None


@dataclass(frozen=True, eq=False)
class Handle:
    """A value to come: output number `position` of a node. Those after the first are indices, without gradient."""

    node: Node
    position: int = 0


def check_layer(layer: Any) -> None:
    """Raise GraphError for what cannot stand at a node."""
    if not isinstance(layer, Layer):
        raise GraphError(f"a node takes a layer, an object of a class made from Layer; got {layer!r}")
    if not hasattr(layer, "parameters"):
        raise GraphError("the layer has no parameters yet; begin its __init__ with super().__init__()")


def check_reads(layer: Layer, count: int, sized: bool) -> None:
    """Raise GraphError unless the layer's forward takes this many inputs, and an output_size where one is given."""
    arguments = dict(inspect.signature(layer.forward).parameters)
    output_size = arguments.pop("output_size", None)
    any_number = any(argument.kind is argument.VAR_POSITIONAL for argument in arguments.values())
    least = sum(argument.default is argument.empty for argument in arguments.values())
    most = max(count, least) if any_number else len(arguments)
    if not least <= count <= most:
        wanted = f"at least {least}" if any_number else f"{least}" if least == most else f"{least} to {most}"
        raise GraphError(f"the number of values it reads ({', '.join(arguments)}) is {wanted}; got {count}")
    if sized and output_size is None:
        raise GraphError("its output has one possible size; leave out size_of")
    if not sized and output_size is not None and output_size.default is output_size.empty:
        raise GraphError("it needs to know its output's size; pass size_of=the value of that height and width")


def check_count(graph: str, what: str, count: int, nodes: Sequence[Node]) -> None:
    """Raise GraphError unless as many things are given as there are nodes, the graph's inputs or outputs."""
    if count != len(nodes):
        names = ", ".join(node.name for node in nodes)
        raise GraphError(f"{graph}: the number of {what} is {len(nodes)} ({names}); got {count}")


def output_size(node: Node, shapes: dict[str, Shape]) -> dict[str, tuple[int, int]]:
    """The option output_size of a node that has size_of; no option for one that has not."""
    if node.size_of is None:
        return {}
    shape = shapes[node.size_of.node.name]
    if len(shape) != 4:
        raise ShapeError(f"size_of must be a value (N, C, H, W); {node.size_of.node.name!r} has shape {shape}")
    return {"output_size": (shape[2], shape[3])}


def one_or_several(values: Any) -> Any:
    """The one value, or the tuple of several."""
    return tuple(values) if len(values) > 1 else values[0]


@contextmanager
def located(graph: str, node: Node) -> Iterator[None]:
    """Put the graph's, the node's and the layer's name in front of the message of any error inside the block."""
    try:
        yield
    except MemoryError as error:  # NumPy's kind writes its message itself, from a shape
        raise MemoryError(f"{graph} node {node.name!r} {node.layer!r}: {error}") from error
    except Exception as error:
        error.args = (f"{graph} node {node.name!r} {node.layer!r}: {error}", *error.args[1:])
        raise
