"""A run of the whole suite that executes fewer cases than recorded fails; any other run is left alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).with_name("executed_cases.py")
SUITE = """
import pytest

@pytest.mark.parametrize("number", range({everyday}))
def test_everyday(number):
    pass

@pytest.mark.torch
@pytest.mark.parametrize("number", range({torch}))
def test_torch(number):
    if {absent}:
        pytest.skip("PyTorch is not installed")
"""


@pytest.fixture
def suite(tmp_path):
    """A small suite of its own: suite(everyday, torch, *options) runs it and returns (exit status, what it said)."""
    tests = tmp_path / "tests"
    tests.mkdir()
    shutil.copy(PLUGIN, tests)
    (tests / "conftest.py").write_text('pytest_plugins = ["executed_cases"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers = torch\n")

    def run(everyday, torch, *options, absent=False):
        (tests / "test_onnx.py").write_text(SUITE.format(everyday=everyday, torch=torch, absent=absent))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    run.record = tests / "executed_cases.json"
    return run


def test_fewer_cases_than_recorded_fail(suite):
    assert suite(3, 2, "--record-cases")[0] == 0
    assert json.loads(suite.record.read_text()) == {"onnx": {"test_onnx.py": 3}, "torch": {"test_onnx.py": 2}}
    for more in ((3, 2), (4, 2)):
        assert suite(*more)[0] == 0
    status, said = suite(2, 2)
    assert status == 1 and "onnx: tests/test_onnx.py executed 2 cases, recorded are 3" in said
    status, said = suite(3, 1)
    assert status == 1 and "torch: tests/test_onnx.py executed 1 cases, recorded are 2" in said


def test_without_pytorch_its_cases_are_not_missed(suite):
    suite(3, 2, "--record-cases")
    assert suite(3, 2, absent=True)[0] == 0
    assert suite(3, 2, "-m", "not torch")[0] == 0
    assert suite(2, 2, "-m", "not torch")[0] == 1
    assert suite(0, 2, "-m", "torch")[0] == 0
    assert suite(3, 2, "-m", "torch", absent=True)[0] == 1


def test_recording_one_group_keeps_the_other(suite):
    suite(3, 2, "--record-cases")
    suite(5, 2, "--record-cases", absent=True)
    assert json.loads(suite.record.read_text()) == {"onnx": {"test_onnx.py": 5}, "torch": {"test_onnx.py": 2}}
    suite(5, 4, "--record-cases", "-m", "torch")
    assert json.loads(suite.record.read_text()) == {"onnx": {"test_onnx.py": 5}, "torch": {"test_onnx.py": 4}}


@pytest.mark.parametrize("part", [["-k", "everyday"], ["tests/test_onnx.py"], ["-x"], ["-m", "torch or not torch"]])
def test_a_part_of_the_suite_is_left_alone(suite, part):
    suite(3, 2, "--record-cases")
    assert suite(1, 1, *part)[0] == 0
    status, said = suite(1, 1, *part, "--record-cases")
    assert status == 4 and "needs a run of the whole suite" in said


def test_the_whole_suite_by_its_path(suite):
    suite(3, 2, "tests", "--record-cases")
    assert suite(3, 2, "tests")[0] == 0
    assert suite(2, 2, "tests")[0] == 1
    assert suite(2, 2, ".")[0] == 1


def test_a_lost_file_is_missed(suite):
    suite(3, 0, "--record-cases")
    record = json.loads(suite.record.read_text())
    record["other"] = {"test_lost.py": 1}
    suite.record.write_text(json.dumps(record))
    status, said = suite(3, 0)
    assert status == 1 and "other: tests/test_lost.py executed 0 cases, recorded are 1" in said


def test_several_processes_count_together(suite):
    suite(6, 2, "--record-cases", "-n", "2")
    assert json.loads(suite.record.read_text()) == {"onnx": {"test_onnx.py": 6}, "torch": {"test_onnx.py": 2}}
    assert suite(6, 2, "-n", "2")[0] == 0
    status, said = suite(5, 2, "-n", "2")
    assert status == 1 and "onnx: tests/test_onnx.py executed 5 cases, recorded are 6" in said
