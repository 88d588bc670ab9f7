"""The sides that the benchmarks compare: PyTorch's twin of a graph, and that every side computes the same."""

import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close
from networks import NETWORKS, built

from minisegnet import layers, models
from minisegnet.graph import Graph

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from measuring import processes
from measuring.case import Case
from measuring.operation_side import measure
from measuring.operations import families
from measuring.processes import Process, SideFailed, ask, start
from measuring.rounds import disagreement

MODELS = {
    "unet": ({"width": 4, "depth": 2}, (2, 3, 13, 18)),
    "unet bilinear": ({"width": 4, "depth": 2, "upsampling": "bilinear", "batch_norm": False}, (1, 3, 16, 16)),
    "unet valid": ({"width": 2, "depth": 1, "valid": True}, (2, 3, 24, 20)),
    "segnet_basic": ({"width": 4}, (2, 3, 19, 24)),
    "fcn8s": ({"width": 2, "head": 4, "dropout": 0.0}, (1, 3, 40, 33)),
    "fcn16s": ({"encoder": "resnet18", "width": 4}, (2, 3, 64, 64)),
    **{f"encoder_decoder {up}": ({"width": 3, "depth": 2, "upsampling": up}, (2, 3, 13, 12))
       for up in ("nearest", "bed_of_nails", "bilinear", "max_unpool", "transposed")},
}  # fmt: skip


def check_twin(graph, x, bound):
    """Scores, gradients by the images and by every parameter, running statistics."""
    torch = pytest.importorskip("torch")
    from measuring.twin import Twin

    twin = Twin(graph, x.shape).double()
    image = torch.tensor(x, requires_grad=True)
    score, wanted = graph.forward(x), twin(image)
    assert_close(score, wanted.detach().numpy(), bound, "score")
    dy = np.random.default_rng(4).standard_normal(score.shape) / score[:, 0].size
    graph.zero_grad()
    dx = graph.backward(dy)
    wanted.backward(torch.tensor(dy))
    assert_close(dx, image.grad.numpy(), bound, "gradient by the image")
    gradients = twin.gradients()
    assert set(gradients) == {name for name, p in graph.parameters.items() if p.trainable}
    for name, gradient in gradients.items():
        assert_close(graph.parameters[name].grad, gradient, bound, name)
    graph.eval()
    assert_close(graph.forward(x), twin.eval()(image).detach().numpy(), bound, "in evaluation")


@pytest.mark.torch
@pytest.mark.parametrize("name", MODELS)
def test_the_twin_of_a_model(name):
    arguments, shape = MODELS[name]
    graph, _, _ = Case(name.split()[0], arguments, shape, True).build()
    graph.astype("float64")
    rng = np.random.default_rng(2)
    for parameter in graph.parameters.values():  # biases and scales too
        parameter.data += 0.1 * rng.standard_normal(parameter.data.shape)
    check_twin(graph, rng.standard_normal(shape), 1e-9)


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"two streams"}))  # that has two inputs
def test_the_twin_of_a_small_network(name):
    graph, (x,), _ = built(name, seed=3, dtype="float64")
    for layer in graph.layers.values():
        if isinstance(layer, layers.Dropout):
            layer.p = 0.0
    check_twin(graph, x, 1e-9)


@pytest.mark.torch
def test_the_twin_shares_what_a_layer_shares():
    shared = layers.Conv2d(3, 3, 3, padding=1)
    graph = Graph("Twice")
    x = graph.chain("body", graph.input("image", 3), shared, layers.ReLU(), shared, layers.ReLU())
    graph.output("both", layers.Add(), x, graph.handle("body.1"))  # body.1 is read twice
    graph.initialise(5).astype("float64")
    check_twin(graph, np.random.default_rng(5).standard_normal((2, 3, 6, 7)), 1e-12)


@pytest.mark.torch
def test_a_layer_without_a_twin_is_named():
    pytest.importorskip("torch")
    from measuring.twin import Twin

    class Mine(layers.Layer):
        def forward(self, x):
            return x, None

        def output_shape(self, x):
            return x

    graph = Graph("Mine")
    graph.output("y", Mine(), graph.input("x", 3))
    with pytest.raises(NotImplementedError, match="Mine"):
        Twin(graph, (1, 3, 4, 4))


