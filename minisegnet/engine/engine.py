"""The engine: plans of one graph for the shapes that it is given, run by one process or several."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.backends import backend_in_force, pretend_replaced, replaced_operations
from minisegnet.engine.blas import blas_threads
from minisegnet.engine.crew import Crew
from minisegnet.engine.key import Key, as_bytes, from_bytes, settings_of, take
from minisegnet.engine.plan import Plan
from minisegnet.engine.rows_in_place import rows_in_place
from minisegnet.engine.updates import Updates
from minisegnet.engine.worker import Worker
from minisegnet.errors import BackendError, DtypeError, GraphError, OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import Conv2d, ConvTranspose2d, CrossEntropyLoss, Dropout
from minisegnet.layers.base import Layer, Parameter
from minisegnet.memory import reserve, shared
from minisegnet.nodes import check_count, one_or_several
from minisegnet.passes import check_gradient, check_input
from minisegnet.shapes import Shape

if TYPE_CHECKING:
    from minisegnet.training.optimisers import Optimiser

# How much memory is asked for, the first that the system gives: pages are taken only where they are touched, but not
# every system lets one ask for more than it has.
ARENAS = (2**40, 2**36, 2**34, 2**33, 2**32)
PAGE = 4096
# Plans kept: for training, for the last sizes predicted.
PLANS = 4


class Engine:
    """A graph made fast: the same parameters, gradients and buffers, by other roads.

        with Engine(graph, loss, workers=4) as engine:
            loss = engine.step(images, labels, optimiser=SGD(graph.parameters, 0.01))
            scores = engine.predict(images)

    workers      processes that share each batch; None takes as many as BLAS has threads here
    loss         a CrossEntropyLoss, for `step`
    to_inputs    whether `backward` also returns the gradients by the inputs
    algorithms   the name of the algorithm to take, by convolution's node; `forms.algorithms_for` tells the names

    Results are those of the graph's own passes up to rounding: in float32 Winograd's convolution errs by about 3e-6 of
    the largest value where the direct one errs by 2e-7. Modes, options, frozen layers and replaced operations are taken
    as they are at each call. A node that the engine has no form for runs as it is, in this process.

    Raises OptionError for a loss or an algorithm that it does not know, DtypeError for a graph of other floats than
    float32 and float64, BackendError for one on a device; WorkerError if a worker dies.
    """

    def __init__(
        self,
        graph: Graph,
        loss: CrossEntropyLoss | None = None,
        workers: int | None = 1,
        to_inputs: bool = False,
        algorithms: Mapping[str, str] | None = None,
    ) -> None:
        graph.check_built()
        if loss is not None and not can_fuse(loss, graph):
            raise OptionError(f"the engine's loss is a CrossEntropyLoss of mean or sum, of one output; got {loss!r}")
        for name in algorithms or {}:
            if name not in graph.nodes or not isinstance(graph.nodes[name].layer, Conv2d | ConvTranspose2d):
                raise OptionError(f"algorithms: {graph.name} has no convolution {name!r} to choose an algorithm for")
        self.graph, self.loss, self.to_inputs = graph, loss, to_inputs
        self.algorithms = dict(algorithms or {})
        self.workers = blas_threads() if workers is None else workers
        self._plans: dict[Key, Plan] = {}
        self._key: Key | None = None  # of the last forward pass that can go back
        self._begin(graph.dtype or np.dtype(np.float32))

    def _begin(self, dtype: np.dtype) -> None:
        """The crew, and what belongs to the float type."""
        self._check_place()
        if dtype not in (np.float32, np.float64):
            raise DtypeError(
                f"{self.graph.name}: the engine computes in float32 or float64, and the network is {dtype}; use "
                "graph.astype('float32')"
            )
        self._dtype = dtype
        self._plans.clear()
        self._crew = self._new_crew()
        self._shared = self._crew.arena
        self._own = reserve(0, shared=False)
        if self._crew.count > 1:
            for layer in self._layers():
                layer.rebind(shared)  # what lies there already stays as it is
        self._arrays = self._arrays_now()
        self._taken: Key | None = None  # whose settings the layers of another process have

    def _new_crew(self) -> Crew:
        if self.workers == 1:
            return Crew(1, self._obey, 0)
        for size in ARENAS[:-1]:
            with suppress(MemoryError):
                return Crew(self.workers, self._obey, size)
        return Crew(self.workers, self._obey, ARENAS[-1])

    # ------------------------------------------------------------------------------------------------ for the user

    def forward(self, *inputs: np.ndarray) -> Any:
        """As `Graph.forward`."""
        key = self._filled(inputs, backward=True)
        self._crew.run(("forward", as_bytes(key), self._draws()))
        self._key = key
        return self._answers(key)

    def backward(self, dy: Any) -> Any:
        """As `Graph.backward`: add to every parameter's gradient; returns those by the inputs if `to_inputs`."""
        if self._key is None:
            raise GraphError(f"{self.graph.name}: backward needs a forward pass first")
        plan = self._plans[self._key]
        dys = dy if isinstance(dy, tuple | list) else (dy,)
        check_count(self.graph.name, "gradients, one for each output,", len(dys), self.graph.outputs)
        for node, exit_, gradient in zip(self.graph.outputs, plan.exits, dys, strict=True):
            if gradient is None:
                exit_.answer.whole.fill(0)
            else:
                what = f"{self.graph.name}: dy of output {node.name!r}"
                check_gradient(gradient, exit_.answer.whole.shape, self._dtype, what)
                exit_.answer.whole[...] = gradient
        key, self._key = self._key, None
        self._crew.run(("backward", as_bytes(key), self._draws()))
        return one_or_several(plan.input_gradients()) if self.to_inputs else None

    def step(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        pixel_weight: np.ndarray | None = None,
        *,
        optimiser: Optimiser | None = None,
    ) -> float:
        """Forward, loss and backward at once; returns the loss.

        images      (N, C, H, W); labels (N, H, W) of the output's height and width, pixel_weight likewise or None
        optimiser   None: add to every parameter's gradient. Else update the parameters, as `zero_grad` before and
                    `optimiser.step` afterwards would, to the bit, but not where the loss is NaN or infinite. One worker
                    alone updates a weight as soon as it has its gradient, which is then kept nowhere: `grad` is left as
                    it was there, and a step that an error ends has updated some weights and not others

        Raises LabelError or ShapeError for labels that do not fit, as the loss does.
        """
        if self.loss is None:
            raise GraphError("the engine was given no loss: pass loss=CrossEntropyLoss(...)")
        key = self._filled((images,), backward=True, with_loss=True)
        loss = self._plans[key].loss
        assert loss is not None
        loss.take(labels, pixel_weight)
        self._key = None
        message = "step", as_bytes(key), self._draws(), loss.by_pixel
        if optimiser is None:
            self._crew.run((*message, False))
        elif self._crew.count == 1 and has_ordinary_step(optimiser):
            updates = Updates(optimiser, self._plans[key].given_whole)
            self._clear_gradients(besides=updates.parameters)
            with self._plans[key].worker.updating(updates):
                self._crew.run((*message, False))
            if np.isfinite(loss.value):
                optimiser.step(updates.names)
        else:  # a worker that dies would leave some parameters updated, and others not
            self._clear_gradients(besides=self._plans[key].given_whole)
            self._crew.run((*message, True))
            if np.isfinite(loss.value):
                optimiser.step()
        return loss.value

    def _clear_gradients(self, besides: list[Parameter]) -> None:
        """Set the gradients of all trained parameters but some to zero; frozen ones' may never have been touched."""
        those = {id(parameter) for parameter in besides}
        for parameter in self.graph.parameters.values():
            if parameter.trainable and id(parameter) not in those:
                parameter.grad.fill(0)

    def predict(self, *inputs: np.ndarray) -> Any:
        """As `Graph.predict`: the output in evaluation mode."""
        self._key = None
        with self.graph.evaluating():
            key = self._filled(inputs, backward=False)
            self._crew.run(("forward", as_bytes(key), self._draws()))
        return self._answers(key)

    def plan(self, *input_shapes: Shape, training: bool = True) -> Plan:
        """The plan for inputs of these shapes, to look at. Raises ShapeError for shapes that the graph cannot take."""
        check_count(self.graph.name, "input shapes", len(input_shapes), self.graph.inputs)
        if training:
            return self._plan(self._key_of(input_shapes, True, self.loss is not None))
        with self.graph.evaluating():
            return self._plan(self._key_of(input_shapes, False, False))

    def close(self) -> None:
        """End the workers; the engine can be used no more."""
        self._crew.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *problem: Any) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------------- the way there

    def _filled(self, inputs: tuple[np.ndarray, ...], backward: bool, with_loss: bool = False) -> Key:
        """The key of the plan for these inputs, which now lie in its memory."""
        self._check_place()
        check_count(self.graph.name, "inputs", len(inputs), self.graph.inputs)
        for node, x in zip(self.graph.inputs, inputs, strict=True):
            check_input(self.graph, node, x)
            if x.ndim < 2 or 0 in x.shape:
                raise ShapeError(f"{self.graph.name}: input {node.name!r} holds nothing; got shape {x.shape}")
        dtype = self.graph.dtype or inputs[0].dtype  # of the parameters; a graph may have none
        rebound = any(now is not before for now, before in zip(self._arrays_now(), self._arrays, strict=True))
        if rebound or dtype != self._dtype:  # arrays are rebound by `Graph.astype`; the other ranks must learn of it
            self._crew.close()
            self._begin(dtype)
        key = self._key_of([x.shape for x in inputs], backward, with_loss)
        for planes, x in zip(self._plan(key).inputs, inputs, strict=True):
            planes.whole[...] = x
        return key

    def _check_place(self) -> None:
        if backend_in_force() != "numpy":
            raise BackendError(f"the engine computes on NumPy; leave the block of backend({backend_in_force()!r})")
        if self.graph.device != "cpu":
            raise BackendError(
                f"the engine computes on NumPy; bring {self.graph.name} back by to('cpu'), or run it on its device, "
                f"{self.graph.device!r}, without an engine"
            )

    def _layers(self) -> list[Layer]:
        return [*self.graph.layers.values(), *([] if self.loss is None else [self.loss])]

    def _arrays_now(self) -> list[np.ndarray]:
        """The arrays that workers share with this process."""
        arrays = []
        for layer in self._layers():
            for parameter in layer.parameters.values():
                arrays += [parameter.data, parameter.grad]
            arrays += layer.buffers.values()
        return arrays

    def _key_of(self, shapes: Any, backward: bool, with_loss: bool) -> Key:
        settings = tuple(map(settings_of, self._layers()))
        return Key(tuple(map(tuple, shapes)), backward, with_loss, settings, replaced_operations())

    def _draws(self) -> tuple[tuple[int, int], ...]:
        """What the dropout masks follow from."""
        return tuple((layer.seed, layer.calls) for layer in self._dropouts())

    def _dropouts(self) -> list[Dropout]:
        return [layer for layer in self.graph.layers.values() if isinstance(layer, Dropout)]

    def _answers(self, key: Key) -> Any:
        return one_or_several([step.answer.whole.copy() for step in self._plans[key].exits])

    # ------------------------------------------------------------------------------------------------ in every process

    def _plan(self, key: Key) -> Plan:
        """This process's plan, with its place in memory; made at the first time."""
        if self._crew.rank and key is not self._taken:  # the layers here are copies, as they were at the fork
            take(self._layers(), key.settings)
            self._taken = key
        plan = self._plans.pop(key, None)
        if plan is None or plan.worker.number != self._crew.rank:  # or made before the fork, for rank 0
            with pretend_replaced(key.replaced):
                plan = self._planned(key, self._can_divide(key.shapes))
                if plan.worker.apart and not plan.is_all_fused:
                    plan = self._planned(key, False)
            while len(self._plans) >= PLANS:
                del self._plans[next(iter(self._plans))]
        self._plans[key] = plan  # the last used at the end
        if self._crew.count > 1 and not plan.worker.apart:
            begin = -(-plan.shared_nbytes // PAGE) * PAGE  # of what is behind the lasting values
            if begin + plan.own_nbytes > self._crew.arena.size:
                needed, given = (begin + plan.own_nbytes) / 1e9, self._crew.arena.size / 1e9
                raise MemoryError(
                    f"{self.graph.name} needs {needed:.1f} GB for inputs of {', '.join(map(str, key.shapes))}, and the "
                    f"system gives workers {given:.1f} GB to share: use a smaller batch, or one worker"
                )
            plan.settle(self._crew.arena[: plan.shared_nbytes], self._crew.arena[begin:])
            return plan
        if self._own.size < plan.own_nbytes:
            self._own = reserve(plan.own_nbytes, shared=False)
        if self._crew.count == 1 and self._shared.size < plan.shared_nbytes:
            self._shared = reserve(plan.shared_nbytes, shared=False)
        plan.settle(self._shared, self._own)
        return plan

    def _can_divide(self, shapes: tuple[Shape, ...]) -> bool:
        """Whether each worker can have images of its own, as many as the others."""
        images = {shape[0] for shape in shapes}
        return len(images) == 1 and images.pop() % self._crew.count == 0 and not self.to_inputs

    def _planned(self, key: Key, apart: bool) -> Plan:
        worker = Worker(self._dtype, self._crew if self._crew.count > 1 else None, apart)
        loss = self.loss if key.with_loss else None
        return Plan(worker, self.graph, key.shapes, loss, key.backward, self.to_inputs, self.algorithms)

    def _obey(self, message: tuple) -> None:
        what, key, draws, *of_step = message
        plan = self._plan(from_bytes(key))
        for layer, draw in zip(self._dropouts(), draws, strict=True):
            layer.seed, layer.calls = draw
        anew = False
        if plan.loss is not None and of_step:
            plan.loss.by_pixel, anew = of_step
        with rows_in_place():
            if what in ("forward", "step"):
                plan.forward()
            if what in ("backward", "step"):
                plan.backward(anew)


def has_ordinary_step(optimiser: Any) -> bool:
    """Whether an optimiser's step is an `update` of each weight by itself: a subclass, or one changed, may do more."""
    from minisegnet.training.optimisers import Optimiser

    return getattr(optimiser.step, "__func__", None) is Optimiser.step


def can_fuse(loss: Any, graph: Graph) -> bool:
    """Whether the engine computes this loss itself."""
    return type(loss) is CrossEntropyLoss and loss.reduction != "none" and len(graph.outputs) == 1
