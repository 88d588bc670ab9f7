"""Jobs side by side: the same results in the same order on any number of threads, and BLAS left as it was."""

import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from minisegnet import functional
from minisegnet.numpy_ops.threads import side_by_side


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_keep_the_jobs_order_and_blas_its_threads(threads):
    with threadpool_limits(threads, user_api="blas"):
        before = blas_threads()
        assert side_by_side(lambda a, b: a - b, ((i, 2 * i) for i in range(20))) == [-i for i in range(20)]
        assert blas_threads() == before


def test_no_jobs_give_no_results():
    assert side_by_side(lambda: 1, []) == []


def test_an_error_in_a_job_comes_out_and_blas_keeps_its_threads():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda a: 1 / a, [(1,), (0,), (2,)])
    assert blas_threads() == before


def test_a_job_may_have_jobs_of_its_own():
    def outer(n):
        return sum(side_by_side(lambda i: n * i, ((i,) for i in range(4))))

    assert side_by_side(outer, ((n,) for n in range(5))) == [6 * n for n in range(5)]


@pytest.mark.parametrize("batch", [1, 5])
def test_a_convolution_is_the_same_to_the_bit_on_any_number_of_threads(batch):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((batch, 8, 60, 70), np.float32)
    weight = rng.standard_normal((16, 8, 3, 3), np.float32)
    answers = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="blas"):
            y, cache = functional.conv2d_forward(x, weight, padding=1)
            answers.append([y, *functional.conv2d_backward(y, cache)[:2]])
    for answer in answers[1:]:
        for one, other in zip(answers[0], answer, strict=True):
            np.testing.assert_array_equal(one, other)


SCIPY_FIRST = """
import scipy.linalg
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
from minisegnet.numpy_ops.threads import side_by_side

with threadpool_limits(2, user_api="blas"):
    seen = side_by_side(lambda: [library["num_threads"] for library in threadpool_info()], [(), ()])
assert seen == [[1] * len(seen[0])] * 2, seen
"""


def test_every_blas_is_held_to_one_thread_whichever_was_loaded_first():
    subprocess.run([sys.executable, "-c", SCIPY_FIRST], check=True, timeout=60)


FORK = """
import os, sys
import numpy as np
from threadpoolctl import threadpool_limits
from minisegnet import functional

x, weight = np.ones((4, 2, 9, 9), np.float32), np.ones((3, 2, 3, 3), np.float32)
with threadpool_limits(2, user_api="blas"):
    y, _ = functional.conv2d_forward(x, weight)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(functional.conv2d_forward(x, weight)[0], y) else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork a process")
def test_a_forked_child_has_threads_of_its_own():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=60)
