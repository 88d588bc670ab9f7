"""From a graph to the steps of a plan: which nodes go together, and who computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minisegnet.engine.borders import Entry, Exit, Ordinary
from minisegnet.engine.forms import FORMS
from minisegnet.engine.known import known
from minisegnet.engine.loss import CrossEntropy
from minisegnet.engine.pointwise import Sum
from minisegnet.engine.scoring_loss import cross_entropy
from minisegnet.engine.step import Step
from minisegnet.engine.value import Planes, Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.graph import Graph
from minisegnet.layers import CrossEntropyLoss
from minisegnet.layers.base import Layer
from minisegnet.nodes import Handle, Node
from minisegnet.passes import nodes_with_training_behind
from minisegnet.shapes import Shape


@dataclass
class Built:
    """What a plan is made of."""

    steps: list[Step] = field(default_factory=list)
    inputs: list[Planes] = field(default_factory=list)
    input_values: list[Value] = field(default_factory=list)
    reached: set[Value] = field(default_factory=set)  # by a gradient
    exits: list[Exit] = field(default_factory=list)
    loss: CrossEntropy | None = None


class Builder:
    """Goes through the nodes of a graph once, and leaves a step for each group of them."""

    def __init__(
        self,
        worker: Worker,
        graph: Graph,
        input_shapes: Sequence[Shape],
        loss: CrossEntropyLoss | None,
        backward: bool,
        to_inputs: bool,
        algorithms: Mapping[str, str],
    ) -> None:
        self.worker, self.graph, self.loss = worker, graph, loss
        self.backward, self.algorithms = backward, algorithms
        self.m = 4  # columns that a row of tiles is stored as
        self.shapes = graph.shapes(*input_shapes)
        self.built = Built()
        self.values: dict[tuple[str, int], list[Value]] = {}  # of each handle: joined along the channels
        self.stored: dict[Planes, Value] = {}  # inputs stored the engine's way, once somebody reads them so
        self.plain: dict[str, Ordinary] = {}  # nodes whose further results are arrays in one worker's hands
        self.done: set[str] = set()
        self.readers: dict[str, list[Node]] = {}
        for node in graph.layer_nodes():
            for handle in node.inputs:
                self.readers.setdefault(handle.node.name, []).append(node)
        inputs = [node.name for node in graph.inputs] if to_inputs else []
        self.trained = nodes_with_training_behind(graph.layer_nodes(), inputs) if backward else set()

    def build(self) -> Built:
        for node in self.graph.inputs:
            planes = Planes(node.name, self.shapes[node.name])
            self.built.inputs.append(planes)
            self.values[node.name, 0] = [planes]
            if node.name in self.trained:
                self.values[node.name, 0] = [self.entered(planes, wants_gradient=True)]
                self.built.input_values += self.values[node.name, 0]
        for node in self.graph.layer_nodes():
            if node.name not in self.done:
                before = set(self.done)
                self.done.add(node.name)
                if not any(form(self, node) for form in FORMS):
                    self.add_ordinary(node)
                if self.built.steps:
                    names = self.done - before
                    self.built.steps[-1].nodes += [n for n in self.graph.layer_nodes() if n.name in names]
        for node in self.graph.outputs:
            value = self.whole(Handle(node))
            if self.loss is not None:
                self.built.loss = cross_entropy(self, node, value, self.loss)
                self.built.steps.append(self.built.loss)
            else:
                step = Exit(self.worker, node.name, Reader(value))
                self.built.exits.append(step)
                self.built.steps.append(step)
        self._direct_gradients()
        return self.built

    def _direct_gradients(self) -> None:
        """Find out which steps a gradient reaches, and in which order the readers of a value add to its gradient."""
        readers: dict[Value, list[Reader]] = {}
        for step in reversed(self.built.steps):
            ends = isinstance(step, Exit | CrossEntropy)
            step.goes_back = self.backward and (ends or any(value in readers for value in step.outputs))
            if step.goes_back:
                for reader in step.readers:
                    if reader.value.wants_gradient:
                        readers.setdefault(reader.value, []).append(reader)
        self.built.reached = set(readers)
        for several in readers.values():
            several[0].first = True
            several[-1].last = True
        self._let_gradients_take_places()

    def _let_gradients_take_places(self) -> None:
        """Find the values whose data nobody needs any more once their gradient is given, row by row."""
        makers = {value: step for step in self.built.steps for value in step.outputs}
        for step in self.built.steps:
            for reader in step.readers:
                value = reader.value
                alone = reader.first and reader.last
                if alone and (step.gives_in_turn or value not in step.reads_back):
                    value.in_place = value not in makers[value].reads_back

    # -------------------------------------------------------------------------------------------------- values

    def entered(self, planes: Planes, wants_gradient: bool = False) -> Value:
        """An input stored the engine's way, by a step that is added for the first who asks."""
        if planes not in self.stored:
            self.stored[planes] = Value(f"{planes.name} stored", planes.given, self.m, wants_gradient)
            self.built.steps.append(Entry(self.worker, planes.name, planes, self.stored[planes]))
        return self.stored[planes]

    def parts(self, handle: Handle) -> list[Value]:
        """The values that a handle's is joined of, all stored the engine's way."""
        values = self.values[handle.node.name, handle.position]
        return [self.entered(value) if isinstance(value, Planes) else value for value in values]

    def whole(self, handle: Handle) -> Value:
        """A handle's value in one piece."""
        parts = self.parts(handle)
        if len(parts) > 1:
            terms = [[Reader(part) for part in parts]]
            output = self.new(self.graph.nodes[handle.node.name])
            self.add_step(Sum(self.worker, handle.node.name, terms, output, None, False))
            return output
        return parts[0]

    def new(self, node: Node) -> Value:
        """The value that a step for this node will make."""
        value = Value(node.name, self.shapes[node.name], self.m, node.name in self.trained)
        self.values[node.name, 0] = [value]
        return value

    def follower(self, node: Node, kind: type[Layer]) -> Node | None:
        """The node of this kind that alone reads a node's value, if there is one."""
        readers = self.readers.get(node.name, [])
        if len(readers) != 1 or node in self.graph.outputs or not known(readers[0].layer, kind):
            return None
        return readers[0]

    # --------------------------------------------------------------------------------------------------- steps

    def add_step(self, step: Step) -> bool:
        """Append a step; returns True, as the form that adds it does."""
        self.built.steps.append(step)
        return True

    def add_ordinary(self, node: Node) -> None:
        """Append a step that runs the node's layer as it is."""
        sources: list[list[Reader] | tuple[Ordinary, int]] = []
        for handle in node.inputs:
            if handle.position:
                sources.append((self.plain[handle.node.name], handle.position))
            else:
                sources.append([Reader(value) for value in self.values[handle.node.name, 0]])
        size = {} if node.size_of is None else {"output_size": self.shapes[node.size_of.node.name][2:]}
        step = Ordinary(self.worker, self.graph.name, node, sources, self.new(node), self.shapes, size)
        self.plain[node.name] = step
        self.built.steps.append(step)
