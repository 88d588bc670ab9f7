"""Reading a kernel's signature out of a .cu file, as people write them."""

import numpy as np
import pytest

from minisegnet.cuda import modules
from minisegnet.cuda.signature import Kernel, Unreadable, kernel_named, kernels, runs_on
from minisegnet.errors import KernelError


def one(text, name="f"):
    return kernel_named(text, name, "mine.cu")


def parameter(declared, body=""):
    [found] = one(f'extern "C" __global__ void f({declared})\n{{ {body} }}').parameters
    return found


@pytest.mark.parametrize("path", sorted(modules.kernel_folder().glob("*.cu")), ids=lambda path: path.name)
def test_every_kernel_of_ours_is_read(path):
    text = modules.text_of(path)
    found = kernels(text)
    assert len(found) == text.count("__global__") >= 1
    for kernel in found.values():
        assert isinstance(kernel, Kernel), kernel
        assert text[kernel.start :].startswith('extern "C"') and text[: kernel.end].endswith("}")


def test_one_of_ours_in_full():
    kernel = one(modules.text_of(modules.path_of("max_unpool2d.cu")), "max_unpool2d_scatter_4")
    assert str(kernel) == (
        "max_unpool2d_scatter_4(const float* x, const int* indices, float* y, int count, int pooled, int plane)"
    )
    assert [p.name for p in kernel.parameters] == ["x", "indices", "y", "count", "pooled", "plane"]
    assert [p.dtype for p in kernel.parameters] == ["f4", "i4", "f4", "i4", "i4", "i4"]
    assert [p.pointer for p in kernel.parameters] == [True] * 3 + [False] * 3
    assert [p.const for p in kernel.parameters] == [True, True] + [False] * 4
    assert [p.boundary for p in kernel.parameters] == [16, 16, 4, 1, 1, 1]  # y is scattered value by value


@pytest.mark.parametrize(
    ("declared", "name", "dtype", "pointer", "const", "restrict"),
    [
        ("const float* x", "x", np.float32, True, True, False),
        ("float const *x", "x", np.float32, True, True, False),
        ("float * const x", "x", np.float32, True, False, False),
        ("const float* __restrict__ x", "x", np.float32, True, True, True),
        ("float*__restrict x", "x", np.float32, True, False, True),
        ("const  volatile\n  int *\tx", "x", np.int32, True, True, False),
        ("const float x[]", "x", np.float32, True, True, False),
        ("float x[16]", "x", np.float32, True, False, False),
        ("int n", "n", np.int32, False, False, False),
        ("const int n", "n", np.int32, False, False, False),
        ("const __grid_constant__ int n", "n", np.int32, False, False, False),
        ("unsigned n", "n", np.uint32, False, False, False),
        ("unsigned int n", "n", np.uint32, False, False, False),
        ("int unsigned n", "n", np.uint32, False, False, False),
        ("signed n", "n", np.int32, False, False, False),
        ("long long n", "n", np.int64, False, False, False),
        ("long long int n", "n", np.int64, False, False, False),
        ("unsigned long long seed", "seed", np.uint64, False, False, False),
        ("long unsigned int long seed", "seed", np.uint64, False, False, False),
        ("size_t n", "n", np.uint64, False, False, False),
        ("bool flag", "flag", np.bool_, False, False, False),
        ("double eps", "eps", np.float64, False, False, False),
        ("unsigned char* mask", "mask", np.uint8, True, False, False),
        ("signed char* mask", "mask", np.int8, True, False, False),
        ("const unsigned short* bf16", "bf16", np.uint16, True, True, False),
        ("[[maybe_unused]] const float* x", "x", np.float32, True, True, False),
        ("/* the input */ const float* x // (N, C)\n", "x", np.float32, True, True, False),
    ],
)
def test_parameter(declared, name, dtype, pointer, const, restrict):
    found = parameter(declared)
    assert (found.name, found.dtype, found.pointer, found.const, found.restrict) == (
        name, np.dtype(dtype), pointer, const, restrict,
    )  # fmt: skip
    assert not found.nullable
    assert found.boundary == (np.dtype(dtype).itemsize if pointer else 1)


@pytest.mark.parametrize(
    "declared", ["const float* bias /* or null */", "const float* /*or  null*/ bias", "const float* bias/* or null */"]
)
def test_a_pointer_that_may_be_null(declared):
    found = parameter(declared)
    assert found.nullable and found.name == "bias" and found.text == "const float* bias"


@pytest.mark.parametrize(
    ("declared", "body", "boundary"),
    [
        ("const float4* x", "", 16),
        ("const int2* x", "", 8),
        ("float* x", "*reinterpret_cast<float4*>(x + i) = y;", 16),
        ("const float* x", "auto v = *reinterpret_cast<const float4 *> ( &x[i] );", 16),
        ("const float* x", "auto v = *(const float2*)(x + i);", 8),
        ("const float* x", "auto v = ((float4*)x)[i];", 16),
        ("const unsigned short* x", "auto v = *reinterpret_cast<const uint4*>(x);", 16),
        ("const float* x", "auto v = *reinterpret_cast<const float4*>(xs);", 4),
        ("const float* x", "// *reinterpret_cast<const float4*>(x)", 4),
    ],
)
def test_the_boundary_follows_the_widest_access(declared, body, boundary):
    assert parameter(declared, body).boundary == boundary


@pytest.mark.parametrize("declared", ["", "void", " /* none */ "])
def test_no_parameters(declared):
    assert one(f'extern "C" __global__ void f({declared}) {{}}').parameters == ()


