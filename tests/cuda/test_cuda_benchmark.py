"""The GPU's benchmark as far as it goes without one: shapes, counts, calls, tables; the emulator computes."""

import importlib.util
import re
from math import prod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minisegnet import emulator
from minisegnet.cuda import arrays, device, registers
from minisegnet.cuda.ladder import RUNGS
from minisegnet.errors import BackendError

FILE = Path(__file__).parents[2] / "benchmarks" / "cuda_kernels.py"
emulated = pytest.mark.skipif(emulator.compiler_found() is None, reason="the emulator needs g++ or clang++")


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("cuda_kernels", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Computer:
    """In a device's place: arrays of NumPy, which the emulator computes with; every call takes `took` seconds."""

    architecture, cache = 90, 1000
    name = "NVIDIA H100 80GB HBM3"
    most_operations = device.Device.most_operations
    multiprocessors, clock = 132, 1.98e9

    def __init__(self, took=1e-3):
        self.took, self.rng, self.results = took, np.random.default_rng(0), []

    def __str__(self):
        return self.name

    def draw(self, *shape):
        return self.rng.standard_normal(shape, np.float32)

    def draw_labels(self, classes, *shape):
        return self.rng.integers(0, classes, shape, np.int32)

    def seconds(self, calls):
        self.results.append([call() for call in calls])
        return self.took


def test_the_shapes_are_those_of_a_unet(benchmark):
    assert len(benchmark.SHAPES) == 8
    assert len({shape.name for shape in benchmark.SHAPES}) == 8
    for shape in benchmark.SHAPES:
        assert shape.image[1] == shape.weight[1] and shape.output[:2] == (8, shape.weight[0])
        assert prod(shape.image) <= 2**30 and prod(shape.output) <= 2**30
        assert shape.output[2:] == tuple(size // shape.stride for size in shape.image[2:])


def test_operations_and_bytes(benchmark):
    """Of 2 x 5 x 4 x 3 outputs, each of 7 x 3 x 3 products and as many sums."""
    shape = benchmark.Shape("small", (2, 7, 4, 3), (5, 7, 3, 3))
    assert shape.operations == 2 * (2 * 5 * 4 * 3) * (7 * 3 * 3)
    assert shape.bytes == 4 * (2 * 7 * 4 * 3 + 5 * 7 * 3 * 3 + 2 * 5 * 4 * 3)
    assert shape.sizes.weight == shape.weight and shape.sizes.image == shape.image


def test_the_roofline(benchmark):
    """At a quarter of an operation a byte memory is the roof, at a thousand the arithmetic is."""
    assert benchmark.roof(1.0, 4.0, 1e12, 1e11) == 2.5e10
    assert benchmark.roof(1e3, 1.0, 1e12, 1e11) == 1e12
    assert benchmark.roof(1.0, 1.0, None, 1e11) is None


def test_the_most_that_a_device_does():
    """An H100's data sheet says 495 TFLOP/s in TF32 at 1.83 GHz."""
    h100 = Computer()
    h100.clock = 1.83e9
    assert h100.most_operations("tf32") == pytest.approx(495e12, rel=0.01)
    assert h100.most_operations("bf16") == 2 * h100.most_operations("tf32")
    h100.architecture = 61
    assert h100.most_operations("float32") is None


@pytest.mark.parametrize(("bytes_of_one", "sets"), [(1, 32), (100, 20), (999, 3), (2000, 2), (10**9, 2)])
def test_sets_are_larger_than_the_cache(benchmark, bytes_of_one, sets):
    assert benchmark.sets_for(bytes_of_one, 1000) == sets


@emulated
def test_every_rung_computes_every_product(benchmark):
    computer = Computer()
    shape = benchmark.Shape("small", (1, 5, 6, 4), (7, 5, 3, 3))
    rows = list(benchmark.measure_convolutions(computer, 1e12, [shape], beside=False))
    rungs = sorted(RUNGS, key=lambda name: benchmark.PRECISIONS.index(RUNGS[name].precision))
    assert [(row.product, row.rung) for row in rows] == [(p, rung) for p in benchmark.PRODUCTS for rung in rungs]
    places = {"forward": shape.output, "gradient by input": shape.image, "gradient by weight": shape.weight}
    for row, results in zip(rows, computer.results, strict=True):
        assert len(results) == benchmark.sets_for(shape.bytes, computer.cache) > 1
        assert all(result.shape == places[row.product] for result in results)
        assert len({result.tobytes() for result in results}) == len(results)  # each set has numbers of its own


@emulated
def test_a_device_without_tensor_cores_is_measured_in_float32(benchmark):
    computer = Computer()
    computer.architecture = 75
    rows = benchmark.measure_convolutions(computer, 1e12, [benchmark.Shape("s", (1, 1, 2, 2), (1, 1, 1, 1))], False)
    assert {RUNGS[row.rung].precision for row in rows} == {"float32"}


@emulated
def test_what_moves_memory_computes(benchmark):
    computer = Computer(took=1e-9)
    rows = list(benchmark.measure_moving(computer, 1e12, (2, 8, 8, 8)))
    names = [row.name for row in rows]
    assert len(set(names)) == len(names) == len(computer.results)
    for row in rows:
        assert row.of_copy == row.bytes / 1e-9 / 1e12 > 0
    [copied] = [row for row in rows if row.name == "add forward"]
    assert copied.bytes == 3 * 4 * 2 * 8 * 8 * 8


@emulated
def test_regions_compute(benchmark):
    """Boxes that tile the images: all of them is read, and nearly every pixel gets a gradient."""
    computer = Computer(took=1e-9)
    rows = list(benchmark.measure_moving(computer, 1e12, (2, 8, 32, 48), benchmark.regions))
    assert [row.name.split()[0] for row in rows] == 2 * ["roi_align"] + 2 * ["roi_pool"] + ["nms"]
    (aligned, _), dfeatures, (pooled, _), _, (keep, count) = (results[0] for results in computer.results)
    assert aligned.shape == pooled.shape == (12, 8, 7, 7)
    assert np.isfinite(aligned).all() and dfeatures.shape == (2, 8, 32, 48) and (abs(dfeatures) > 0).mean() > 0.95
    assert 1 < count[0] < len(keep) == 192
    assert rows[0].bytes == 4 * (2 * 8 * 32 * 48 + 12 * 8 * 49)


@emulated
@pytest.mark.torch
@pytest.mark.parametrize("layout", ["NCHW", "channels last"])
@pytest.mark.parametrize("product", ["forward", "gradient by input", "gradient by weight"])
@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0)])
def test_pytorch_computes_the_same(benchmark, layout, product, stride, padding):
    shape = benchmark.Shape("small", (2, 3, 6, 8), (4, 3, 2, 2), stride, padding)
    computer = Computer()
    given = benchmark.Arrays(*(computer.draw(*s) for s in (shape.image, shape.weight, shape.output)))
    theirs = benchmark.cudnn_call(product, given, shape, "float32", layout)()
    if product != "forward":
        assert [gradient is None for gradient in theirs] == [p != product for p in benchmark.PRODUCTS[1:]] + [True]
        theirs = next(gradient for gradient in theirs if gradient is not None)
    ours = benchmark.own_call(product, given, shape.sizes, "registers")()
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-5, atol=1e-5)


