"""A graph compiled for inputs of one shape, as `Graph.compile` returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.engine.engine import Engine
from minisegnet.engine.plan import Plan
from minisegnet.errors import ShapeError
from minisegnet.shapes import Shape

if TYPE_CHECKING:
    from minisegnet.training.optimisers import Optimiser


class Compiled:
    """The fast path of a graph for one shape of its inputs; each method as that of `engine.Engine`, which it calls.

    plan   what will be done, in which memory
    """

    def __init__(self, engine: Engine, input_shapes: Sequence[Shape], training: bool) -> None:
        self.engine, self.input_shapes, self.training = engine, [tuple(shape) for shape in input_shapes], training
        self.plan: Plan = engine.plan(*self.input_shapes, training=training)

    def forward(self, *inputs: np.ndarray) -> Any:
        return self.engine.forward(*self._checked(inputs))

    def backward(self, dy: Any) -> Any:
        return self.engine.backward(dy)

    def step(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        pixel_weight: np.ndarray | None = None,
        *,
        optimiser: Optimiser | None = None,
    ) -> float:
        (images,) = self._checked((images,))
        return self.engine.step(images, labels, pixel_weight, optimiser=optimiser)

    def predict(self, *inputs: np.ndarray) -> Any:
        return self.engine.predict(*self._checked(inputs))

    def explain(self) -> str:
        """The plan as a table."""
        return self.plan.explain()

    def draw_memory(self, path: Any = None) -> Any:
        """A picture of which buffer lives when and where."""
        return self.plan.draw_memory(path)

    def close(self) -> None:
        """End the workers."""
        self.engine.close()

    def __enter__(self) -> Compiled:
        return self

    def __exit__(self, *problem: Any) -> None:
        self.close()

    def _checked(self, inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        given = [np.shape(x) for x in inputs]
        if given != self.input_shapes:
            raise ShapeError(
                f"{self.engine.graph.name} was compiled for inputs of shape {', '.join(map(str, self.input_shapes))}; "
                f"got {', '.join(map(str, given))}: compile it for that shape, or use engine.Engine, which takes any"
            )
        return inputs
