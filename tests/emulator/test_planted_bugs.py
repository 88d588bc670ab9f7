"""The bank of planted bugs: check mode finds each, in any order of threads, at its lines; and nothing where none is."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from planted_bugs import BUGS
from planted_launches import LAUNCHES
from small_kernels import KERNELS, SCHEDULES, needs_compiler, three

from minisegnet import emulator

pytestmark = needs_compiler


def checked(folder, launch, schedule):
    """The report of a launch of the kernel in that folder."""
    numbers = {int: np.int32, float: np.float32}
    values = [numbers[type(value)](value) if type(value) in numbers else value for value in launch.arguments()]
    with emulator.check(schedule) as report:
        emulator.run(folder / launch.file, launch.kernel, three(launch.grid), three(launch.block), values)
    return report


def told(finding):
    """The lines of the source that a finding names."""
    return [Path(line.file).read_text(encoding="utf-8").splitlines()[line.number - 1] for line in finding.places]


def names(finding, bug):
    """Whether the finding is of the bug's kind and its lines are the bug's, each of the bug's among them."""
    lines = told(finding)
    return (
        finding.kind == bug.kind
        and all(any(part in line for line in lines) for part in bug.lines)
        and all(any(part in line for part in bug.lines) for line in lines)
    )


@pytest.mark.parametrize("name", BUGS)
def test_planted_bug(name, tmp_path):
    bug, folder = BUGS[name], tmp_path / "kernels"
    shutil.copytree(KERNELS, folder)
    text = (folder / bug.file).read_text(encoding="utf-8")
    assert text.count(bug.old) == 1, f"{bug.file} has {text.count(bug.old)} places, not one, that read\n{bug.old}"
    (folder / bug.file).write_text(text.replace(bug.old, bug.new), encoding="utf-8")
    for schedule in SCHEDULES:
        report = checked(folder, LAUNCHES[bug.launch], schedule)
        assert any(names(finding, bug) for finding in report.findings), f"{schedule}: {report}"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", LAUNCHES)
def test_no_alarm_without_a_bug(name, schedule):
    report = checked(KERNELS, LAUNCHES[name], schedule)
    assert report.launches == 1 and not report.findings, str(report)


def test_the_bank_is_large_and_of_all_kinds():
    kinds = {bug.kind for bug in BUGS.values()}
    assert len(BUGS) >= 44 and {bug.launch for bug in BUGS.values()} == set(LAUNCHES) and len(kinds) >= 9
