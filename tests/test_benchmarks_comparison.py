"""Which sides of a benchmark take part, and what is written when one fails; the processes played by functions."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import cpu_step
from measuring.case import Case
from measuring.processes import SideFailed

SIDES = ["engine", "pytorch", "channels_last", "compiled", "frozen"]
RIGHT = {"scores": [1.0, 2.0]}


@pytest.fixture
def compare(monkeypatch):
    """A Comparison of a case of inference or training, whose sides answer as told: numbers, or the failure to raise."""

    def compare(training=False, timed=None, **answers):
        def ask(module, side, cores, task, case, seconds=None):
            answer = answers.get(side, RIGHT) if task == "check" else (timed or {}).get(side, 1.0)
            if isinstance(answer, Exception):
                raise answer
            return answer if task == "check" else {"seconds": answer, "memory": 2**20, "software": "none"}

        monkeypatch.setattr(cpu_step, "ask", ask)
        return cpu_step.Comparison(Case("unet", {}, (1, 3, 16, 16), training), 1, SIDES, None, 0.1)

    return compare


def test_frozen_weights_are_for_inference(compare):
    assert compare(training=False).sides == SIDES
    assert compare(training=True).sides == SIDES[:-1]


def test_pytorch_as_it_comes_must_agree(compare):
    comparison = compare(pytorch={"scores": [1.0, 2.1]})
    assert comparison.sides == []
    assert any(line.startswith("NOT REPORTED: PyTorch as it comes") for line in comparison.report())


def test_a_tuned_side_that_disagrees_or_does_not_run_is_left_out_and_named(compare):
    comparison = compare(channels_last={"scores": [1.0, float("nan")]}, compiled=SideFailed("no g++"))
    assert comparison.sides == ["engine", "pytorch", "frozen"]
    told = "\n".join(comparison.report())
    assert "Left out: PyTorch, channels last does not compute" in told
    assert "PyTorch, channels last, torch.compile does not run here: no g++" in told


def test_nothing_is_reported_without_ours(compare):
    comparison = compare(engine=SideFailed("worker 2 died"))
    assert comparison.sides == []
    assert "minisegnet does not run here: worker 2 died" in comparison.report()


def test_rounds_before_a_failure_are_kept(compare):
    timed = {"engine": 1.0, "pytorch": 3.0}
    comparison = compare(timed=timed)
    comparison.add_round()
    timed |= {"engine": 2.0, "pytorch": SideFailed("killed")}
    comparison.add_round()
    assert comparison.sides == []
    assert [round["engine"] for round in comparison.rounds] == [1.0]
    told = "\n".join(comparison.report())
    assert "| PyTorch as it comes | 3.00 s | 3.00 (3.00 to 3.00) |" in told
    assert "pytorch failed: killed" in told