@pytest.mark.torch
@pytest.mark.parametrize(("model", "training"), [("fcn8s", True), ("unet", False)])
def test_all_sides_compute_the_same(model, training):
    """Each in a process of its own, as they are timed; with dropout, which the comparison leaves out."""
    arguments, shape = MODELS[model]
    case = asdict(Case(model, {**arguments, "dropout": 0.5}, shape, training))
    answers = {
        side: ask("one_side", side, 1, task="check", case=case)
        for side in ("plain", "engine", "pytorch", "channels_last")
    }
    for side, answer in answers.items():
        assert disagreement(answer, answers["plain"]) == "", side
    assert set(answers["plain"]) == ({"losses", "gradient norms"} if training else {"scores"})
    if training:
        first, second = answers["plain"]["losses"]
        assert second < first  # the step between them was taken


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("side", "cores"), [("plain", 1), ("engine", 1), ("engine", 2)])
def test_a_side_is_timed(side, cores, training):
    if hasattr(os, "sched_getaffinity") and cores > len(os.sched_getaffinity(0)):
        pytest.skip(f"this process may not use {cores} cores")
    case = asdict(Case("unet", {"width": 4, "depth": 2}, (2, 3, 16, 16), training))
    answer = ask("one_side", side, cores, task="time", case=case, seconds=0.01)
    assert answer["seconds"] > 0
    assert 2**24 < answer["memory"] < 2**31
    assert "NumPy" in answer["software"] and "core type" in answer["software"]


def test_a_side_that_fails_tells_why():
    case = asdict(Case("unet", {"width": 0}, (1, 3, 16, 16), True))
    with pytest.raises(SideFailed, match="width must be at least 1"):
        ask("one_side", "plain", 1, task="time", case=case, seconds=0.01)


def test_a_process_waits_between_its_turns():
    case = asdict(Case("unet", {"width": 4, "depth": 2}, (1, 3, 16, 16), True))
    with start("one_side", "plain", 1, task="time", case=case, seconds=0.01) as process:
        assert all(process.turn()["seconds"] > 0 for _ in range(3))


def test_a_side_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(processes, "LONGEST", 0.5)
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with Process(command, "plain", 1) as process, pytest.raises(SideFailed, match=r"no answer within 0\.5 s"):
        process.turn()


def test_what_a_side_leaves_behind_ends_with_it():
    """A child that would run on, as a worker would whose parent was killed."""
    leave = "print(subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"
    with Process([sys.executable, "-c", f"import subprocess; {leave}"], "plain", 1) as process:
        child = process.turn()
    for _ in range(1000):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if ") Z " in Path(f"/proc/{child}/stat").read_text():  # ended, and nobody has asked for its exit status
            return
        time.sleep(0.01)
    pytest.fail("the child is still there")


OPERATIONS = {row[0]: row for rows in families().values() for row in rows}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_timed_and_compared(name):
    operation, build, (N, C, _, _) = OPERATIONS[name]
    answers = {side: measure(side, 1, operation, build, (N, C, 16, 16), 0.0) for side in ("plain", "engine")}
    assert disagreement(answers["engine"]["numbers"], answers["plain"]["numbers"]) == ""
    for answer in answers.values():
        assert all(seconds > 0 for seconds in answer["seconds"].values())
    passes = set(answers["plain"]["seconds"])
    assert passes == set(answers["engine"]["seconds"])
    assert passes in ({"forward", "backward"}, {"forward and backward"})


@pytest.mark.parametrize("name", ["cpu_step", "cpu_operations", "cpu_pixels"])
def test_a_benchmark_tells_what_it_does(name):
    script = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    told = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "--rounds" in told.stdout


def test_models_that_are_timed_exist():
    from cpu_step import NETWORKS as timed
    from cpu_step import cases

    for name, (_, model, _, trained, predicted) in timed.items():
        assert model in models.MODELS
        assert len(list(cases(name))) == len(trained) + len(predicted)
