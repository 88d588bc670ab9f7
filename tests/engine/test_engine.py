"""The engine as a user meets it: modes, shapes and parameters that change, errors, what stands at a node."""

import copy

import numpy as np
import pytest
from conftest import assert_close

import minisegnet
from minisegnet import models
from minisegnet.engine.engine import PLANS, Engine
from minisegnet.engine.rows_in_place import VALUES
from minisegnet.errors import BackendError, DtypeError, GraphError, OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, CrossEntropyLoss, Dropout, ReLU
from minisegnet.layers.base import Layer
from minisegnet.numpy_ops import relu_backward, relu_forward

SEED = 11


def unet(**options):
    return models.unet(3, width=4, depth=2, seed=SEED, **options).astype(np.float64)


def images(*shape):
    return np.random.default_rng(SEED).standard_normal(shape)


def gradients(graph, run):
    graph.zero_grad()
    run()
    return {name: parameter.grad.copy() for name, parameter in graph.parameters.items()}


def check_gradients(graph, engine, x, bound=1e-11):
    """One pass forward and back by the layers and by the engine, from the same state."""
    state = graph.state_dict()
    dy = np.random.default_rng(SEED + 1).standard_normal(graph.output_shape(x.shape))
    graph.reseed(SEED)

    def by_layers():
        graph.forward(x)
        graph.backward(dy, to_inputs=False)

    def by_engine():
        engine.forward(x)
        engine.backward(dy)

    wanted = gradients(graph, by_layers)
    graph.load_state_dict(state)
    graph.reseed(SEED)
    for name, gradient in gradients(graph, by_engine).items():
        assert_close(gradient, wanted[name], bound, name)


@pytest.mark.parametrize("workers", [1, 2])
def test_shapes_may_change_from_call_to_call(workers):
    graph = unet()
    with Engine(graph, workers=workers) as engine:
        for shape in [(2, 3, 8, 8), (1, 3, 12, 20), (2, 3, 8, 8), (3, 3, 9, 7), (4, 3, 8, 12), (2, 3, 16, 8)]:
            x = images(*shape)
            assert_close(engine.predict(x), graph.predict(x), 1e-11)
            check_gradients(graph, engine, x)
        assert len(engine._plans) <= PLANS


