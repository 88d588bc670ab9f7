"""Traces: what one thread or one warp did, line by line, as a lesson shows it."""

import numpy as np
import pytest
from small_kernels import HERE, KERNELS, floats, needs_compiler

from minisegnet import emulator
from minisegnet.emulator.following import following
from minisegnet.errors import OptionError

pytestmark = needs_compiler


def trace(kernel, *launch, **who):
    file, name = kernel.split(":")
    return emulator.trace(HERE / f"{file}.cu", name, *launch, **who)


def story(moments):
    return [(moment.line.number, event) for moment in moments for event in moment.events]


def lines_of(kernel, *texts):
    file, name = kernel.split(":")
    lines = (HERE / f"{file}.cu").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if f"void {name}(" in line)
    return [next(i + 1 for i in range(start, len(lines)) if text in lines[i]) for text in texts]


def test_one_thread_of_many():
    x, y = floats(64), np.zeros(64, np.float32)
    followed = trace("races:neighbour_right", (1,), (64,), [x, y], thread=(5,))
    declared, stored, waited, loaded = lines_of(
        "races:neighbour_right", "const int t", "tile[t] = x[t]", "__syncthreads", "y[t] = tile"
    )
    assert story(followed.moments) == [
        (declared, "threadIdx.x = 5"),
        (declared, "t = 5"),
        (stored, f"read x[5] = {x[5]:.6g}"),
        (stored, f"wrote tile[5] = {x[5]:.6g}"),
        (waited, "waited in __syncthreads"),
        (loaded, f"read tile[58] = {x[58]:.6g}"),
        (loaded, f"wrote y[5] = {x[58]:.6g}"),
    ]
    np.testing.assert_array_equal(y, x[::-1])
    assert "thread (5, 0, 0) of block (0, 0, 0)" in str(followed) and "tile[t] = x[t];" in str(followed)


def test_which_block_and_thread():
    y = np.zeros(60, np.int32)
    followed = trace("hostile:who", (2, 1, 3), (5, 2), [y], block_index=(1, 0, 2), thread=(3, 1))
    events = [event for _, event in story(followed.moments)]
    wanted = ["blockIdx.x = 1", "blockIdx.z = 2", "threadIdx.y = 1", "block = 5", "thread = 8", "wrote y[58] = 50008"]
    assert [event for event in wanted if event not in events] == []
    with pytest.raises(OptionError, match="block_index"):
        trace("hostile:who", (2,), (5,), [y], block_index=(2,))
    with pytest.raises(OptionError, match="thread"):
        trace("hostile:who", (2,), (5,), [y], thread=(0, 1))
    with pytest.raises(OptionError, match="warp may be 0 to 0"):
        trace("hostile:who", (2,), (5,), [y], warp=1)


def test_branches_loops_and_sums():
    x = np.arange(64, dtype=np.float32)
    followed = trace("counted:long_loop", (1,), (32,), [x, np.zeros(32, np.float32), np.int32(2)], thread=(3,))
    [loop] = lines_of("counted:long_loop", "for (int i")
    assert [event for line, event in story(followed.moments) if line == loop] == [
        "threadIdx.x = 3", "read x[3] = 3", "i = 0", "sum = 3",
        "threadIdx.x = 3", "read x[35] = 35", "i = 1", "sum = 38",
    ]  # fmt: skip
    y = np.zeros(64, np.float32)
    followed = trace("barriers:left_early_right", (1,), (64,), [y, np.int32(20)], thread=(30,))
    [returned] = lines_of("barriers:left_early_right", "if (i >= n) return")
    assert (returned, "true") in story(followed.moments)


def test_a_warp_together():
    x, y = floats(64), np.zeros(64, np.float32)
    followed = trace("races:neighbour_right", (1,), (64,), [x, y], warp=1)
    text = str(followed)
    told = ["warp 1 of block", "threadIdx.x = 32 to 63", "read x[32 to 63]", "wrote tile[32 to 63]", "[31 to 0 by -1]"]
    assert [words for words in told if words not in text] == []
    assert len(followed.of((40, 0, 0))) == 4
    text = str(trace("barriers:left_early_right", (1,), (32,), [np.zeros(32, np.float32), np.int32(20)], warp=0))
    assert "lanes 0 to 19: " in text and "false for 0 to 19, true for 20 to 31" in text


def test_vectors_and_atomic_operations():
    x = np.arange(8, dtype=np.float32)
    events = story(trace("counted:four_at_once", (1,), (2,), [x, np.zeros(8, np.float32)], thread=(1,)).moments)
    assert [event for _, event in events][-2:] == ["read x[4] = (4, 5, 6, 7)", "wrote y[4] = (4, 5, 6, 7)"]
    y = np.full(4, 7, np.int32)
    events = story(trace("counted:counted_up", (1,), (1,), [y]).moments)
    assert events[-1][1] == "changed y[0] = 8"


def test_a_broken_rule_is_told_too():
    followed = trace("races:neighbour", (1,), (64,), [floats(64), np.zeros(64, np.float32)], thread=(0,))
    assert followed.report.findings and "race" in str(followed)


@pytest.mark.parametrize(
    ("statement", "followed"),
    [
        ("int a = b;", 'int a = b; emulator::show("a", a, {__FILE__, 1});'),
        ("if (a > b) c += 2;",
         'if (emulator::decided(bool(a > b), {__FILE__, 1})) c += 2, emulator::show("c", c, {__FILE__, 1});'),
        ("x[i] = y[i];", "x[i] = y[i];"),
        ("for (int i = 0; i < n; i++) f(i);", "for (int i = 0; i < n; i++) f(i);"),
        ("for (int i = 0; i < n; i++) { f(i); }",
         'for (int i = 0; i < n; i++) {emulator::show("i", i, {__FILE__, 1}); f(i); }'),
        ("const int a = f(1, 2), b = 3;",
         'const int a = f(1, 2), b = 3; emulator::show("a", a, {__FILE__, 1}), emulator::show("b", b, {__FILE__, 1});'),
        ("return a;", "return a;"),
        ("a == b;", "a == b;"),
        ("float four[4] = {1, 2};", "float four[4] = {1, 2};"),
        ("__shared__ float tile[4];", "__shared__ float tile[4];"),
        ("// a = b;", "// a = b;"),
    ],
)  # fmt: skip
def test_what_is_put_into_the_text(statement, followed):
    assert following(f"void f() {{ {statement}\n}}") == f"void f() {{ {followed}\n}}"


def test_what_a_function_returns():
    text = "__device__ float f(float x) { if (x < 0) return 0.0f; return g(x, 1); }"
    assert "return emulator::returned( 0.0f, {__FILE__, 1});" in following(text)
    assert "return emulator::returned( g(x, 1), {__FILE__, 1});" in following(text)
    for kept in ("float4 f() { return {1, 2, 3, 4}; }", "constexpr int f() { return 3; }", "void f() { return; }"):
        assert following(kept) == kept
    followed = emulator.trace(KERNELS / "relu.cu", "relu_forward", (1,), (2,), [
        np.array([-1, 2], np.float32), np.zeros(2, np.float32), np.int32(2)], thread=(1,))  # fmt: skip
    assert "returned = 2" in [event for _, event in story(followed.moments)]
