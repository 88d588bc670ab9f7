"""Training through the engine: the curve of the layers, runs that repeat themselves, workers that die."""

import os
import signal

import numpy as np
import pytest

from minisegnet import models
from minisegnet.data import open_dataset
from minisegnet.data.loader import Loader
from minisegnet.engine import crew as crews
from minisegnet.errors import WorkerError
from minisegnet.layers import CrossEntropyLoss
from minisegnet.training import SGD, Adam, Constant, Trainer, load_checkpoint

SEED = 5
STEPS = 16


def trainer(folder, steps=STEPS, loss=None, dropout=0.2, seed=SEED, nudge=0.0, adam=False, **options):
    dataset = open_dataset("shapes", "train", size=32)
    graph = models.unet(len(dataset.classes), width=4, depth=2, dropout=dropout, seed=seed)
    rng = np.random.default_rng(seed)
    for parameter in graph.parameters.values():
        parameter.data *= 1 + nudge * rng.standard_normal(parameter.data.shape, np.float32)
    optimiser = Adam(graph.parameters, 0.002) if adam else SGD(graph.parameters, 0.02, momentum=0.9)
    return Trainer(
        graph,
        loss or CrossEntropyLoss(ignore_index=dataset.ignore_index),
        Loader(dataset, 4, shuffle=True, seed=seed),
        optimiser,
        Constant(optimiser.lr),
        folder,
        steps=steps,
        checkpoint_every=5,
        progress=False,
        pictures=False,
        seed=seed,
        **options,
    )


def losses(folder):
    return np.genfromtxt(folder / "log.csv", delimiter=",", names=True)["loss"]


def weights(folder):
    arrays, _ = load_checkpoint(folder / "last.npz")
    return {name: array.tobytes() for name, array in arrays.items()}


def test_the_loss_falls_along_the_curve_of_the_layers(tmp_path):
    """As close to it as the layers' own curve from weights that differ by a millionth: a kink of ReLU or a pooling that
    one of them crosses and the other does not makes far more of rounding than rounding is, so the worst of a few runs
    is compared with the worst of as many."""
    nudged, by_engine = [], []
    for seed, workers in ((5, 1), (6, 2), (7, 3)):
        folder = tmp_path / str(seed)
        trainer(folder / "layers", seed=seed, engine=False).fit()
        trainer(folder / "nudged", seed=seed, engine=False, nudge=1e-6).fit()
        trainer(folder / "engine", seed=seed, workers=workers).fit()
        plain = losses(folder / "layers")
        nudged.append(np.abs(losses(folder / "nudged") - plain).max())
        by_engine.append(np.abs(losses(folder / "engine") - plain).max())
        np.testing.assert_allclose(losses(folder / "engine")[:2], plain[:2], rtol=1e-5)
        assert plain[-4:].mean() < plain[:4].mean()
    assert max(by_engine) <= 2 * max(nudged)


def test_a_loss_of_another_kind_is_taken_outside_the_engine(tmp_path):
    class Twice(CrossEntropyLoss):
        def forward(self, *given):
            loss, cache = super().forward(*given)
            return 2 * loss, cache

        def backward(self, dloss, cache):
            return super().backward(2 * dloss, cache)

    for engine in (True, False):
        trainer(tmp_path / str(engine), steps=6, loss=Twice(ignore_index=255), engine=engine).fit()
    np.testing.assert_allclose(losses(tmp_path / "True"), losses(tmp_path / "False"), rtol=1e-4)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(tmp_path, workers):
    trainer(tmp_path / "whole", workers=workers, adam=True).fit()
    trainer(tmp_path / "parts", steps=13, workers=workers, adam=True).fit()
    trainer(tmp_path / "parts", workers=workers, adam=True).fit(resume=True)
    assert losses(tmp_path / "whole").tobytes() == losses(tmp_path / "parts").tobytes()
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers need os.fork, which this system has not")
def test_a_killed_worker_leaves_a_checkpoint_from_which_the_run_goes_on(tmp_path, capsys, monkeypatch):
    trainer(tmp_path / "whole", workers=2).fit()
    sent = []

    def killing(self, data):
        sent.append(data)
        if len(sent) == 9:
            os.kill(self.pid, signal.SIGKILL)
        return send(self, data)

    send = crews.ForkedProcess.send
    monkeypatch.setattr(crews.ForkedProcess, "send", killing)
    with pytest.raises(WorkerError, match="was killed"):
        trainer(tmp_path / "killed", workers=2).fit()
    assert "Go on with" in capsys.readouterr().out
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "killed" / "last.npz")[1]["run"]["step"] == 8
    trainer(tmp_path / "killed", workers=2).fit(resume=True)
    assert losses(tmp_path / "whole").tobytes() == losses(tmp_path / "killed").tobytes()
    assert weights(tmp_path / "whole") == weights(tmp_path / "killed")
