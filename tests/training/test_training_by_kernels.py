"""Training by CUDA kernels: NumPy's loss curve, the same files, runs that go on elsewhere, and kernels of your own."""

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import BACKENDS, skip_without_compiler
from tiny_run import tiny_graph, tiny_trainer

import minisegnet
from minisegnet import emulator
from minisegnet.data.loader import Loader
from minisegnet.data.shapes import Shapes
from minisegnet.errors import BackendError, KernelError, MinisegnetError
from minisegnet.layers import CrossEntropyLoss
from minisegnet.models import create
from minisegnet.training import SGD, Adam, Trainer, load_checkpoint, load_model
from minisegnet.training.optimisers import Optimiser
from minisegnet.training.schedules import Constant

STEPS = 20

# Relative to the loss. Where a value crosses a kink of ReLU or pooling, a rounding error of 1e-7 becomes a step:
# NumPy's own curve from weights that differ by 1e-7 leaves this one by up to 4e-4 in 20 steps, over several seeds; the
# emulator's by up to 2e-3.
CURVE_BOUND = 5e-3
FIRST_STEPS_BOUND = 1e-5

kernels = pytest.mark.parametrize("device", [name for name in BACKENDS if name not in ("reference", "numpy")])


@pytest.fixture(autouse=True)
def compiler():
    skip_without_compiler("emulator")


def shapes_trainer(folder, device, steps=STEPS, make=lambda parameters: SGD(parameters, 0.1, momentum=0.9)):
    """A small U-Net on built-in shapes of 32 x 32 pixels, two a batch."""
    data = Shapes(32, 16)
    graph = create("unet", num_classes=len(data.classes), width=4, depth=2, dropout=0.2, seed=0).to(device)
    return Trainer(
        graph,
        CrossEntropyLoss(),
        Loader(data, 2, shuffle=True, seed=0),
        make(graph.parameters),
        Constant(0.1),
        folder,
        steps=steps,
        progress=False,
        pictures=False,
    )


def tiny_run(folder, device, steps):
    """Steps of a network with batch norm and dropout, by SGD: Adam makes much of a gradient of rounding errors."""
    graph = tiny_graph().to(device)
    optimiser = SGD(graph.parameters, 0.05, momentum=0.9)
    tiny_trainer(folder, graph, optimiser=optimiser, steps=steps, validation=None).fit(resume=True)


def losses(folder):
    lines = (Path(folder) / "log.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss")
    return np.array([float(line.split(",")[column]) for line in lines[1:]])


@kernels
def test_twenty_steps_fall_along_numpys_loss_curve(tmp_path, device):
    for place in ("cpu", device):
        shapes_trainer(tmp_path / place, place).fit()
    wanted, found = losses(tmp_path / "cpu"), losses(tmp_path / device)
    assert len(found) == STEPS and wanted[-5:].mean() < 0.8 * wanted[:3].mean(), "the network learns"
    errors = np.abs(found - wanted) / wanted
    assert errors.max() < CURVE_BOUND, f"step {errors.argmax() + 1}: {errors.max():.1e}"
    assert errors[:3].max() < FIRST_STEPS_BOUND


@kernels
def test_checkpoints_are_the_same_files_everywhere(tmp_path, device):
    """The same names, shapes, types and metadata, loaded without a device."""
    for place in ("cpu", device):
        tiny_run(tmp_path / place, place, steps=4)
    wanted, metadata = load_checkpoint(tmp_path / "cpu" / "last.npz")
    found, metadata_too = load_checkpoint(tmp_path / device / "last.npz")
    assert metadata == metadata_too and found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    graph = tiny_graph(seed=9)
    load_model(graph, found, metadata, "last.npz")
    np.testing.assert_array_equal(graph.parameters["score.weight"].data, found["model/score.weight"])


