"""Checking a backward pass against central differences: of an operation, a layer, a loss or a whole network.

    print(check_operation("conv2d", x, weight, bias, stride=2))              # one of ours, by name
    print(check_operation(my_forward, my_backward, x, weight, bias))         # your own pair
    print(check_layer(BatchNorm2d(3), x))
    print(check_loss(CrossEntropyLoss(), logits, labels))
    print(check_graph(unet(2, width=4, depth=2), images))
    check_layer(layer, x).raise_if_wrong()                                   # in a test

Everything is computed in float64 and on copies: nothing that you give is changed. The upstream gradient dy is random,
since many a wrong backward pass is right for a dy of all ones. Each element is moved up and down by a small step (of a
large array, some drawn at random); then each array as a whole is moved along random directions, so that no element goes
unseen, and where a direction disagrees, halving it finds the element. The relative error of an array is

    max |analytic - numeric| / max(max |analytic|, max |numeric|, 1e-3).

Where the function has a corner (ReLU at 0, ties in max pooling) it has no one slope: those below and above differ,
however small the step, and backward may give either or one between. Such an element is listed as a kink; a value that
is not between is wrong, kink or not. Along directions the check is then repeated at a point nearby that has no kinks,
and along one on which equal values move alike, so that a tie stays a tie (to credit all winners of it is wrong).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minisegnet import functional
from minisegnet.errors import BackendError
from minisegnet.graph import Graph
from minisegnet.layers.base import Layer
from minisegnet.nodes import output_size
from minisegnet.teaching.examination import examine
from minisegnet.teaching.gradient_report import Report
from minisegnet.teaching.subjects import GraphSubject, LayerSubject, OperationSubject, argument_names

BOUND = 1e-6
ELEMENTS = 256
DIRECTIONS = 2


def check_operation(
    operation: str | Callable,
    *inputs: Any,
    differentiable: Sequence[str] | None = None,
    upstream_seed: int = 0,
    bound: float = BOUND,
    elements: int = ELEMENTS,
    directions: int = DIRECTIONS,
    **options: Any,
) -> Report:
    """Check an operation, a pair of functions that keeps the contract of `minisegnet.functional`.

        y, cache = forward(*inputs, **options);  gradients = backward(dy, cache)

    operation       the name of one of ours, such as "conv2d"; or your forward function, followed by your backward
    inputs          its arguments; float arrays have gradients, in this order (the arrays of a list one by one)
    options         further arguments by name; of your own functions, arrays among them count as having no gradients
    differentiable  names of the inputs that have gradients, if not all float arrays do; known for operations of ours
    upstream_seed, bound, elements, directions   see `minisegnet.teaching.examination.examine`

    Of an output that is several arrays, dy is the gradient by the first. Besides having the right gradients, the pair
    must leave its arguments and its cache alone, and take arrays of any strides. Float32 that turns into float64 is
    remarked.

    Raises BackendError for an unknown name or a missing backward, ShapeError or OptionError for inputs that check
    nothing, and whatever the pair itself raises.
    """
    if isinstance(operation, str):
        if operation not in functional.OPERATIONS:
            raise BackendError(f"there is no operation {operation!r}; choose one of {', '.join(functional.OPERATIONS)}")
        forward, backward = (getattr(functional, f"{operation}_{half}") for half in ("forward", "backward"))
    elif callable(operation) and inputs and callable(inputs[0]):
        forward, backward, *inputs = operation, *inputs  # type: ignore[assignment]
    else:
        raise BackendError("give an operation's name, or the forward and the backward function, and then the inputs")
    subject = OperationSubject(forward, backward, tuple(inputs), options, differentiable)
    return examine(subject, upstream_seed, bound, elements, directions)


def check_layer(
    layer: Layer,
    *inputs: Any,
    differentiable: Sequence[str] | None = None,
    upstream_seed: int = 0,
    bound: float = BOUND,
    elements: int = ELEMENTS,
    directions: int = DIRECTIONS,
    **options: Any,
) -> Report:
    """Check a layer, in the mode it is in: the gradients of its inputs and parameters, frozen ones too.

    A copy is checked, so that running statistics and gradients stay as they are; every forward pass begins from the
    same running statistics and the same dropout mask. Besides having the right gradients, the layer must add to
    `.grad`, and keep what backward needs in the cache.

    inputs, options   what `layer.forward` takes; the rest as for `check_operation`
    """
    return examine(LayerSubject(layer, inputs, options, differentiable), upstream_seed, bound, elements, directions)


def check_loss(
    loss: Layer | str | Callable,
    prediction: Any,
    *targets: Any,
    upstream_seed: int = 0,
    bound: float = BOUND,
    elements: int = ELEMENTS,
    directions: int = DIRECTIONS,
    **options: Any,
) -> Report:
    """Check a loss: the gradient of its first argument, as the others have none.

    loss     a layer such as CrossEntropyLoss(); the name of one of ours, such as "dice"; or your forward function,
             followed by your backward function
    targets  labels, or what else the loss takes after the prediction, and options by name

    The gradient that comes in is a number other than 1 (for reduction "none" an array), as in a sum of losses.
    """
    settings: dict[str, Any] = {"upstream_seed": upstream_seed, "bound": bound, "elements": elements}
    settings |= {"directions": directions} | options
    if isinstance(loss, Layer):
        return check_layer(loss, prediction, *targets, differentiable=argument_names(loss.forward, 1), **settings)
    if not isinstance(loss, str):
        settings["differentiable"] = argument_names(loss, 1)
    return check_operation(loss, prediction, *targets, **settings)


def check_graph(
    graph: Graph,
    *inputs: np.ndarray,
    upstream_seed: int = 0,
    bound: float = BOUND,
    elements: int = 4,
    directions: int = DIRECTIONS,
) -> Report:
    """Check a whole network, in the mode it is in: every parameter and input.

    A few elements of each array are moved one by one, the others along directions. Where something is wrong or sits on
    a kink, each layer is checked by itself at what it is given there, and the report names the nodes that are wrong.

    inputs   the network's inputs, as for `graph.forward`; the rest as for `check_operation`
    """
    subject = GraphSubject(graph, inputs)
    report = examine(subject, upstream_seed, bound, elements, directions)
    if report.kinks or not report.ok:
        _blame(subject, report)
    return report


def _blame(subject: GraphSubject, report: Report) -> None:
    """Check every layer by itself at what it is given, and tell which are wrong."""
    subject.held.put_back()
    shapes = {name: array.shape for name, array in subject.moved.items()}
    wrong = []
    for step in subject.graph.steps(*subject.inputs):
        size: dict[str, Any] = output_size(subject.graph.nodes[step.node], shapes)
        shapes[step.node] = (step.output[0] if isinstance(step.output, tuple) else step.output).shape
        alone = check_layer(step.layer, *step.inputs, bound=report.bound, elements=16, **size)
        if not alone.ok:
            wrong.append(f"{step.node} {step.layer.describe()}: {'; '.join([*alone.wrong, *alone.faults])}")
    if wrong:
        report.faults.append("wrong by themselves, at what they are given here:")
        report.faults += [f"  {told}" for told in wrong]
    elif not report.ok:
        report.hints.append("every layer is right by itself: look at how the nodes are joined")
