"""Which sides of a benchmark take part, and what is written when one fails; the processes played by functions."""

import os
import sys
from pathlib import Path
from typing import ClassVar

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import cpu_step
from measuring.case import Case
from measuring.processes import SideFailed, one_and_four

SIDES = ["engine", "pytorch", "channels_last", "compiled", "frozen"]
RIGHT = {"scores": [1.0, 2.0]}


class Side:
    """A process of one side that takes the times it is given, one a turn; the last again and again."""

    started: ClassVar[list] = []

    def __init__(self, side, times):
        self.times = list(times) if isinstance(times, list) else [times]
        self.started.append(side)

    def turn(self):
        seconds = self.times.pop(0) if len(self.times) > 1 else self.times[0]
        if isinstance(seconds, Exception):
            raise seconds
        return {"seconds": seconds, "memory": 2**20, "software": "none"}

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        pass


@pytest.fixture
def compare(monkeypatch):
    """A Comparison of a case of inference or training, whose sides answer as told: numbers, or the failure to raise."""

    def compare(training=False, timed=None, **answers):
        def ask(module, side, cores, task, case):
            answer = answers.get(side, RIGHT)
            if isinstance(answer, Exception):
                raise answer
            return answer

        def start(module, side, cores, task, case, seconds):
            return Side(side, (timed or {}).get(side, 1.0))

        monkeypatch.setattr(Side, "started", [])
        monkeypatch.setattr(cpu_step, "ask", ask)
        monkeypatch.setattr(cpu_step, "start", start)
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
    comparison = compare(timed={"engine": [1.0, 2.0], "pytorch": [3.0, SideFailed("killed")]})
    comparison.add_rounds(5)
    assert comparison.sides == []
    assert [round["engine"] for round in comparison.rounds] == [1.0]
    told = "\n".join(comparison.report())
    assert "| PyTorch as it comes | 3.00 s | 3.00 (3.00 to 3.00) |" in told
    assert "pytorch failed: killed" in told


def test_a_process_lasts_for_a_set_of_rounds(compare):
    comparison = compare(training=True)
    comparison.add_rounds(3)
    comparison.add_rounds(2)
    assert len(comparison.rounds) == 5
    assert Side.started == 2 * SIDES[:-1]


def test_tuned_sides_far_behind_the_best_leave_and_keep_their_row(compare):
    timed = {"engine": 1.0, "pytorch": 9.0, "channels_last": 2.0, "compiled": 2.1, "frozen": 2.5}
    comparison = compare(timed=timed)
    comparison.add_rounds(2)
    comparison.add_rounds(1)
    assert comparison.sides == SIDES[:-1]
    assert ["frozen" in one for one in comparison.rounds] == [True, True, False]
    told = "\n".join(comparison.report())
    assert "torch.compile on frozen weights (2 rounds) | 2.50 s | 2.50 (2.50 to 2.50) |" in told
    assert "**PyTorch, channels last** (best tuned) | 2.00 s" in told


@pytest.mark.parametrize("allowed, wanted", [(1, [1]), (2, [1, 2]), (4, [1, 4]), (16, [1, 4])])
def test_cores_that_are_not_there_are_not_asked_for(monkeypatch, allowed, wanted):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(allowed)), raising=False)
    assert one_and_four() == wanted