@kernels
def test_a_run_goes_on_where_it_did_not_begin(tmp_path, device):
    """And on the same device it makes the same weights as one that was never stopped."""
    for name, places in {"whole": [device], "stopped": [device, device], "moved": ["cpu", device]}.items():
        for steps, place in zip([4, 8] if len(places) > 1 else [8], places, strict=True):
            tiny_run(tmp_path / name, place, steps)
    whole, stopped, moved = (load_checkpoint(tmp_path / name / "last.npz")[0] for name in ("whole", "stopped", "moved"))
    for name, array in whole.items():
        np.testing.assert_array_equal(stopped[name], array, err_msg=name)
        np.testing.assert_allclose(moved[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


@kernels
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, device):
    graph = tiny_graph().to(device)
    graph.load_state_dict(graph.state_dict() | {"score.bias": np.float32([np.nan, 0])})
    with pytest.raises(MinisegnetError, match="the loss is nan at step 1"):
        tiny_trainer(tmp_path, graph, validation=None).fit()


class WithoutKernel(Optimiser):
    """Plain gradient descent in NumPy alone."""

    def update(self, w, gradient, steps, *scratch):
        w -= self.lr * gradient


@kernels
def test_an_optimiser_without_a_kernel_says_so(tmp_path, device):
    with pytest.raises(BackendError, match="WithoutKernel has no kernel: give it a method launch"):
        shapes_trainer(tmp_path, device, 1, lambda parameters: WithoutKernel(parameters, 0.1, 0.0)).fit()


# ------------------------------------------------------------------------------------------------- your own kernels

LEAKY = """
// A ReLU that lets a tenth of what is negative through, under the name of ours.
extern "C" __global__ void relu_forward_4(const float* x, float* y, int count)
{
    const int first = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    for (int i = first; i < first + 4 && i < count; i++) y[i] = x[i] > 0.0f ? x[i] : SLOPE * x[i];
}
"""
BACK = """
extern "C" __global__ void relu_backward_4(const float* y, const float* dy, float* dx, int count)
{
    const int first = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    for (int i = first; i < first + 4 && i < count; i++) dx[i] = y[i] > 0.0f ? dy[i] : SLOPE * dy[i];
}
"""


def leaky_by_numpy(slope):
    """The same as functions, for `minisegnet.replace`."""

    def forward(x):
        y = np.where(x > 0, x, np.float32(slope) * x)
        return y, y

    def backward(dy, y):
        return np.where(y > 0, dy, np.float32(slope) * dy)

    return {"relu_forward": forward, "relu_backward": backward}


def test_a_kernel_of_your_own_trains_a_unet(tmp_path):
    """One that computes what ours does gives the same weights to the bit; another, those of its own function."""
    for name, slope in {"mine": 0.0, "leaky": 0.1}.items():
        path = tmp_path / f"{name}.cu"
        path.write_text((LEAKY + BACK).replace("SLOPE", f"{slope}f"))
        with minisegnet.replace(path):
            shapes_trainer(tmp_path / name, "emulator", steps=5).fit()
    shapes_trainer(tmp_path / "ours", "emulator", steps=5).fit()
    with minisegnet.replace(**leaky_by_numpy(0.1)):
        shapes_trainer(tmp_path / "function", "cpu", steps=5).fit()
    mine, ours = (load_checkpoint(tmp_path / name / "last.npz")[0] for name in ("mine", "ours"))
    for name, array in ours.items():
        np.testing.assert_array_equal(mine[name], array, err_msg=name)
    np.testing.assert_allclose(losses(tmp_path / "leaky"), losses(tmp_path / "function"), rtol=CURVE_BOUND)
    assert not np.allclose(losses(tmp_path / "leaky"), losses(tmp_path / "ours"), rtol=2 * CURVE_BOUND)


def test_several_files_and_functions_stand_in_together(tmp_path):
    for name, text in {"forward.cu": LEAKY, "backward.cu": BACK}.items():
        (tmp_path / name).write_text(text.replace("SLOPE", "0.1f"))
    x = np.float32([-2, -1, 0, 3, -5])
    calls = []

    def forward(x):
        calls.append(x.shape)
        return 3 * x, None

    with (
        minisegnet.backend("emulator"),
        minisegnet.replace(
            tmp_path / "forward.cu", str(tmp_path / "backward.cu"), sigmoid_forward=forward, sigmoid_backward=leave
        ),
    ):
        y, cache = minisegnet.functional.relu_forward(x)
        dx = minisegnet.functional.relu_backward(np.ones_like(x), cache)
        assert (minisegnet.functional.sigmoid_forward(x)[0] == 3 * x).all() and calls == [x.shape]
    np.testing.assert_allclose(y, [-0.2, -0.1, 0, 3, -0.5], rtol=1e-6)
    np.testing.assert_allclose(dx, [0.1, 0.1, 0.1, 1, 0.1], rtol=1e-6)


def leave(dy, saved):
    return dy


def test_a_file_whose_kernels_are_none_of_ours_is_told_at_once(tmp_path):
    path = tmp_path / "mine.cu"
    path.write_text(LEAKY.replace("relu_forward_4", "rely_forward_4").replace("SLOPE", "0.1f"))
    with (
        pytest.raises(KernelError, match=r"rely_forward_4 in mine\.cu is the name of none of our kernels; did you"),
        minisegnet.replace(path),
    ):
        pytest.fail("the block was entered")


# ------------------------------------------------------------------------------------------------------- check mode


def a_step(graph, optimiser):
    loss = CrossEntropyLoss()
    rng = np.random.default_rng(0)
    images = rng.standard_normal((1, 3, 8, 12)).astype(np.float32)
    labels = rng.integers(0, 2, (1, 8, 12)).astype(np.int32)
    with graph.computing():
        value, cache = loss.forward(graph.forward(images), labels)
        graph.zero_grad()
        graph.backward(loss.backward(1.0, cache))
        optimiser.step()
    return float(value)


@pytest.mark.parametrize("schedule", ["forward", 7])
def test_a_whole_training_step_in_check_mode_breaks_no_rule(schedule):
    states = []
    for checked in (False, True):
        graph = create("unet", num_classes=2, width=4, depth=1, dropout=0.3, seed=0).to("emulator")
        optimiser = Adam(graph.parameters, 0.01)
        graph.reseed(1)
        if checked:
            with emulator.check(schedule=schedule) as report:
                value = a_step(graph, optimiser)
            assert not report.findings, str(report)
            assert "launches checked: no rule broken" in str(report)
        else:
            value = a_step(graph, optimiser)
        states.append({"loss": np.float32(value)} | graph.state_dict())
    for key, wanted in states[0].items():  # compiled otherwise, products and sums are rounded together or apart
        np.testing.assert_allclose(states[1][key], wanted, rtol=1e-4, atol=1e-4, err_msg=key)


def test_check_mode_finds_the_bug_of_your_own_kernel_in_a_network(tmp_path):
    """It reads one value too many."""
    path = tmp_path / "mine.cu"
    path.write_text(LEAKY.replace("SLOPE", "x[count]"))
    graph = create("unet", num_classes=2, width=4, depth=1, seed=0).to("emulator")
    [line] = [number for number, row in enumerate(path.read_text().splitlines(), 1) if "x[count]" in row]
    with minisegnet.replace(path), emulator.check() as report:
        graph.forward(np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32))
    assert report.findings
    for finding in report.findings:
        assert f"mine.cu:{line}" in finding.message and finding.argument == "x", str(report)


def test_neither_cuda_nor_the_emulator_is_imported_until_it_computes():
    """A network trained by NumPy loads nothing of them but the one module that knows where arrays lie."""
    import subprocess

    script = """
import sys, numpy as np
from minisegnet.layers import CrossEntropyLoss
from minisegnet.models import create
from minisegnet.training import SGD
graph = create("unet", num_classes=2, width=2, depth=1)
loss = CrossEntropyLoss()
_, cache = loss.forward(graph.forward(np.zeros((1, 3, 4, 4), "f4")), np.zeros((1, 4, 4), "i4"))
graph.backward(loss.backward(1.0, cache))
SGD(graph.parameters, 0.1).step()
print(*sorted(name for name in sys.modules if name.startswith(("minisegnet.cuda", "minisegnet.emulator", "cupy"))))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["minisegnet.cuda", "minisegnet.cuda.arrays", "minisegnet.cuda.precisions"]
