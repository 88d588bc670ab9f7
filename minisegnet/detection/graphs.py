"""Several graphs as one network: what training asks of a `Graph`, asked of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np

from minisegnet.errors import GraphError
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Layer, Parameter
from minisegnet.layers.base import copies, fill

Self = TypeVar("Self", bound="Graphs")


class Graphs:
    """Graphs whose nodes have different names, with the parameters, buffers and modes of all of them.

    Each method does what `Graph`'s of its name does.
    """

    def __init__(self, name: str, graphs: Sequence[Graph]) -> None:
        self.name, self.graphs = name, list(graphs)

    @property
    def layers(self) -> dict[str, Layer]:
        return {name: layer for graph in self.graphs for name, layer in graph.layers.items()}

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {name: parameter for graph in self.graphs for name, parameter in graph.parameters.items()}

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        return {name: buffer for graph in self.graphs for name, buffer in graph.buffers.items()}

    @property
    def dtype(self) -> np.dtype:
        dtype = self.graphs[0].dtype
        assert dtype is not None  # every one of them has parameters
        return dtype

    @property
    def training(self) -> bool:
        return self.graphs[0].training

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: array for graph in self.graphs for name, array in graph.arrays().items()}

    def state_dict(self) -> dict[str, np.ndarray]:
        return copies(self.arrays())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `Graph.load_state_dict`; batches are counted from 0 where a normalisation comes without its count, as
        torchvision's frozen ones do."""
        wanted = self.arrays()
        counts = [name for name in wanted if name.endswith(".num_batches_tracked")]
        known = [name for name in counts if name.replace("num_batches_tracked", "running_var") in state]
        fill(wanted, {name: np.zeros((), np.int64) for name in known} | dict(state), self.name)

    def initialise(self: Self, seed: int) -> Self:
        for graph in self.graphs:
            graph.initialise(seed)
        return self

    def reseed(self, seed: int) -> None:
        for graph in self.graphs:
            graph.reseed(seed)

    def astype(self: Self, dtype: Any) -> Self:
        for graph in self.graphs:
            graph.astype(dtype)
        return self

    def zero_grad(self) -> None:
        for graph in self.graphs:
            graph.zero_grad()

    def train(self: Self) -> Self:
        for graph in self.graphs:
            graph.train()
        return self

    def eval(self: Self) -> Self:
        for graph in self.graphs:
            graph.eval()
        return self

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        with ExitStack() as stack:
            for graph in self.graphs:
                stack.enter_context(graph.evaluating())
            yield

    def placed(self, array: Any) -> Any:
        return self.graphs[0].placed(array)

    def computing(self) -> AbstractContextManager:
        return self.graphs[0].computing()

    def to(self: Self, device: str) -> Self:
        for graph in self.graphs:
            graph.to(device)
        return self

    @property
    def device(self) -> str:
        return self.graphs[0].device

    def freeze(self, beginning: str) -> list[str]:
        weighted = {name: layer for name, layer in self.layers.items() if layer.arrays()}
        frozen = [name for name in weighted if name.startswith(beginning)]
        if not frozen:
            firsts = ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name in weighted))
            raise GraphError(f"{self.name} has no layers with weights under {beginning!r}; names begin with {firsts}")
        for name in frozen:
            weighted[name].freeze()
        return frozen

    def freeze_normalisation(self) -> None:
        """Keep every batch normalisation as it is: for batches of few images, whose own statistics say little."""
        for layer in self.layers.values():
            if isinstance(layer, BatchNorm2d):
                layer.freeze()

    def __repr__(self) -> str:
        count = sum(parameter.data.size for parameter in self.parameters.values())
        return f"{type(self).__name__}({self.name!r}, {len(self.graphs)} graphs, {count:,} parameters)"
