"""Working memory in the gaps between a plan's buffers: nobody else's, and put to use."""

from contextlib import contextmanager

import numpy as np
import pytest
from test_engine_networks import lively

from minisegnet import models
from minisegnet.engine.engine import Engine
from minisegnet.engine.memory_plan import ALIGNMENT, Buffer, gaps, place
from minisegnet.engine.scratch import LARGE, Gaps, Scratch
from minisegnet.layers import CrossEntropyLoss

SEED = 12


def test_gaps_are_what_no_buffer_covers():
    rng = np.random.default_rng(SEED)
    for _ in range(20):
        births = rng.integers(0, 12, 15)
        buffers = [
            Buffer(str(i), int(rng.integers(1, 5000)), int(birth), int(birth + rng.integers(0, 6)))
            for i, birth in enumerate(births)
        ]
        nbytes = place(buffers)
        for moment in range(18):
            used = np.zeros(nbytes, int)
            for b in buffers:
                used[b.offset : b.offset + b.nbytes] += b.birth <= moment <= b.death
            assert used.max(initial=0) <= 1
            found = gaps(buffers, moment, nbytes)
            assert [stop - start for start, stop in found] == sorted((b - a for a, b in found), reverse=True)
            for start, stop in found:
                assert start % ALIGNMENT == 0 and not used[start:stop].any()
                used[start:stop] = 1
            assert np.count_nonzero(used == 0) < ALIGNMENT * (len(buffers) + 1)  # of lines that are not full


def test_large_arrays_go_into_gaps_while_there_are_any():
    memory = np.zeros(2 * LARGE + 2**16, np.uint8)
    lent, scratch = Gaps([memory]), Scratch()
    count = LARGE // 4
    with scratch.within(lent):
        small = scratch.array("V", (count - 1,), np.float32)
        large = scratch.array("V", (2, count // 2), np.float32)
        assert scratch.array("V", (count,), np.float32).ctypes.data == large.ctypes.data
        other = scratch.array("M", (count,), np.float32)
        more = scratch.array("W", (count,), np.float32)
    assert [np.shares_memory(a, memory) for a in (small, large, other, more)] == [False, True, True, False]
    assert not np.shares_memory(large, other)
    assert large.ctypes.data % ALIGNMENT == memory.ctypes.data % ALIGNMENT
    outside = scratch.array("M", (count,), np.float32)
    assert not np.shares_memory(outside, memory)
    with scratch.within(lent):
        assert scratch.array("V", (count,), np.float32).ctypes.data == large.ctypes.data
    with scratch.within(None):
        assert not np.shares_memory(scratch.array("V", (count,), np.float32), memory)


@pytest.fixture
def any_size(monkeypatch):
    """Arrays of any size go into gaps."""
    monkeypatch.setattr("minisegnet.engine.scratch.LARGE", 1)


@pytest.fixture
def spoilt(monkeypatch, any_size):
    """Whatever lies in a gap is overwritten before each step with bytes that make NaN."""
    within, used = Scratch.within, []

    @contextmanager
    def spoiling(self, lent):
        if lent is not None:
            for gap in (*lent._left, *lent._taken.values()):
                gap.view(np.uint8).fill(255)
        with within(self, lent):
            yield
        used.append(lent is not None and len(lent._taken))

    monkeypatch.setattr(Scratch, "within", spoiling)
    return used


NETWORKS = {
    "unet": lambda: models.unet(3, width=4, depth=2, dropout=0.2),
    "unet, valid": lambda: models.unet(3, width=4, depth=2, valid=True, batch_norm=False),
    "segnet_basic": lambda: models.segnet_basic(3, width=4),
    "full_resolution": lambda: models.full_resolution(3, width=4, depth=3),
    "fcn": lambda: lively(models.fcn8s(3, encoder="vgg16", width=4)),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_step_reads_what_lies_in_its_gaps(name, workers, spoilt, monkeypatch):
    """Passes, a step and a prediction have the same bits as with working memory of its own."""
    found = []
    for with_gaps in (True, False):
        if not with_gaps:
            monkeypatch.setattr("minisegnet.engine.scratch.LARGE", 2**40)
        graph, rng = NETWORKS[name](), np.random.default_rng(SEED)
        graph.reseed(SEED)
        shape = (2, 3, 64, 48)
        left = {}
        with Engine(graph, CrossEntropyLoss(), workers) as engine:
            for number in range(2):
                images = rng.standard_normal(shape, np.float32)
                y = engine.forward(images)
                left[f"scores {number}"] = y
                engine.backward(rng.standard_normal(y.shape, np.float32))
                left[f"loss {number}"] = np.array(engine.step(images, rng.integers(0, 3, (2, *y.shape[2:]))))
                left[f"predicted {number}"] = engine.predict(images)
        left |= {f"gradient of {name}": p.grad.copy() for name, p in graph.parameters.items()} | graph.state_dict()
        found.append(left)
        if with_gaps:
            assert any(spoilt)
    for what, array in found[0].items():
        assert np.isfinite(array).all() and np.array_equal(array, found[1][what]), what


@pytest.mark.parametrize("training", [True, False])
def test_a_plan_of_rows_shared_by_workers_lends_nothing(training, any_size):
    graph = models.unet(3, width=4, depth=2)
    for workers, lends in ((1, True), (2, False)):
        with Engine(graph, None, workers) as engine:
            engine.forward(np.zeros((1, 3, 32, 32), np.float32))
            assert any(engine.plan((1, 3, 32, 32))._gaps) == lends
