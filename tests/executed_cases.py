"""The number of test cases executed is recorded, and may not shrink: a pytest plugin.

A run of the whole suite that passes fewer cases than `executed_cases.json` says fails, so that no case is lost unseen
to a skip, a filter or another version of a dependency. `pytest --record-cases` writes the numbers anew; the diff shows
what changed. PyTorch's cases are a group of their own, looked at only where they ran.
"""

import json
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
RECORD = TESTS / "executed_cases.json"
NARROWING = ("keyword", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "maxfail", "collectonly")
GROUPS = {"onnx": "test_onnx", "gradient check": "teaching/"}  # by how their files' names begin


def pytest_addoption(parser):
    parser.addoption("--record-cases", action="store_true", help="write down how many cases this whole run executed")


def pytest_configure(config):
    record = config.getoption("--record-cases")
    if record and not whole_suite(config):
        raise pytest.UsageError("--record-cases needs a run of the whole suite: leave out paths, -k, -x and the like")
    if not hasattr(config, "workerinput"):  # with pytest-xdist, whoever hands out the tests counts them
        config.pluginmanager.register(ExecutedCases(record, whole_suite(config), config.option.markexpr))


def whole_suite(config):
    """Whether nothing on the command line leaves tests out, but for PyTorch's or all others."""
    if any(getattr(config.option, name, None) for name in NARROWING):
        return False
    paths = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    return config.option.markexpr in ("", "torch", "not torch") and any(
        path == TESTS or path in TESTS.parents for path in paths
    )


def group_of(file, torch):
    """The group that a test belongs to, by its marker and its file's path below tests."""
    return "torch" if torch else next((name for name, start in GROUPS.items() if file.startswith(start)), "other")


class ExecutedCases:
    """Counts the cases that pass, by group and file, and compares with the record at the end."""

    def __init__(self, record, whole, markexpr):
        self.record, self.whole, self.markexpr = record, whole, markexpr
        self.counts = {}
        self.told = []

    def pytest_runtest_logreport(self, report):
        path = TESTS.parent / report.nodeid.partition("::")[0]
        if report.when == "call" and report.passed and path.is_relative_to(TESTS):
            file = path.relative_to(TESTS).as_posix()
            counts = self.counts.setdefault(group_of(file, "torch" in report.keywords), {})
            counts[file] = counts.get(file, 0) + 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if not self.whole or exitstatus != pytest.ExitCode.OK:
            return
        recorded = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
        if self.record:
            kept = {group: files for group, files in recorded.items() if not self.concerns(group)}
            RECORD.write_text(json.dumps(kept | self.counts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            self.told = [f"recorded in {RECORD.name}"]
            return
        for group, files in sorted(recorded.items()):
            if self.concerns(group):
                self.compare(group, files)
        if self.told:
            self.told.append("find out why; if they went on purpose, run pytest --record-cases")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def concerns(self, group):
        """Whether this run should have executed the group's cases."""
        if group == "torch":
            return self.markexpr == "torch" or group in self.counts
        return self.markexpr != "torch"

    def compare(self, group, files):
        executed = self.counts.get(group, {})
        for file, wanted in sorted(files.items()):
            if executed.get(file, 0) < wanted:
                self.told.append(f"{group}: tests/{file} executed {executed.get(file, 0)} cases, recorded are {wanted}")

    def pytest_terminal_summary(self, terminalreporter):
        if self.told:
            terminalreporter.section("executed cases")
            for line in self.told:
                terminalreporter.line(line)