@pytest.mark.parametrize("workers", [1, 2])
def test_what_changes_between_calls_is_seen(workers):
    """Weights filled in, modes, frozen layers, another float type, arrays that were rebound."""
    graph = unet(dropout=0.4)
    x = images(2, 3, 8, 12)
    with Engine(graph, workers=workers) as engine:
        check_gradients(graph, engine, x)
        for parameter in graph.parameters.values():
            parameter.data *= 1.1
        check_gradients(graph, engine, x)
        graph.eval()
        check_gradients(graph, engine, x)
        graph.train()
        graph.freeze("encoder0")
        check_gradients(graph, engine, x)
        graph.astype(np.float32).astype(np.float64)  # the same type, other arrays
        check_gradients(graph, engine, x)
        graph.astype(np.float32)
        assert engine.predict(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("workers", [1, 2])
def test_options_that_change_between_calls_are_seen(workers):
    """By every worker, to and fro: what is dropped, normalisations' numbers, a convolution's padding, the loss's."""
    graph, loss = unet(dropout=0.4), CrossEntropyLoss()
    x, labels = images(2, 3, 8, 12), np.random.default_rng(SEED).integers(0, 3, (2, 8, 12))
    labels[0, :3] = 2
    of_kind = lambda kind: [layer for layer in graph.layers.values() if isinstance(layer, kind)]  # noqa: E731
    wide = [graph.nodes[name].layer for name in ("bottom.0", "bottom.3")]
    changes = [
        ([loss], {"ignore_index": 2}),
        (of_kind(Dropout), {"p": 0.8}),
        (of_kind(BatchNorm2d), {"eps": 0.2, "momentum": None}),
        ([loss], {"reduction": "sum"}),
        (wide, {"dilation": 2, "padding": 2}),
    ]
    before = [[{name: getattr(layer, name) for name in options} for layer in layers] for layers, options in changes]
    changes += [([layer], old) for (layers, _), olds in zip(changes, before, strict=True)
                for layer, old in zip(layers, olds, strict=True)]  # fmt: skip
    changes += 2 * [(of_kind(Dropout), {"p": p}) for p in (0.2, 0.7)]  # to plans that there are already
    changes += 2 * [(of_kind(BatchNorm2d), {"eps": eps}) for eps in (0.1, 0.3)]
    with Engine(graph, loss, workers=workers) as engine:
        for layers, options in changes:
            for layer in layers:
                for name, option in options.items():
                    setattr(layer, name, option)
            check_step(graph, loss, engine, x, labels)


def check_step(graph, loss, engine, x, labels):
    """A step by the layers and by the engine, from the same state: loss, gradients, running statistics."""
    state = graph.state_dict()
    graph.reseed(SEED)
    graph.zero_grad()
    value, cache = loss.forward(graph.forward(x), labels)
    graph.backward(loss.backward(1.0, cache), to_inputs=False)
    wanted = {name: parameter.grad.copy() for name, parameter in graph.parameters.items()}
    wanted |= {name: buffer.copy() for name, buffer in graph.buffers.items()}
    graph.load_state_dict(state)
    graph.reseed(SEED)
    graph.zero_grad()
    assert engine.step(x, labels) == pytest.approx(float(value), rel=1e-11)
    for name, array in wanted.items():
        got = graph.parameters[name].grad if name in graph.parameters else graph.buffers[name]
        assert_close(np.asarray(got, float), np.asarray(array, float), 1e-11, name)


def test_a_copied_graph_is_shared_with_workers():
    graph = copy.deepcopy(unet())
    x = images(2, 3, 8, 8)
    with Engine(graph, workers=2) as engine:
        check_gradients(graph, engine, x)
        for parameter in graph.parameters.values():
            parameter.data *= 0.9
        check_gradients(graph, engine, x)


def test_running_statistics_move_as_in_the_layers():
    graph, other = unet(), unet()
    with Engine(graph, workers=2) as engine:
        for _ in range(3):
            x = images(2, 3, 8, 8)
            engine.forward(x)
            other.forward(x)
    for name, buffer in graph.buffers.items():
        assert_close(np.asarray(buffer, float), np.asarray(other.buffers[name], float), 1e-12, name)


class Doubled(Layer):
    """A user's own layer, which the engine has no form for: with a parameter, and a count of its own."""

    def __init__(self, channels):
        super().__init__()
        from minisegnet.layers.base import Parameter

        self.scale = self.parameters["scale"] = Parameter((channels,))
        self.scale.data.fill(2)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.scale.data[:, None, None], x

    def backward(self, dy, x):
        self.scale.accumulate((dy * x).sum((0, 2, 3)))
        return dy * self.scale.data[:, None, None]

    def output_shape(self, x):
        return x


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_users_own_layer(workers):
    graph = Graph("with a layer of its own")
    x = graph.chain("body", graph.input("image", 3), Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), Doubled(4), ReLU())
    graph.output("score", Conv2d(4, 2, 1), x).initialise(SEED).astype(np.float64)
    with Engine(graph, workers=workers) as engine:
        check_gradients(graph, engine, images(2, 3, 7, 9))
        assert graph.nodes["body.2"].layer.calls == 2  # one pass each; not once for every worker


def test_steps_compute_rows_in_place():
    found = []

    def mine(x):
        found.append(np.getbufsize())
        return relu_forward(x)

    outside = np.getbufsize()
    with minisegnet.replace(relu_forward=mine, relu_backward=relu_backward), Engine(unet(), workers=1) as engine:
        engine.forward(images(1, 3, 8, 8))
    assert set(found) == {VALUES}
    assert np.getbufsize() == outside != VALUES


@pytest.mark.parametrize("workers", [1, 2])
def test_a_replaced_operation_is_called(workers):
    calls = []

    def mine(x):
        calls.append(x.shape)
        return relu_forward(x)

    graph = unet()
    x = images(2, 3, 8, 8)
    with Engine(graph, workers=workers) as engine:
        check_gradients(graph, engine, x)
        with minisegnet.replace(relu_forward=mine, relu_backward=relu_backward):
            check_gradients(graph, engine, x)
        assert len(calls) == 2 * sum(isinstance(node.layer, ReLU) for node in graph.layer_nodes())
        check_gradients(graph, engine, x)
        assert len(calls) == 2 * sum(isinstance(node.layer, ReLU) for node in graph.layer_nodes())


