"""A student's kernels in place of ours."""

import numpy as np
import pytest

from minisegnet import emulator
from minisegnet.cuda import modules
from minisegnet.cuda.launcher import launch, lowest_architecture
from minisegnet.cuda.own_kernels import kernels_from
from minisegnet.cuda.signature import kernels
from minisegnet.errors import KernelError

MINE = """
// needs: sm_80
extern "C" __global__ void relu_forward(const float* input, float* output, int n) {}
"""


@pytest.fixture
def ran(monkeypatch):
    """Files and names of the kernels that reached the emulator, which runs none of them."""
    calls = []
    monkeypatch.setattr(emulator, "run", lambda path, kernel, *_: calls.append((path.name, kernel)), raising=False)
    return calls


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.cu"
    path.write_text(MINE)
    return path


def relu(kernel="relu_forward", source="relu.cu"):
    x = np.zeros(4, np.float32)
    launch(source, kernel, 1, 32, x, x, 4)


def test_names_of_ours_are_unique():
    files = modules.kernel_folder().glob("*.cu")
    names = [name for path in files for name in kernels(modules.text_of(path))]
    assert len(names) == len(set(names))


def test_yours_stands_in_for_ours_inside_the_block(ran, mine, tmp_path):
    other = tmp_path / "relu.cu"
    other.write_text(MINE)
    with kernels_from(str(mine)) as launched:
        relu()
        relu()
        relu("relu_forward_4")
        relu(source=other)  # a file that is named as a path is taken as it is
        assert lowest_architecture("relu.cu", "relu_forward") == 80
    relu()
    yours = ("mine.cu", "relu_forward")
    ours = ("relu.cu", "relu_forward")
    assert ran == [yours, yours, ("relu.cu", "relu_forward_4"), ours, ours]
    assert launched == {"relu_forward": 3, "relu_forward_4": 1}
    assert lowest_architecture("relu.cu", "relu_forward") == 75


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("relu_forward", "relu_foward"), r"relu_foward in mine\.cu is the name of none .*did you mean relu_forward\?"),
        (("const float*", "float*"), r"your relu_forward\(float\* input.* must take the types that ours does, relu"),
        (("int n", "long long n"), "must take the types that ours does"),
        ((", int n", ""), "must take the types that ours does"),
        (('extern "C"', ""), r'relu_forward in mine\.cu: .*write extern "C"'),
        (("__global__", "__device__"), r"mine\.cu has no kernel; one is written as"),
    ],
)
def test_what_does_not_stand_in_is_told_at_once(mine, change, words):
    mine.write_text(MINE.replace(*change))
    with pytest.raises(KernelError, match=words), kernels_from(mine):
        pytest.fail("the block was entered")


def test_one_that_was_never_launched_is_told_at_the_end(ran, mine):
    words = r"relu_forward in mine\.cu was never launched; launched were relu_forward_4"
    with pytest.raises(KernelError, match=words), kernels_from(mine):
        relu("relu_forward_4")
    with pytest.raises(KernelError, match="launched were none at all"), kernels_from(mine):
        pass
    with pytest.raises(ZeroDivisionError), kernels_from(mine):  # which is the news then
        _ = 1 / 0