def row(benchmark, share, rung="tf32_pipeline", channels=64):
    """A rung that takes a millisecond, and cuDNN `share` of it in its faster layout."""
    shape = benchmark.Shape(f"of {channels}", (1, channels, 8, 8), (64, channels, 3, 3))
    cudnn = {"NCHW": 2e-3, "channels last": share * 1e-3}
    return benchmark.Convolved(shape, "forward", rung, 1e-3, 1e12, cudnn)


def test_the_table_of_convolutions(benchmark):
    head, rule, line = benchmark.convolution_table([row(benchmark, 0.7)])
    assert head.count("|") == rule.count("|") == line.count("|")
    operations, moved = 2 * 64 * 8 * 8 * 64 * 9, 4 * (64 * 8 * 8 * 2 + 64 * 64 * 9)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:4] == ["of 64", "forward", "tf32_pipeline", "1.000"]
    assert cells[4:] == [f"{operations / 1e9:.2f}", f"{moved / 1e6:.0f}", f"{operations / 1e7:.0f}", "200", "70"]


def test_a_table_without_cudnn_and_without_a_roof_has_empty_cells(benchmark):
    plain = row(benchmark, 0.7)._replace(cudnn={}, roof=None)
    assert benchmark.convolution_table([plain])[-1].endswith("|  |  |  |")


def test_the_summary_names_the_slowest(benchmark):
    """Of a product's two pipelined rungs the better counts; few channels and other rungs do not."""
    rows = [
        row(benchmark, 0.9, channels=128), row(benchmark, 0.5, channels=128), row(benchmark, 0.72),
        row(benchmark, 0.1, channels=32), row(benchmark, 0.1, rung="tf32"), row(benchmark, 0.65, rung="bf16_pipeline"),
    ]  # fmt: skip
    moved = [benchmark.Moved("relu forward", 1e9, 1e-3, 0.93), benchmark.Moved("adam", 1e9, 1e-3, 0.81)]
    tf32, bf16, moving = benchmark.summary(rows, moved)
    assert "tf32" in tf32 and "at least 72 % of cuDNN's faster layout, at of 64, forward (to be 60)" in tf32
    assert "bf16" in bf16 and "65 %" in bf16
    assert "at least 81 % of a copy, at adam (to be 80)" in moving