def test_several_inputs_and_outputs():
    graph = Graph("two and two")
    a, b = graph.input("a", 2), graph.input("b", 3)
    a = graph.add("left", Conv2d(2, 4, 3, padding=1), a)
    b = graph.add("right", Conv2d(3, 4, 1), b)
    both = graph.add("both", minisegnet.layers.Concat(), a, b)
    graph.output("one", Conv2d(8, 2, 3, padding=1), both)
    graph.output("other", Conv2d(4, 5, 1), a).initialise(SEED).astype(np.float64)
    rng = np.random.default_rng(SEED)
    xs = rng.standard_normal((2, 2, 6, 7)), rng.standard_normal((2, 3, 6, 7))
    ys = graph.forward(*xs)
    dys = tuple(rng.standard_normal(y.shape) for y in ys)
    wanted = gradients(graph, lambda: graph.backward(dys))
    with Engine(graph, workers=2) as engine:
        for fast, y in zip(engine.forward(*xs), ys, strict=True):
            assert_close(fast, y, 1e-12)
        for name, gradient in gradients(graph, lambda: engine.backward(dys)).items():
            assert_close(gradient, wanted[name], 1e-12, name)
        graph.forward(*xs)
        wanted = gradients(graph, lambda: graph.backward((None, dys[1])))
        engine.forward(*xs)
        for name, gradient in gradients(graph, lambda: engine.backward((None, dys[1]))).items():
            assert_close(gradient, wanted[name], 1e-12, name)


def test_compiled_for_a_shape():
    graph = unet()
    x, labels = images(2, 3, 8, 12), np.random.default_rng(SEED).integers(0, 3, (2, 8, 12))
    with graph.compile((2, 3, 8, 12), loss=CrossEntropyLoss()) as plan:
        loss = plan.step(x, labels)
        assert loss == pytest.approx(float(CrossEntropyLoss().forward(graph.forward(x), labels)[0]), rel=1e-10)
        assert_close(plan.predict(x), graph.predict(x), 1e-11)
        with pytest.raises(ShapeError, match=r"compiled for inputs of shape \(2, 3, 8, 12\); got \(1, 3, 8, 12\)"):
            plan.predict(x[:1])


def test_the_plan_as_a_table_and_a_picture(tmp_path):
    plan = unet().compile((2, 3, 8, 12), loss=CrossEntropyLoss())
    table = plan.explain()
    for word in ("encoder0.0 .. encoder0.2", "Winograd F(4x4, 3x3)", "(2, 4, 8, 12)", "MB if none of them shared"):
        assert word in table, table
    assert "ordinary" not in table
    figure = plan.draw_memory(tmp_path / "memory.png")
    assert (tmp_path / "memory.png").stat().st_size > 10_000
    assert len(figure.axes[0].patches) == len(plan.plan.buffers)


def in_place(plan):
    """Names of the values whose gradients take their place, after a look at the memory itself."""
    values = {value for _, value, _ in plan.buffers if value.wants_gradient}
    for value in values:
        assert np.shares_memory(value.data, value.gradient) == value.in_place, value.name
    return {value.name for value in values if value.in_place}


def test_gradients_take_the_place_of_values_that_one_step_reads():
    graph, shape = unet(), (2, 3, 8, 12)
    with Engine(graph, CrossEntropyLoss()) as engine:
        found = in_place(engine.plan(shape))
        assert found >= {"encoder0.2", "pool0", "encoder1.2", "bottom.5", "up1", "decoder0.5"}
        assert not found & {"encoder0.5", "encoder1.5"}  # which two steps read
        assert not in_place(engine.plan(shape, training=False))
    with Engine(graph, CrossEntropyLoss(), algorithms={"encoder1.3": "direct"}) as engine:
        assert in_place(engine.plan(shape)) == found - {"encoder1.2"}  # of which windows that overlap are read
    with Engine(graph, CrossEntropyLoss(), algorithms={"encoder1.0": "ordinary"}) as engine:
        assert in_place(engine.plan(shape)) == found - {"pool0"}  # whose reader may look at it whenever it likes


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("bias", [0.3, 20.0])  # of normalisations: with a large one, products with y less its mean
def test_gradients_in_place_are_those_that_lie_apart(workers, bias, monkeypatch):
    graph = unet()
    for layer in graph.layers.values():
        if isinstance(layer, BatchNorm2d):
            layer.bias.data[...] = bias
    x, labels = images(2, 3, 8, 12), np.random.default_rng(SEED).integers(0, 3, (2, 8, 12))
    found, state = [], graph.state_dict()
    for _ in range(2):
        graph.load_state_dict(state)
        with Engine(graph, CrossEntropyLoss(), workers) as engine:
            found.append(gradients(graph, lambda e=engine: e.step(x, labels)))
            assert any(value.in_place for _, value, _ in engine.plan(x.shape).buffers) == (len(found) == 1)
        monkeypatch.setattr("minisegnet.engine.building.Builder._let_gradients_take_places", lambda builder: None)
    for name, gradient in found[0].items():
        assert np.array_equal(gradient, found[1][name]), name


