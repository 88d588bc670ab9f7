"""What the benchmarks make of their times: ratios within a round, the best tuned side, agreement, tables."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from measuring import report, rounds
from measuring.case import Case
from measuring.processes import KEPT_MEMORY, environment

THREE = [
    {"engine": 1.0, "pytorch": 4.0, "channels_last": 2.0, "compiled": 1.9},
    {"engine": 2.0, "pytorch": 5.0, "channels_last": 3.0, "compiled": 9.0},
    {"engine": 1.5, "pytorch": 6.0, "channels_last": 2.1, "compiled": 2.5},
]


def test_ratios_are_taken_within_a_round():
    assert rounds.times_faster(THREE, "engine", "pytorch") == (4.0, 2.5, 4.0)
    assert rounds.times_faster(THREE, "engine", "channels_last") == (1.5, pytest.approx(1.4), 2.0)


def test_the_best_tuned_side_is_that_of_least_median():
    assert rounds.best(THREE, ["channels_last", "compiled"]) == "channels_last"  # though compiled has the least time
    assert rounds.best(THREE, ["compiled", "kept_memory"]) == "compiled"
    assert rounds.best(THREE, ["kept_memory"]) is None


def test_agreement_is_a_relative_error_of_each_list():
    wanted = {"losses": [4.0, 3.0], "scores": [1.0] * 1000}
    assert rounds.disagreement(wanted, wanted) == ""
    assert rounds.disagreement({"losses": [4.0, 3.0049], "scores": [1.0] * 999 + [1.03]}, wanted) == ""
    assert rounds.disagreement({**wanted, "losses": [4.0, 3.0051]}, wanted).startswith("losses: relative error 1.0e-03")
    assert rounds.disagreement({**wanted, "scores": [1.0] * 999 + [1.04]}, wanted).startswith("scores: relative error")


@pytest.mark.parametrize("losses", [[3.0, float("nan")], [float("nan"), 2.0], [3.0], []])
def test_nan_and_numbers_that_are_missing_disagree(losses):
    assert "losses" in rounds.disagreement({"losses": losses}, {"losses": [3.0, 2.0]})


@pytest.mark.parametrize("power", [0.5, 1.0, 1.3])
def test_the_exponent_of_a_power_law(power):
    pixels = np.array([64, 128, 512]) ** 2
    assert rounds.exponent(pixels, 3e-8 * pixels**power) == pytest.approx(power)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(12.345, "12.3 s"), (1.0, "1.00 s"), (0.1234, "123 ms"), (0.00999, "9.99 ms"), (2.5e-5, "25.0 us")],
)
def test_durations_have_three_digits(seconds, told):
    assert report.duration(seconds) == told


def test_a_table_of_sides():
    memory = {"engine": 300 * 2**20, "pytorch": 400 * 2**20, "channels_last": 600 * 2**20, "compiled": 600 * 2**20}
    software = dict.fromkeys(memory, "a library")
    lines = report.sides_table(THREE, memory, software)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [len(row) for row in cells] == [6] * 6
    assert cells[2] == ["minisegnet", "1.50 s", "", "300 MiB", "", "a library"]
    assert cells[3] == ["PyTorch as it comes", "5.00 s", "4.00 (2.50 to 4.00)", "400 MiB", "0.75", "a library"]
    assert cells[4][0] == "**PyTorch, channels last** (best tuned)"
    assert cells[4][2:5] == ["1.50 (1.40 to 2.00)", "600 MiB", "0.50"]
    assert "best" not in cells[5][0]


def test_a_report_replaces_the_one_before(tmp_path):
    path = tmp_path / "deeper" / "table.md"
    report.write(path, ["old"] * 9)
    report.write(path, ["# head"], ["row"], [])
    assert path.read_text() == "# head\nrow\n"
    assert list(path.parent.iterdir()) == [path]


def test_each_side_gets_its_environment():
    outside = {"HOME": "here", "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "1", "OMP_NUM_THREADS": "9"}
    ours, tuned = environment(outside, "engine", 4), environment(outside, "channels_last", 4)
    assert "OPENBLAS_CORETYPE" not in ours and "OPENBLAS_L2_SIZE" not in ours
    assert (ours["HOME"], ours["OPENBLAS_NUM_THREADS"], ours["OMP_NUM_THREADS"]) == ("here", "4", "4")
    assert not KEPT_MEMORY.keys() & ours.keys()
    assert not KEPT_MEMORY.keys() & environment(outside, "pytorch", 4).keys()
    assert KEPT_MEMORY.items() <= tuned.items()
    assert environment(outside, "prototype", 4)["OPENBLAS_NUM_THREADS"] == "1"  # in each of four processes


def test_a_case_is_the_same_in_every_process():
    case = Case("fcn8s", {"encoder": "vgg16", "width": 2, "head": 4}, (1, 3, 32, 40), True)
    again = Case(**json.loads(json.dumps(asdict(case))))
    (graph, images, labels), (other, *arrays) = case.build(), again.build(dropout=False)
    np.testing.assert_array_equal(images, arrays[0])
    np.testing.assert_array_equal(labels, arrays[1])
    for name, parameter in graph.parameters.items():
        np.testing.assert_array_equal(parameter.data, other.parameters[name].data)
        assert parameter.data.any() or name.endswith("bias"), name  # scores that start at zero would hide the rest
    assert labels.shape == (1, 32, 40)
    assert {layer.p for layer in other.layers.values() if hasattr(layer, "p")} == {0.0}
    assert str(case) == "a training step on 1 image of 3 x 32 x 40"