def test_the_page_is_written_under_the_devices_name(benchmark, monkeypatch, tmp_path, capsys):
    def found(repeats):
        computer = Computer()
        computer.copying = lambda: 3e12
        return computer

    monkeypatch.setattr(benchmark, "Device", found)
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results" / "cuda")
    monkeypatch.setattr(benchmark, "measure_convolutions", lambda *_: [row(benchmark, 0.7)])
    monkeypatch.setattr(
        benchmark, "measure_moving",
        lambda device, bandwidth, size, *listed: [benchmark.Moved("nms" if listed else "adam", 1e9, 1e-3, 0.81)],
    )  # fmt: skip
    monkeypatch.setattr(benchmark, "cudnn", lambda: None)
    assert benchmark.main(["--write"]) == 0
    page = (tmp_path / "results" / "cuda" / "NVIDIA_H100_80GB_HBM3.md").read_text()
    assert page.strip() == capsys.readouterr().out.strip()
    assert page.startswith("# Kernels on NVIDIA H100 80GB HBM3\n")
    assert "no PyTorch for CUDA to compare with. A copy reads and writes 3000 GB/s." in page
    assert re.findall(r"^\| (of 64|adam|nms) \|", page, re.MULTILINE) == ["of 64", "adam", "nms"]


def test_what_holds_the_device_compiles():
    try:
        registers.nvrtc_version()
    except BackendError as problem:
        pytest.skip(str(problem))
    for architecture in registers.ARCHITECTURES:
        assert "hold" in registers.compile_to_cubin(device.HOLD, "hold.cu", architecture)


def test_without_a_gpu_it_says_so(benchmark, monkeypatch, capsys):
    def missing():
        raise BackendError("the cuda backend needs CuPy")

    monkeypatch.setattr(arrays, "check_device", missing)
    assert benchmark.main([]) == 1
    assert device.main() == 1
    assert capsys.readouterr().err == 2 * "error: the cuda backend needs CuPy\n"


def test_a_device_tells_what_it_is(monkeypatch, capsys):
    here = SimpleNamespace(
        id=0,
        compute_capability="90",
        attributes={"ClockRate": 1_980_000, "MultiProcessorCount": 132, "L2CacheSize": 50 * 2**20},
    )
    runtime = SimpleNamespace(
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda number: {"name": b"NVIDIA H100 80GB HBM3"},
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 13000,
        CUDARuntimeError=RuntimeError,
    )
    module = SimpleNamespace(
        cuda=SimpleNamespace(
            Device=lambda: here,
            runtime=runtime,
            driver=SimpleNamespace(CUDADriverError=RuntimeError),
            memory=SimpleNamespace(OutOfMemoryError=MemoryError),
            compiler=SimpleNamespace(CompileException=SyntaxError),
        ),
        RawKernel=lambda text, name: None,
        asarray=lambda array: array,
        __version__="14.2.0",
    )
    monkeypatch.setattr(arrays, "cupy", lambda: module)
    assert device.main() == 0
    assert capsys.readouterr().out == (
        "NVIDIA H100 80GB HBM3: sm_90, 132 multiprocessors, up to 1980 MHz, L2 of 50 MiB; CUDA 12.9, driver for 13.0, "
        "CuPy 14.2.0\n"
    )
    found = device.Device()
    assert found.most_operations("float32") == 2 * 128 * 132 * 1.98e9
    assert found.draw(2, 3).shape == (2, 3) and found.draw(2, 3).dtype == np.float32
    labels = found.draw_labels(4, 5, 6)
    assert labels.shape == (5, 6) and labels.dtype == np.int32 and set(labels.flat) <= set(range(4))


def test_times_are_medians_of_rounds_on_a_held_device():
    timed = object.__new__(device.Device)
    log, durations = [], iter([9, 9, 9, 9, 1, 5, 3, 3, 7, 7])  # of ten calls: two rounds untimed, five timed

    class Event:
        def record(self):
            self.at = sum(entry for entry in log if not isinstance(entry, str))
            log.append("event")

        def synchronize(self):
            log.append("waited")

    def call():
        log.append(next(durations, 2))
        return object()

    timed.repeats, timed.clock = 5, 1e9
    timed.hold = lambda grid, block, clocks: log.append("held")
    timed.cupy = SimpleNamespace(
        cuda=SimpleNamespace(
            Device=lambda: SimpleNamespace(synchronize=lambda: log.append("waited")),
            Event=Event,
            get_elapsed_time=lambda start, stop: stop.at - start.at,
        )
    )
    assert timed.seconds([call, call]) == pytest.approx(3e-3)  # of 3, 3, 7, 2 and 2 ms a call
    assert log[:5] == [9, 9, "waited", 9, 9]
    assert log[5:11] == ["held", "event", 1, 5, "event", "waited"]
    assert log.count("held") == 5
