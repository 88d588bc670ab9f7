"""A GPU as benchmarks see it: random arrays on it, the time that calls take there, and the most that it can do.

python -m minisegnet.cuda.device        which GPU there is; fails with the reason where there is none
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minisegnet.cuda import arrays
from minisegnet.cuda.modules import architecture_of
from minisegnet.errors import MinisegnetError

LONG = 2.0  # seconds after which a slow call is not measured again, once it was five times

# Multiply-adds of a multiprocessor in a clock, dense, sums in float32 (NVIDIA's architecture white papers); a GeForce
# card of 86 and 89 has half of it on its tensor cores.
MULTIPLY_ADDS = {
    75: {"float32": 64},
    80: {"float32": 64, "tf32": 512, "bf16": 1024},
    86: {"float32": 128, "tf32": 256, "bf16": 512},
    89: {"float32": 128, "tf32": 256, "bf16": 512},
    90: {"float32": 128, "tf32": 1024, "bf16": 2048},
    100: {"float32": 128, "tf32": 2048, "bf16": 4096},
}

HOLD = r"""
extern "C" __global__ void hold(long long clocks)
{
    for (const long long start = clock64(); clock64() - start < clocks;) {}
}
"""


class Device:
    """CuPy's current device. Raises BackendError without CuPy, KernelError without a device."""

    def __init__(self, repeats: int = 20) -> None:
        arrays.check_device()
        self.cupy = arrays.cupy()
        self.repeats = repeats
        device = self.cupy.cuda.Device()
        properties, attributes = self.cupy.cuda.runtime.getDeviceProperties(device.id), device.attributes
        self.name = properties["name"].decode()
        self.architecture = architecture_of(device)
        self.clock = attributes["ClockRate"] * 1000  # per second
        self.multiprocessors = attributes["MultiProcessorCount"]
        self.cache = attributes["L2CacheSize"]
        self.rng = np.random.default_rng(0)
        self.hold = self.cupy.RawKernel(HOLD, "hold")

    def __str__(self) -> str:
        runtime = self.cupy.cuda.runtime
        numbers = runtime.runtimeGetVersion(), runtime.driverGetVersion()
        toolkit, driver = (f"{number // 1000}.{number % 1000 // 10}" for number in numbers)
        return (
            f"{self.name}: sm_{self.architecture}, {self.multiprocessors} multiprocessors, up to "
            f"{self.clock / 1e6:.0f} MHz, L2 of {self.cache / 2**20:.0f} MiB; CUDA {toolkit}, driver for {driver}, "
            f"CuPy {self.cupy.__version__}"
        )

    def draw(self, *shape: int) -> Any:
        return self.cupy.asarray(self.rng.standard_normal(shape, np.float32))

    def draw_labels(self, classes: int, *shape: int) -> Any:
        return self.cupy.asarray(self.rng.integers(0, classes, shape, np.int32))

    def seconds(self, calls: Sequence[Callable[[], Any]]) -> float:
        """The median of the device's time for a call, over rounds in which the calls take turns.

        A round is handed over while the device is held and runs without gaps, so that Python's launching is not
        measured. What a call returns is kept until its turn comes again: where it writes rotates too.
        """
        kept = [call() for call in calls]  # compiled, tuned, and the pool has the memory
        self.cupy.cuda.Device().synchronize()
        started = time.perf_counter()
        kept = [call() for call in calls]
        handing_over = time.perf_counter() - started
        times: list[float] = []
        start, stop = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        while len(times) < self.repeats and (len(times) < 5 or sum(times) * len(calls) < LONG):
            self.hold((1,), (1,), (np.int64((2 * handing_over + 1e-3) * self.clock),))
            start.record()
            for i, call in enumerate(calls):
                kept[i] = call()
            stop.record()
            stop.synchronize()
            times.append(self.cupy.cuda.get_elapsed_time(start, stop) / 1000 / len(calls))
        return statistics.median(times)

    def copying(self) -> float:
        """Bytes a second of a copy, read and written: what moving memory is held against."""
        count = max(2**26, self.cache)  # values
        pairs = [(self.draw(count), self.cupy.empty(count, np.float32)) for _ in range(2)]
        return 8 * count / self.seconds([partial(self.cupy.copyto, target, source) for source, target in pairs])

    def most_operations(self, precision: str) -> float | None:
        """Operations a second of all multiprocessors at the highest clock; None where it is not known."""
        rate = MULTIPLY_ADDS.get(self.architecture, {}).get(precision)
        return rate and 2.0 * rate * self.multiprocessors * self.clock


def main() -> int:
    try:
        print(Device())
    except MinisegnetError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