@pytest.mark.parametrize(
    "head",
    [
        'extern "C" __global__ void f(',
        'extern "C"  __global__\nvoid\nf (',
        'extern "C" __global__ void __launch_bounds__(256) f(',
        'extern "C" __global__ __launch_bounds__(256, 2) void f(',
        'extern "C" __launch_bounds__( 256 ) __global__ void f(',
        'extern "C" __attribute__((used)) __global__ void f(',
        'extern "C" /* rung 2 */ __global__ void // the fast one\nf(',
        'extern "C" { __global__ void f(',
        'extern "C" { __device__ int g() { return 1; } __global__ void f(',
    ],
)
def test_head(head):
    kernel = one(head + "int n)\n{\n    if (n) { n = 1; }\n}\n}")
    assert str(kernel) == "f(int n)"
    assert kernel.most_threads == (256 if "256" in head else None)


def test_several_kernels_among_other_code():
    text = """// __global__ void in_a_comment(int n) {}
    #include "reduction.cuh"
    #define TILE(n) __global__ void in_a_macro(int n) \\
                    { }
    #pragma once
    static const char* words = "extern \\"C\\" __global__ void in_a_string(int n) { }";
    __device__ static float helper(const float* x, char brace = '{') { return x[0]; }
    struct Pair { int first, second; };
    extern "C" __global__ void declared(const float* x);
    extern "C" __global__ void first(float* y /* a, b) { */, int n) { if (n) { y[0] = 1; } }
    /* extern "C" __global__ void commented_out(int n) { } */
    extern "C" __global__ void second(float* y)
    {
        extern __shared__ float tile[];
    }
    """
    assert list(kernels(text)) == ["first", "second"]
    assert str(one(text, "first")) == "first(float* y, int n)"
    assert not one(text, "first").dynamic_shared
    assert one(text, "second").dynamic_shared


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("template <int n> __global__ void f(float* x) {}", "it is a template"),
        ("__global__ void f(float* x) {}", 'write extern "C" before __global__'),
        ('extern "C" __device__ int g() { return 1; }\n__global__ void f(float* x) {}', 'write extern "C"'),
        ('extern "C" __global__ int f(float* x) {}', "write void before its name"),
        ('extern "C" __global__ void f(float** x) {}', "`float** x` cannot be read"),
        ('extern "C" __global__ void f(float& x) {}', "`float& x` cannot be read"),
        ('extern "C" __global__ void f(float*) {}', "`float*` cannot be read"),
        ('extern "C" __global__ void f(unsigned int) {}', "`unsigned int` cannot be read"),
        ('extern "C" __global__ void f(int n, ) {}', "`` cannot be read"),
        ('extern "C" __global__ void f(int n = 3) {}', "`int n = 3` cannot be read"),
        ('extern "C" __global__ void f(Shape shape) {}', "`Shape shape` is of no type that is known here: bool, char"),
        ('extern "C" __global__ void f(float4 x) {}', "`float4 x` is of no type that is known here"),
        ('int g;\n// needs: luck\nextern "C" __global__ void f(int n) {}', "`// needs: luck` cannot be read; write"),
        ('#if A\nextern "C" __global__ void f(int n) {}\n#else\nextern "C" __global__ void f(int* n) {}\n#endif',
         "defined twice, as f(int n) and as f(int* n)"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_when_it_is_asked_for(text, message):
    text += '\nextern "C" __global__ void good(int n) {}'
    assert isinstance(kernels(text)["f"], Unreadable)
    assert one(text, "good").parameters[0].name == "n"
    with pytest.raises(KernelError) as caught:
        one(text)
    assert message in str(caught.value) and "f in mine.cu" in str(caught.value)


def test_unknown_name_tells_those_that_are_there():
    text = 'extern "C" __global__ void relu_forward(int n) {}\nextern "C" __global__ void relu_backward(int n) {}'
    with pytest.raises(KernelError, match=r"relu_foward \(did you mean relu_forward\?\); it has relu_forward, "):
        one(text, "relu_foward")
    with pytest.raises(KernelError, match=r"mine\.cu has no kernel gemm; it has relu_forward, relu_backward"):
        one(text, "gemm")
    with pytest.raises(KernelError, match="no kernel gemm, nor any other; write it out, without a macro"):
        one("RUNG(gemm, 16)", "gemm")


def test_code_that_does_not_close_is_left_to_the_compiler():
    assert str(one('extern "C" __global__ void f(int n) { if (n) {')) == "f(int n)"
    assert kernels('extern "C" __global__ void f(int n') == {}
    assert kernels("__global__") == {}


LADDER = """// A ladder of three rungs.
//   3  tensor cores, which need sm_80
// needs: 8-byte arrays

// Rung 1.
extern "C" __global__ void one(const float* x) {}
// Rung 2, of a file that says
// needs: sm_80, 16-byte arrays
__device__ int helper() { return 1; }
extern "C" __global__ void two(const float* x)
{
}
// needs: sm_90
extern "C" __global__ void three(const float* x) {}
extern "C" __global__ void four(const float* x) {}
"""


def test_needs_hold_for_the_file_or_the_next_kernel():
    needs = {name: (k.architecture, k.parameters[0].boundary) for name, k in kernels(LADDER).items()}
    assert needs == {"one": (75, 8), "two": (80, 16), "three": (90, 8), "four": (75, 8)}
    text = '// needs: sm_80\nextern "C" __global__ void f() {}\nextern "C" __global__ void g() {}'
    assert one(text, "f").architecture == one(text, "g").architecture == 80


def test_what_a_device_cannot_run_is_left_out_and_lines_stay():
    assert list(kernels(runs_on(LADDER, 75))) == ["one", "four"]
    assert list(kernels(runs_on(LADDER, 80))) == ["one", "two", "four"]
    assert runs_on(LADDER, 90) == LADDER
    for architecture in (75, 80):
        assert [len(line) for line in runs_on(LADDER, architecture).split("\n")] == list(map(len, LADDER.split("\n")))
