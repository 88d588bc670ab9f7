"""A head's graph at work on as many regions as there are: none, hundreds, or padded for an engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from minisegnet.cuda import arrays
from minisegnet.engine.engine import Engine
from minisegnet.graph import Graph

FEWEST = 16  # regions that a plan of an engine is made for


class Head:
    """Runs the graph of a head, layer by layer or by an engine; what it says comes in NumPy's arrays.

    An engine makes a plan for each number of regions, and keeps a few of them: so regions of zeros are added up to the
    next power of two. What comes out for them is cut off, and no gradient goes back into them.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.engine: Engine | None = None
        self._count = 0

    def forward(self, x: Any) -> Any:
        """As `Graph.forward`, of regions (R, C, h, w) where the graph computes; R may be 0."""
        self._count, self._like = len(x), x
        if not self._count:
            return self._nothing(x)
        if self.engine is None:
            return self._brought_back(self.graph.forward(x))
        return self._cut(self.engine.forward(filled_up(x)))

    def backward(self, dy: Any) -> Any:
        """As `Graph.backward`: the gradient by the regions, where these lie."""
        if not self._count:
            return arrays.zeros(self._like.shape, self._like.dtype, self._like)
        if self.engine is None:
            placed = self.graph.placed
            return self.graph.backward(tuple(map(placed, dy)) if isinstance(dy, tuple) else placed(dy))
        dys = tuple(map(filled_up, dy)) if isinstance(dy, tuple) else filled_up(dy)
        return self.engine.backward(dys)[: self._count]

    def predict(self, x: Any) -> Any:
        """As `Graph.predict`."""
        self._count = len(x)
        if not self._count:
            return self._nothing(x)
        if self.engine is None:
            return self._brought_back(self.graph.predict(x))
        return self._cut(self.engine.predict(filled_up(x)))

    def _brought_back(self, y: Any) -> Any:
        return tuple(map(arrays.to_host, y)) if isinstance(y, tuple) else arrays.to_host(y)

    def _cut(self, y: Any) -> Any:
        return tuple(array[: self._count] for array in y) if isinstance(y, tuple) else y[: self._count]

    def _nothing(self, x: Any) -> Any:
        """The outputs for no region."""
        shapes = self.graph.output_shape((1, *x.shape[1:]))
        if isinstance(shapes[0], tuple):
            return tuple(np.zeros((0, *shape[1:]), x.dtype) for shape in shapes)
        return np.zeros((0, *shapes[1:]), x.dtype)


def filled_up(x: np.ndarray) -> np.ndarray:
    """Zeros after the regions, up to the next power of two."""
    count = max(FEWEST, 1 << (len(x) - 1).bit_length())
    return x if count == len(x) else np.concatenate([x, np.zeros((count - len(x), *x.shape[1:]), x.dtype)])
