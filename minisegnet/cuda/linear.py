"""The fully connected operation: three matrix products, each the ladder of gemm.cu."""

from minisegnet.cuda import arrays, ladder


def linear_forward(x, weight, bias=None):
    x, weight = arrays.contiguous(x), arrays.contiguous(weight)
    return multiply(x, weight, bias, b_transposed=True), (x, weight, bias is not None)


def linear_backward(dy, saved):
    x, weight, has_bias = saved
    dy = arrays.contiguous(dy)
    dbias = ladder.channel_sum(dy) if has_bias else None
    return multiply(dy, weight), multiply(dy, x, a_transposed=True), dbias


def multiply(a, b, bias=None, a_transposed=False, b_transposed=False, rung=None):
    """The matrix product a b + bias, each of a and b contiguous and perhaps to be read as its transpose.

    `rung` is a name from `ladder.RUNGS`, for lessons and benchmarks; by default the fastest that the device and
    `precision` allow.
    """
    M, K = a.shape[::-1] if a_transposed else a.shape
    N = b.shape[0] if b_transposed else b.shape[1]
    rung = rung or ladder.fastest(M, a)
    count, each = ladder.split(rung, M, N, K)
    parts = arrays.empty((count, M, N), a.dtype, like=a)
    bias = None if bias is None else arrays.contiguous(bias)
    ladder.product("gemm", rung, M, N, count, a, b, bias, parts, M, N, K, a_transposed, b_transposed, each)
    return ladder.add_parts(parts, (M, N))
