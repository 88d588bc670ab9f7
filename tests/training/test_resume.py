"""A run that is killed, or stopped by Ctrl-C, at any moment and resumed ends as one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_run
from tiny_run import TinyLoader, tiny_graph, tiny_trainer

from minisegnet.engine.engine import Engine
from minisegnet.layers import CrossEntropyLoss
from minisegnet.training import load_checkpoint
from minisegnet.training.interrupts import interrupts_held

SEED = 0
KILLS = 10


def outcome(folder):
    """All that a run leaves but the seconds its steps took: the checkpoints to the byte, the tables' text."""
    log = [line.rpartition(",")[0] for line in (folder / "log.csv").read_text().splitlines()]
    files = {name: (folder / name).read_bytes() for name in ("last.npz", "best.npz", "validation.csv")}
    return files | {"log.csv": log}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    tiny_trainer(folder).fit()
    return outcome(folder)


def test_killed_at_ten_random_moments(tmp_path, undisturbed):
    """SIGKILL before or after a random one of the acts that change the disk, or between two of them."""
    rng = np.random.default_rng(SEED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, tiny_run.__file__, str(tmp_path / "run")]
    moments = [int(moment) for moment in rng.integers(1, 400, KILLS)]
    steps = []
    for moment in moments:
        killed = subprocess.run([*command, str(moment)], env=environment, capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        last = tmp_path / "run" / "last.npz"
        steps.append(load_checkpoint(last)[1]["run"]["step"] if last.exists() else 0)
    assert steps == sorted(steps) and steps[-1] > steps[0], f"kills at {moments} left checkpoints of steps {steps}"
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert outcome(tmp_path / "run") == undisturbed, f"kills at {moments}"
    assert not list((tmp_path / "run").glob("*.tmp"))


class Interrupting:
    """Calls a function, and sends Ctrl-C to the process in the call of the number given."""

    def __init__(self, function, number):
        self.function, self.left = function, number

    def __call__(self, *arguments, **options):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self.function(*arguments, **options)


def interrupted_in(place, number, folder, monkeypatch):
    """A trainer whose call number `number` of something that happens in `place` meets a Ctrl-C."""
    graph, loss, loader = tiny_graph(), CrossEntropyLoss(ignore_index=255), TinyLoader()
    options = {"predict": tiny_run.predict, "loss": loss, "loader": loader}
    if place == "forward pass":
        step = Interrupting(Engine.step, number)
        monkeypatch.setattr(Engine, "step", lambda engine, *batch, **options: step(engine, *batch, **options))
    elif place == "loading":
        loader.sample = Interrupting(loader.sample, number)
    elif place == "validation":
        options["predict"] = Interrupting(tiny_run.predict, number)
    elif place == "saving":
        monkeypatch.setattr(os, "replace", Interrupting(os.replace, number))
    trainer = tiny_trainer(folder, graph, resume_hint="minisegnet train --resume here", **options)
    if place == "update":
        trainer.optimiser.step = Interrupting(trainer.optimiser.step, number)
    elif place == "update of a weight":
        trainer.optimiser.update_part = Interrupting(trainer.optimiser.update_part, number)
    return trainer


@pytest.mark.parametrize(
    ("place", "number"),
    [("forward pass", 1), ("forward pass", 13), ("update", 9), ("update of a weight", 9), ("loading", 1),
     ("loading", 40), ("validation", 11), ("saving", 8), ("saving", 9), ("saving", 10)],
)  # fmt: skip
def test_interrupted_anywhere_saves_and_says_how_to_go_on(tmp_path, undisturbed, monkeypatch, capsys, place, number):
    trainer = interrupted_in(place, number, tmp_path / "run", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    monkeypatch.undo()
    assert f"Stopped after step {trainer.step} of 60" in (told := capsys.readouterr().out)
    assert "Go on with:\n  minisegnet train --resume here\n" in told
    assert load_checkpoint(tmp_path / "run" / "last.npz")[1]["run"]["step"] == trainer.step < 60
    tiny_trainer(tmp_path / "run").fit(resume=True)
    assert f"Going on after step {trainer.step} of 60" in capsys.readouterr().out
    assert outcome(tmp_path / "run") == undisturbed


def test_interrupt_waits_for_the_end_of_the_block():
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
        reached = True
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_resuming_a_finished_run_changes_nothing(tmp_path, undisturbed):
    tiny_trainer(tmp_path).fit()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    best = tiny_trainer(tmp_path).fit(resume=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert best == load_checkpoint(tmp_path / "last.npz")[1]["run"]["best_mean_iou"]


def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path, undisturbed):
    """The length is no setting: after 24 steps (six epochs) of 60, the rest is as it would have been."""
    tiny_trainer(tmp_path, steps=24).fit()
    tiny_trainer(tmp_path).fit(resume=True)
    assert outcome(tmp_path) == undisturbed


def test_rows_past_the_checkpoint_and_a_torn_row_are_cut(tmp_path, undisturbed):
    tiny_trainer(tmp_path, steps=24).fit()
    with open(tmp_path / "log.csv", "a") as file:
        file.write("25,7,0.1,9.9,0.1\n26,7,0.1,9.9,0.1\n2")
    with open(tmp_path / "validation.csv", "a") as file:
        file.write("28,7,0.1,0.1,0.1,0.1,0.1\n32,8,0.")
    tiny_trainer(tmp_path).fit(resume=True)
    assert outcome(tmp_path) == undisturbed


def test_resuming_where_nothing_is_begins(tmp_path, undisturbed, capsys):
    tiny_trainer(Path(tmp_path) / "new").fit(resume=True)
    assert "has no checkpoint yet: starting from the beginning" in capsys.readouterr().out
    assert outcome(tmp_path / "new") == undisturbed
