"""ONNX's own node tests of our operations, on every backend; `onnx_cases.LEFT_OUT` says which are not run and why."""

import numpy as np
import pytest
from onnx_cases import LEFT_OUT, OPERATORS, loaded, node_cases, operators_of

CASES = {case.name: case for case in node_cases()}
LISTED = {name for names in LEFT_OUT.values() for name in names}
FOUR_DIGITS = {  # of the answer are all that ONNX gives
    "test_averagepool_2d_ceil_last_window_starts_on_pad",
    "test_roialign_aligned_false",
    "test_roialign_aligned_true",
}


@pytest.mark.parametrize("name", [name for name in CASES if name not in LISTED])
def test_onnx(backend, name):
    case = CASES[name]
    computed = case.compute()
    assert len(computed) >= len(case.outputs)
    for number, (result, wanted) in enumerate(zip(computed, case.outputs, strict=False)):
        assert result.shape == wanted.shape, f"output {number}"
        bound = 1e-3 if name in FOUR_DIGITS else 1e-5
        np.testing.assert_allclose(result, wanted, rtol=bound, atol=1e-6, err_msg=f"output {number}")


def test_only_expansions_are_passed_over():
    """A test of several nodes spells out another test's node in smaller operators, on the same numbers."""
    several = [test.name for test in loaded() if len(operators_of(test)) > 1]
    assert several and all("_expanded" in name for name in several)


def test_every_operator_has_a_case():
    assert {case.operator for case in CASES.values() if case.name not in LISTED} == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(LISTED & set(CASES)))
def test_what_is_left_out_cannot_be_run(name):
    """A case stays listed only as long as our operations refuse it or compute something else."""
    case = CASES[name]
    try:
        computed = case.compute()
    except Exception:
        return
    assert not all(
        result.shape == wanted.shape and np.allclose(result, wanted, rtol=1e-5, atol=1e-6)
        for result, wanted in zip(computed, case.outputs, strict=False)
    ), f"{name} can be run: take it off the list"
