"""What the launcher hands over is what a kernel in the emulator gets, of every type that a parameter may have."""

import numpy as np
import pytest

from minisegnet import emulator
from minisegnet.cuda.launcher import launch

EVERY_TYPE = """
extern "C" __global__ void every_type(const float* bias /* or null */, const bool* mask, unsigned char* bytes,
                                      const unsigned short* halves, long long* longs, float4* four, bool flag,
                                      unsigned char c, unsigned u, long long l, unsigned long long seed, double d)
{
    const int i = threadIdx.x;
    bytes[i] = !mask[i];
    longs[i] = halves[i] + c + l;
    if (i == 0) four[0] = make_float4(bias ? bias[0] : -1.0f, flag ? d : 0.0, u, seed == 18446744073709551615ull);
}
"""


def test_every_type_arrives_in_the_emulator(tmp_path):
    if emulator.compiler_found() is None:
        pytest.skip("no C++ compiler was found, which the emulator needs")
    source = tmp_path / "every_type.cu"
    source.write_text(EVERY_TYPE)
    mask, masked = np.array([True, False, True]), np.zeros(3, bool)
    halves, longs, four = np.array([1, 65535, 3], np.uint16), np.zeros(3, np.int64), np.zeros((1, 4), np.float32)
    numbers = True, 255, 2**32 - 256, -(2**40), 2**64 - 1, 0.5
    launch(source, "every_type", 1, 3, None, mask, masked, halves, longs, four, *numbers)
    assert masked.tolist() == [False, True, False]
    assert (longs == halves.astype(np.int64) + 255 - 2**40).all()
    assert four.tolist() == [[-1.0, 0.5, 2.0**32 - 256, 1.0]]
    launch(
        source, "every_type", 1, 3, np.full(1, 7, np.float32), mask, masked, halves, longs, four, False, *numbers[1:]
    )
    assert four.tolist() == [[7.0, 0.0, 2.0**32 - 256, 1.0]]
