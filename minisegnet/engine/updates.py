"""Parameters that are updated as soon as their gradient is there, which is then never kept."""

from __future__ import annotations

from collections.abc import Iterable
from types import EllipsisType
from typing import TYPE_CHECKING

import numpy as np

from minisegnet.layers.base import Parameter

if TYPE_CHECKING:
    from minisegnet.training.optimisers import Optimiser

Part = slice | tuple[slice, ...] | EllipsisType  # of a parameter's array


class Updates:
    """The updates of one step of training, within the way back: a gradient is used up while it lies in the cache.

    Gradients would else take as much memory as the parameters, and each be cleared, added to, and read once more. Where
    a network has most of its weights in a few layers that are fully connected, that is a good part of a step.

    parameters   which of the optimiser's are to be updated in this way: of each the step that gives its gradient must
                 give it whole, or part by part, and not read the parameter (or that part) afterwards

    Source: Lv et al. 2023, Full Parameter Fine-tuning for Large Language Models with Limited Resources, section 3.1.
    """

    def __init__(self, optimiser: Optimiser, parameters: Iterable[Parameter]) -> None:
        wanted = {id(parameter) for parameter in parameters}
        self.optimiser = optimiser
        self._names = {id(p): name for name, p in optimiser.parameters.items() if id(p) in wanted and p.trainable}
        self._counted: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The optimiser's names for the parameters that are updated in this way."""
        return list(self._names.values())

    def has(self, parameter: Parameter) -> bool:
        """Whether the parameter is updated in this way."""
        return id(parameter) in self._names

    def take(self, parameter: Parameter, gradient: np.ndarray, part: Part = ...) -> bool:
        """Update the parameter, or a part of it, by its gradient; False if it is none of these."""
        if not self.has(parameter):
            return False
        name = self._names[id(parameter)]
        if name not in self._counted:
            self.optimiser.count(name)
            self._counted.add(name)
        self.optimiser.update_part(name, part, gradient)
        return True
