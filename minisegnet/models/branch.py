"""A part of a graph under a name of its own, and a graph rid of the parts that no output needs."""

from __future__ import annotations

from typing import Any

from minisegnet.graph import Graph
from minisegnet.layers import Layer
from minisegnet.nodes import Handle


class Branch:
    """A graph seen from one of its branches: the nodes that it adds are named "branch.name".

    What builds on a graph by `add` and `chain` builds on a branch, so that an encoder has its own names in a
    classifier, and "backbone.body." before them in a detector, as in torchvision's weights.
    """

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def add(self, name: str, layer: Layer, *inputs: Handle, size_of: Handle | None = None) -> Any:
        return self.graph.add(f"{self.name}.{name}", layer, *inputs, size_of=size_of)

    def chain(self, name: str, x: Handle, *layers: Layer) -> Handle:
        return self.graph.chain(f"{self.name}.{name}", x, *layers)


def drop_unread(graph: Graph) -> Graph:
    """Take away the nodes that no output depends on, and return the graph: levels deeper than the pyramid's, say."""
    needed = {node.name for node in (*graph.inputs, *graph.outputs)}
    for node in reversed(list(graph.nodes.values())):
        if node.name in needed:
            sizes = () if node.size_of is None else (node.size_of,)
            needed |= {handle.node.name for handle in (*node.inputs, *sizes)}
        else:
            del graph.nodes[node.name]
    return graph
