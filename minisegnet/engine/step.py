"""What a plan is a list of: steps, each with its values, forward and back."""

from __future__ import annotations

from minisegnet.engine.value import Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.layers.base import Parameter
from minisegnet.nodes import Node


class Step:
    """One step of a plan. Every worker runs it on its own share of the rows.

    name        of the nodes it stands for
    readers     of the values that it reads
    algorithm   how it computes, in a few words
    nodes       of the graph that it stands for; for a concatenation, which no step makes, the step before it
    products    multiplications done for each that the layers ask for
    gives_in_turn    whether, on the way back, it reads rows of a value for the last time before it gives their gradient
    reads_in_order   whether it lets the makers of its values know before it reads their rows, see `Value.on_read`
    goes_back   whether a gradient reaches it, and something behind it wants one
    """

    algorithm = ""
    products = 1.0
    gives_in_turn = False
    reads_in_order = False

    def __init__(self, worker: Worker, name: str, readers: list[Reader]) -> None:
        self.worker, self.name, self.readers = worker, name, readers
        self.nodes: list[Node] = []
        self.goes_back = False  # both set by the builder

    @property
    def inputs(self) -> list[Value]:
        """The values it reads."""
        return [reader.value for reader in self.readers]

    @property
    def outputs(self) -> list[Value]:
        """The values it makes."""
        raise NotImplementedError

    @property
    def kept(self) -> list[Value]:
        """Values of its own that it keeps for the way back."""
        return []

    @property
    def reads_back(self) -> list[Value]:
        """The values whose data it reads on the way back, not counting what `Value.on_gradient` reads before that."""
        return [*self.inputs, *self.outputs, *self.kept]

    @property
    def gives_whole(self) -> Parameter | None:
        """The parameter that may be updated as soon as its gradient is there, if there is one: it is given once, or
        once for each part, and the step does not read the parameter, or that part, afterwards."""
        return None

    @property
    def common_nbytes(self) -> int:
        """Bytes that it needs of memory common to all workers, see `Worker.common`."""
        return 0

    def forward(self) -> None:
        raise NotImplementedError

    def backward(self) -> None:
        raise NotImplementedError
