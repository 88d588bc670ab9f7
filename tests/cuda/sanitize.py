"""Small cases of our kernels under compute-sanitizer, which finds on a GPU what the emulator's check mode finds.

    python tests/cuda/sanitize.py           under memcheck, racecheck, synccheck and initcheck, one after another
    python tests/cuda/sanitize.py --cases   the cases alone

Each array has memory of its own, not a piece of CuPy's pool, or an overrun would end in the pool and go unseen.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from cases import cases
from test_later_rungs_in_use import TABLE

import minisegnet.cuda
from minisegnet.cuda import arrays, convolution, ladder, linear, optimisers
from minisegnet.cuda.launcher import architecture
from minisegnet.errors import MinisegnetError

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
PLACES = ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer")  # where NVIDIA's packages put it
CONVOLUTIONS = (  # image, filters, stride; the last has so many places that its sums are split
    ((2, 20, 9, 8), (70, 20, 3, 3), 1),
    ((1, 131, 6, 7), (68, 131, 2, 2), 2),
    ((2, 3, 40, 40), (4, 3, 3, 3), 1),
)
MATRICES = ((70, 65, 33), (132, 140, 20))  # M, N, K
LAYOUTS = ((False, False), (False, True), (True, False), (True, True))


def placed(values):
    """Arrays, in lists too, on the device; all else as it is."""
    if isinstance(values, list):
        return [placed(value) for value in values]
    return arrays.to_device(values) if isinstance(values, np.ndarray) else values


def run_operations():
    """Every case of every operation that the parametrised tests know, there and back."""
    for parameters in cases(dtypes=["float32"]):
        [case] = parameters.values
        given, options = case.draw()
        options = {name: placed(value) for name, value in options.items()}
        outputs, saved = case.forward(minisegnet.cuda, placed(given), options)
        yield [*outputs, *case.backward(minisegnet.cuda, placed(case.draw_upstream(outputs[0].shape)), saved)]


def run_later_rungs():
    """Every operation on shapes for which it takes a later rung, there and back."""
    rng = np.random.default_rng(0)
    for operation, given, options, _ in TABLE:
        forward, backward = (getattr(minisegnet.cuda, f"{operation}_{half}") for half in ("forward", "backward"))
        y, saved = forward(*placed(given), **{name: placed(value) for name, value in options.items()})
        outputs = list(y) if isinstance(y, tuple) else [y]
        gradients = backward(placed(rng.standard_normal(outputs[0].shape, np.float32)), saved)
        yield outputs + (list(gradients) if isinstance(gradients, tuple | list) else [gradients])


def run_rungs():
    """Every rung of convolution and of the matrix product that the device has."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return arrays.to_device(rng.standard_normal(shape, np.float32))

    here = architecture(draw(1))
    for name, rung in ladder.RUNGS.items():
        if rung.precision != "float32" and here < ladder.TENSOR_CORES:
            continue
        for image, weight, stride in CONVOLUTIONS:
            places = minisegnet.shapes.conv2d(image, weight, None, stride, 1, 1)
            x, filters, dy = draw(*image), draw(*weight), draw(*places)
            sizes = convolution.Sizes.of(image, places[2:], filters, stride, 1, 1)
            yield [
                convolution.gather(x, filters, draw(weight[0]), sizes, name),
                convolution.scatter(dy, filters, draw(weight[1]), sizes, name),
                convolution.correlate(dy, x, sizes, name),
            ]
        for M, N, K in MATRICES:
            for across, down in LAYOUTS:
                a, b = draw(*((K, M) if across else (M, K))), draw(*((N, K) if down else (K, N)))
                yield [linear.multiply(a, b, draw(N), across, down, name)]


def run_suppression():
    """Boxes of one word, of whole ones and of a last one that is not full."""
    rng = np.random.default_rng(0)
    for count in (1, 32, 300):
        corners = rng.random((count, 2), np.float32)
        boxes = np.hstack([corners, corners + rng.random((count, 2), np.float32)])
        yield [minisegnet.cuda.nms(*map(arrays.to_device, (boxes, rng.random(count, np.float32))), 0.3)]


def run_optimisers():
    """Both rungs: a count that is no multiple of four, and arrays that start off the 16-byte boundary."""
    for start in (0, 1):
        w, gradient, mean, square = (arrays.to_device(np.full(1001 + start, 0.5, np.float32))[start:] for _ in range(4))
        optimisers.sgd_step(w, gradient, mean, 0.1, 0.9, 1e-4, True)
        optimisers.adam_step(w, gradient, mean, square, 1, 0.1)
        yield [w, mean, square]


def run_cases():
    """All of them; each result is copied back, which is when the device tells that a kernel failed."""
    arrays.check_device()
    arrays.cupy().cuda.set_allocator(None)
    count = 0
    for run in (run_operations, run_later_rungs, run_rungs, run_suppression, run_optimisers):
        for results in run():
            for result in results:
                if result is not None:
                    arrays.to_host(result)
            count += 1
    print(f"{count} cases ran on the device")


def sanitizer():
    """Path of compute-sanitizer, or None."""
    return next((path for place in PLACES if (path := shutil.which(place))), None)


def main(arguments):
    try:
        if arguments == ["--cases"]:
            run_cases()
            return 0
        arrays.check_device()
    except MinisegnetError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    program = sanitizer()
    if program is None:
        print("compute-sanitizer is not installed (it comes with the CUDA toolkit): left out")
        return 0
    failed = []
    for tool in TOOLS:
        print(f"== {tool}", flush=True)
        command = [program, "--tool", tool, "--error-exitcode", "1", sys.executable, __file__, "--cases"]
        if subprocess.run(command).returncode:
            failed.append(tool)
    if failed:
        print(f"error: {', '.join(failed)} found what is told above", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
