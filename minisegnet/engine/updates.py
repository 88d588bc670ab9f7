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
        found = {name: parameter for name, parameter in optimiser.parameters.items() if id(parameter) in wanted}
        self.names, self.parameters = list(found), list(found.values())  # those that the optimiser has
        self._name = {id(parameter): name for name, parameter in found.items()}
        self._counted: set[str] = set()
        self.dropped = False  # gradients come, and change nothing

    def take(self, parameter: Parameter, gradient: np.ndarray, part: Part = ...) -> bool:
        """Update the parameter, or a part of it, by its gradient; False if it is none of these."""
        name = self._name.get(id(parameter))
        if name is None or self.dropped:
            return name is not None
        if name not in self._counted:
            self.optimiser.count(name)
            self._counted.add(name)
        self.optimiser.update_part(name, part, gradient)
        return True