def test_algorithms_can_be_forced():
    graph = Graph("one of each kind")
    x = graph.chain("body", graph.input("image", 3), Conv2d(3, 5, 3, padding=1), ReLU(), Conv2d(5, 6, 3, padding=1))
    x = graph.add("up", minisegnet.layers.ConvTranspose2d(6, 4, 2, stride=2), x)
    graph.output("score", Conv2d(4, 2, 1), x).initialise(SEED).astype(np.float64)
    x = images(2, 3, 7, 9)
    choices = {
        "body.0": ("columns", "winograd", "winograd_by_channels", "direct", "ordinary"),
        "body.2": ("winograd", "winograd_by_channels", "direct", "ordinary"),
        "up": ("stamps", "ordinary"),
        "score": ("product", "direct", "ordinary"),
    }
    used = set()
    for node, names in choices.items():
        for name in names:
            with Engine(graph, algorithms={node: name}) as engine:
                check_gradients(graph, engine, x)
                (step,) = (s for s in engine.plan(x.shape).steps if graph.nodes[node] in s.nodes)
                used.add((node, step.algorithm))
        assert len([algorithm for of, algorithm in used if of == node]) == len(names)
    with pytest.raises(OptionError, match="cannot be computed by 'columns' here; what fits it is winograd, wino"):
        Engine(graph, algorithms={"body.2": "columns"}).plan(x.shape)
    with pytest.raises(OptionError, match=r"no convolution 'body\.1'"):
        Engine(graph, algorithms={"body.1": "direct"})


def test_what_fits_one_convolution_does_not_depend_on_another_s():
    graph = Graph("two that read the image")
    image = graph.input("image", 3)
    a, b = (graph.add(name, Conv2d(3, 4, 3, padding=1), image) for name in "ab")
    graph.output("sum", minisegnet.layers.Add(), a, b).initialise(SEED).astype(np.float64)
    for one in ("columns", "winograd", "direct", "ordinary"):
        for other in ("columns", "winograd", "direct", "ordinary"):
            with Engine(graph, algorithms={"a": one, "b": other}) as engine:
                check_gradients(graph, engine, images(2, 3, 7, 9))


def test_a_graph_without_parameters_takes_any_float_type():
    graph = Graph("only a ReLU")
    graph.output("relu", ReLU(), graph.input("image", 2))
    with Engine(graph) as engine:
        for dtype in (np.float64, np.float32):
            x = images(1, 2, 3, 5).astype(dtype)
            assert np.array_equal(engine.predict(x), np.maximum(x, 0)) and engine.predict(x).dtype == dtype


def test_errors():
    graph = unet()
    x = images(1, 3, 8, 8)
    with Engine(graph) as engine:
        with pytest.raises(GraphError, match="forward pass first"):
            engine.backward(x)
        with pytest.raises(ShapeError, match="3 channels"):
            engine.predict(images(1, 4, 8, 8))
        with pytest.raises(DtypeError, match="float32"):
            engine.predict(x.astype(np.float32))
        with pytest.raises(GraphError, match="number of inputs is 1"):
            engine.predict(x, x)
        y = engine.forward(x)
        with pytest.raises(ShapeError, match="dy of output"):
            engine.backward(y[:, :2])
        with minisegnet.backend("reference"), pytest.raises(BackendError, match="NumPy"):
            engine.predict(x)
        with pytest.raises(ShapeError):
            engine.predict(images(0, 3, 8, 8))
    with pytest.raises(GraphError, match="no input"):
        Engine(Graph("empty"))
    engine = Engine(graph)
    graph.to("emulator")
    with pytest.raises(BackendError, match=r"bring U-Net back by to\('cpu'\)"):
        engine.predict(x)
    with pytest.raises(BackendError, match="or run it on its device, 'emulator'"):
        graph.compile(x.shape)
    graph.to("cpu")
    with pytest.raises(DtypeError, match="in float32 or float64, and the network is float16"):
        Engine(graph.astype(np.float16))


def test_one_value_a_channel_has_no_statistics():
    graph = Graph("one value")
    x = graph.chain("body", graph.input("image", 2), Conv2d(2, 3, 3, padding=1), BatchNorm2d(3))
    graph.output("score", Conv2d(3, 2, 1), x)
    for workers in (1, 2):
        with Engine(graph, workers=workers) as engine:
            with pytest.raises(ShapeError, match="more than one value a channel"):
                engine.forward(np.zeros((1, 2, 1, 1), np.float32))
            engine.predict(np.zeros((1, 2, 1, 1), np.float32))
            assert np.isfinite(engine.forward(images(2, 2, 1, 1).astype(np.float32))).all()
