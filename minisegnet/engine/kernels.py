"""A convolution's kernels as Winograd's tiles meet them: transformed, as they are or turned, whole or in quarters.

A kernel of more than a tile can hold is cut into quarters of m x m taps. Each is a convolution whose data lie m pixels,
so one tile, further on: the transformed tiles of one serve all four, and their products are summed before they are
transformed to pixels. A 7 x 7 kernel so takes 12.25 multiplications a pixel by F(4x4, 4x4), instead of 16 by
F(2x2, 7x7) or 49, and transforms three values a pixel instead of sixteen.
"""

from __future__ import annotations

import numpy as np

from minisegnet import shapes as S
from minisegnet.engine.transforms import POINTS, transforms
from minisegnet.engine.worker import Worker
from minisegnet.layers import Conv2d, ConvTranspose2d

# So few weights are transformed by every worker for itself in less time than workers wait for one another: of U-Net's
# step on two of them this saves 2 %.
FEW_WEIGHTS = 2**17


def cuts_for(kernel: int, padding: int, m: int) -> int | None:
    """In how many parts a kernel's sides are to be cut for tiles of m x m outputs; None: Winograd cannot take it."""
    largest = len(POINTS) + 2 - m
    if 2 <= kernel <= largest and 0 <= padding < kernel:
        return 1
    if largest < kernel <= 2 * m and max(0, kernel - m) <= padding < m:
        return 2
    return None


class Kernels:
    """The kernels of a convolution of stride 1, or of a transposed one, which is a convolution by kernels turned round.

    padding   of that convolution
    cuts      1, or 2 for kernels in quarters
    t         the transforms of a part
    """

    def __init__(self, layer: Conv2d | ConvTranspose2d, m: int, dtype: np.dtype) -> None:
        self.parameter = layer.weight
        self.transposed = isinstance(layer, ConvTranspose2d)
        self.size = layer.weight.data.shape[2]
        padding = S.pair(layer.padding)[0]
        self.padding = self.size - 1 - padding if self.transposed else padding
        cuts = cuts_for(self.size, self.padding, m)
        assert cuts is not None  # else the layer is given to another step
        self.cuts = cuts
        self.t = transforms(m, self.size if cuts == 1 else m, dtype.char)

    @property
    def _few(self) -> bool:
        """Whether every worker transforms all of them for itself."""
        return self.parameter.data.size <= FEW_WEIGHTS

    @property
    def axis(self) -> int:
        """Of the weight: where the output's channels are."""
        return 1 if self.transposed else 0

    @property
    def algorithm(self) -> str:
        m, k = self.t.outputs, self.t.kernel
        name = f"Winograd F({m}x{m}, {k}x{k})"
        return name if self.cuts == 1 else f"{name} of {self.size}x{self.size} in quarters"

    @property
    def common_nbytes(self) -> int:
        """Bytes of the transformed kernels that workers share."""
        if self._few:
            return 0
        channels = self.parameter.data.shape[0] * self.parameter.data.shape[1]
        return self.t.tile**2 * self.cuts**2 * channels * self.t.data.itemsize

    def forward(self, weight: np.ndarray, worker: Worker) -> np.ndarray:
        """The transformed kernels (a a, parts, C_in, C_out) of a weight like the layer's."""
        return self._shared(weight if self.transposed else weight.swapaxes(0, 1), self.transposed, worker)

    def backward(self, weight: np.ndarray, worker: Worker) -> np.ndarray:
        """Those of the way back, by which the output's gradient is convolved: (a a, parts, C_out, C_in), turned."""
        return self._shared(weight.swapaxes(0, 1) if self.transposed else weight, not self.transposed, worker)

    def _shared(self, weight: np.ndarray, turned: bool, worker: Worker) -> np.ndarray:
        """`as_tiles` of which each worker makes those of its part of A, where they are many."""
        if worker.team == 1 or self._few:
            return self.as_tiles(weight, turned, worker)
        A, B = weight.shape[:2]
        worker.meet()  # until nobody reads those that the step before left there
        U = worker.common((self.t.tile**2, self.cuts**2, A, B))
        own = slice(A * worker.number // worker.team, A * (worker.number + 1) // worker.team)
        self._transform(weight[own], turned, worker, U[:, :, own])
        worker.meet()
        return U

    def as_tiles(self, weight: np.ndarray, turned: bool, worker: Worker) -> np.ndarray:
        """(a a, parts, A, B) of any kernels (A, B, k, k) of this size; the worker's next ones take their place."""
        shape = (self.t.tile**2, self.cuts**2, *weight.shape[:2])
        U = worker.scratch.array("own kernels", shape, weight.dtype)
        self._transform(weight, turned, worker, U)
        return U

    def _transform(self, weight: np.ndarray, turned: bool, worker: Worker, U: np.ndarray) -> None:
        """U (a a, parts, A, B) of kernels (A, B, k, k): a small product for each of A, see `products`."""
        A, B = weight.shape[:2]
        cuts, k = self.cuts, self.t.kernel
        taps = worker.scratch.array("taps", (cuts, cuts, A, k, k, B), weight.dtype)
        np.copyto(taps, self._parts(weight, turned).transpose(0, 1, 2, 4, 5, 3))
        np.matmul(self._matrix(turned), taps.reshape(cuts**2, A, k * k, B), out=U.transpose(1, 2, 0, 3))

    def _matrix(self, turned: bool) -> np.ndarray:
        """What transforms a part written as one row: backwards if it is turned round."""
        return np.ascontiguousarray(self.t.kernel_2d[:, ::-1]) if turned else self.t.kernel_2d

    def _parts(self, weight: np.ndarray, turned: bool) -> np.ndarray:
        """The parts (cuts, cuts, *weight's first axes, k, k), filled up with zeros behind the last tap; each part
        is itself not turned."""
        cuts, k = self.cuts, self.t.kernel
        if cuts == 1:
            return weight[None, None]
        fill = (cuts * k - self.size, 0) if turned else (0, cuts * k - self.size)
        filled = np.pad(weight, ((0, 0), (0, 0), fill, fill))
        parts = filled.reshape(*weight.shape[:2], cuts, k, cuts, k).transpose(2, 4, 0, 1, 3, 5)
        return parts[::-1, ::-1] if turned else parts

    def gradient(self, dU: np.ndarray) -> np.ndarray:
        """The gradient by the weight, of its shape, from the one by what `forward` returns.

        dU   (a a, parts, C_out, C_in), of tiles of the output's gradient as `backward` meets them
        """
        whole = self.from_tiles(dU)
        return whole.swapaxes(0, 1) if self.transposed else whole

    def from_tiles(self, dU: np.ndarray) -> np.ndarray:
        """The gradient by kernels (A, B, k, k), from the one by their tiles (a a, parts, A, B)."""
        turned, cuts, k = not self.transposed, self.cuts, self.t.kernel
        A, B = dU.shape[2:]
        taps = np.ascontiguousarray(self._matrix(turned).T) @ dU.transpose(1, 2, 0, 3)
        parts = taps.reshape(cuts, cuts, A, k, k, B)
        if turned:
            parts = parts[::-1, ::-1]
        whole = parts.transpose(2, 5, 0, 3, 1, 4).reshape(A, B, cuts * k, cuts * k)
        first = cuts * k - self.size if turned else 0
        return whole[:, :, first : first + self.size, first : first + self.size]
