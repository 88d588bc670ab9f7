"""What the engine's tests share: a graph compiled is held against its own passes, layer by layer."""

import numpy as np

from minisegnet.engine.borders import Ordinary
from minisegnet.layers import Dropout


def assert_agrees(
    graph, *shapes, workers=1, bound=1e-12, to_inputs=True, fused=True, sample=np.random.Generator.normal
):
    """Two passes of each, in float64: outputs, every gradient (summed over both passes) and every running statistic.

    bound   of the error, by the largest value of an array where that is above 1
    fused   False: some nodes may run as they are; their names are returned
    sample  draws the inputs: sample(rng, size=shape)
    """
    rng = np.random.default_rng(len(graph.nodes))
    graph.astype(np.float64)
    inputs = [sample(rng, size=shape).astype(np.float64) for shape in shapes]
    dys = [rng.standard_normal(graph.shapes(*shapes)[node.name]) for node in graph.outputs]
    state, draws = graph.state_dict(), [(layer.seed, layer.calls) for layer in _dropouts(graph)]

    want = _two_passes(graph, graph.forward, lambda dy: graph.backward(dy, to_inputs), inputs, dys)
    graph.load_state_dict(state)
    for layer, draw in zip(_dropouts(graph), draws, strict=True):
        layer.seed, layer.calls = draw
    with graph.compile(*shapes, workers=workers, to_inputs=to_inputs) as compiled:
        ordinary = [step.name for step in compiled.plan.steps if isinstance(step, Ordinary)]
        assert not (fused and ordinary)
        got = _two_passes(graph, compiled.forward, compiled.backward, inputs, dys)
    for name, array in want.items():
        assert_near(got[name], array, bound, name)
    return ordinary


def _two_passes(graph, forward, backward, inputs, dys):
    """Everything that they leave, by name."""
    left = {}
    graph.zero_grad()
    for number in (1, 2):
        outputs = _several(forward(*inputs))
        gradients = _several(backward(dys if len(dys) > 1 else dys[0]))
        left |= {f"output {i} of pass {number}": y for i, y in enumerate(outputs)}
        left |= {f"gradient {i} of pass {number}": dx for i, dx in enumerate(gradients) if dx is not None}
    left |= {f"gradient of {name}": parameter.grad.copy() for name, parameter in graph.parameters.items()}
    return left | {name: buffer.copy() for name, buffer in graph.buffers.items()}


def assert_near(got, want, bound, name=""):
    """Equal up to the bound times the largest value, or 1."""
    assert got.shape == want.shape, name
    with np.errstate(invalid="ignore"):
        largest = np.max(np.abs(want), initial=1, where=np.isfinite(want))
    np.testing.assert_allclose(got, want, rtol=0, atol=bound * largest, err_msg=name)


def _several(value):
    return value if isinstance(value, tuple) else (value,)


def _dropouts(graph):
    return [layer for layer in graph.layers.values() if isinstance(layer, Dropout)]
