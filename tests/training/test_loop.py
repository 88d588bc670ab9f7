"""The training loop: what it computes, what it writes, and how it says that something is wrong."""

import csv

import numpy as np
import pytest
from tiny_run import RandomImages, TinyLoader, predict, tiny_graph, tiny_trainer

from minisegnet.data.sample import Batch, Sample
from minisegnet.errors import CheckpointError, DataError, MinisegnetError, OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import Conv2d, CrossEntropyLoss, DiceLoss
from minisegnet.training import SGD, Constant, Poly, evaluate, load_checkpoint, load_model
from minisegnet.training.loop import mixed
from minisegnet.training.trainer import centre


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_a_run_is_the_plain_sequence_of_updates(tmp_path):
    """Loss, gradient, update written out, without the trainer; by the engine, they are so up to rounding."""
    graph = tiny_graph()
    optimiser = SGD(graph.parameters, lr=0, momentum=0.9)
    trainer = tiny_trainer(tmp_path / "run", graph, optimiser=optimiser, epochs=2, engine=False)
    trainer.fit()

    other = tiny_graph()
    optimiser, loss = SGD(other.parameters, lr=0, momentum=0.9), CrossEntropyLoss(ignore_index=255)
    step, losses = 0, []
    for epoch in range(2):
        for batch in TinyLoader().epoch(epoch):
            other.reseed(mixed(5, step))
            value, cache = loss.forward(other.forward(batch.images), batch.labels)
            other.zero_grad()
            other.backward(loss.backward(1.0, cache))
            optimiser.lr = Poly(0.02, 60)(step)
            optimiser.step()
            losses.append(float(value))
            step += 1
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(graph.state_dict()[name], array, err_msg=name)
    table = rows(tmp_path / "run" / "log.csv")
    assert [float(row["loss"]) for row in table] == losses
    assert [float(row["lr"]) for row in table] == [Poly(0.02, 60)(i) for i in range(step)]
    assert [int(row["step"]) for row in table] == list(range(1, step + 1))
    assert [int(row["epoch"]) for row in table] == [1] * 4 + [2] * 4
    assert all(float(row["seconds"]) > 0 for row in table)


def test_it_learns_and_keeps_the_best_weights(tmp_path):
    trainer = tiny_trainer(tmp_path, steps=200, schedule=Constant(0.05))
    best = trainer.fit()
    scores = [float(row["mean_iou"]) for row in rows(tmp_path / "validation.csv")]
    assert best == max(scores) > 0.85
    assert scores[0] < best
    graph = tiny_graph(seed=9)
    load_model(graph, *load_checkpoint(tmp_path / "best.npz"), tmp_path / "best.npz")
    assert evaluate(graph, RandomImages(4, seed=1), predict).mean_iou == best


@pytest.mark.parametrize(
    ("length", "validate_every", "wanted"),
    [
        ({"epochs": 5}, 2, [8, 16, 20]),
        ({"steps": 10}, 1, [4, 8, 10]),
        ({"steps": 3}, 1, [3]),
        ({"steps": 8}, 5, [8]),
    ],
)
def test_validation_comes_every_so_many_epochs_and_at_the_end(tmp_path, length, validate_every, wanted):
    trainer = tiny_trainer(tmp_path, validate_every=validate_every, **length)
    trainer.fit()
    assert [int(row["step"]) for row in rows(tmp_path / "validation.csv")] == wanted
    assert len(rows(tmp_path / "log.csv")) == trainer.step == wanted[-1]


def test_checkpoint_holds_model_optimiser_position_and_metadata(tmp_path):
    trainer = tiny_trainer(tmp_path, steps=9, metadata={"model": {"name": "tiny"}, "palette": np.eye(3)})
    trainer.fit()
    arrays, metadata = load_checkpoint(tmp_path / "last.npz")
    assert {name.partition("/")[0] for name in arrays} == {"model", "optimiser"}
    assert metadata["model"] == {"name": "tiny"}
    assert metadata["palette"] == np.eye(3).tolist()
    assert metadata["run"] == {"step": 9, "validated": 9, "best_mean_iou": trainer.best}
    assert all(name.startswith("model/") for name in load_checkpoint(tmp_path / "best.npz")[0])


def test_without_validation_there_is_no_best(tmp_path):
    assert tiny_trainer(tmp_path, validation=None, epochs=1, pictures=True).fit() is None
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "curves.png", "last.npz", "log.csv", "run.json", "validation.csv",
    ]  # fmt: skip


def test_pictures_and_progress_are_there(tmp_path, capsys):
    tiny_trainer(tmp_path, epochs=2, pictures=True, progress=True).fit()
    for name in ("curves.png", "panel.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    bar = capsys.readouterr().err
    for told in ("8/8", "loss", "lr", "images/s", "best mean IoU"):
        assert told in bar, told


class WithWeights(TinyLoader):
    """Batches with a pixel weight that is 0 outside the middle 4 x 4 pixels, where labels are wrong besides."""

    def epoch(self, number, start=0):
        for batch in super().epoch(number, start):
            weight, labels = np.zeros(batch.labels.shape, np.float32), 1 - np.clip(batch.labels, 0, 1)
            weight[:, 1:5, 1:5] = 2.0
            labels[:, 1:5, 1:5] = batch.labels[:, 1:5, 1:5]
            yield Batch(batch.images, labels, batch.names, weight)


def test_labels_and_weights_are_cropped_to_a_smaller_output(tmp_path):
    """Valid convolutions see the middle alone, as padded ones do under a weight that is 0 around it."""

    def run(name, loader, padding):
        # A network of one convolution, without batch statistics, which would see the border.
        graph = Graph("one")
        graph = graph.output("score", Conv2d(2, 2, 3, padding=padding), graph.input("image", channels=2)).initialise(3)
        optimiser = SGD(graph.parameters, lr=0)
        tiny_trainer(tmp_path / name, graph, loader=loader, optimiser=optimiser, validation=None, steps=12).fit()
        return graph.state_dict()["score.weight"], [float(row["loss"]) for row in rows(tmp_path / name / "log.csv")]

    weight, losses = run("valid", TinyLoader(), padding=0)
    padded_weight, padded_losses = run("padded", WithWeights(), padding=1)
    np.testing.assert_allclose(weight, padded_weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses, padded_losses, rtol=1e-5)
    both_weight, both_losses = run("both", WithWeights(), padding=0)
    np.testing.assert_allclose(both_losses, losses, rtol=1e-6)
    np.testing.assert_allclose(both_weight, weight, rtol=1e-5, atol=1e-6)


def test_centre_is_where_a_network_crops():
    array = np.arange(2 * 5 * 6).reshape(2, 5, 6)
    np.testing.assert_array_equal(centre(array, (5, 6)), array)
    np.testing.assert_array_equal(centre(array, (2, 3)), array[:, 1:3, 1:4])
    with pytest.raises(ShapeError, match="output is 7 x 6, larger than the labels, 5 x 6"):
        centre(array, (7, 6))


def test_dice_loss_trains_too(tmp_path):
    tiny_trainer(tmp_path, loss=DiceLoss(ignore_index=255), steps=4).fit()


# ------------------------------------------------------------------------------------------------ what goes wrong


class Poisoned(TinyLoader):
    """Gives an infinite image at step 7."""

    def epoch(self, number, start=0):
        for i, batch in enumerate(super().epoch(number, start), start=start):
            if number * len(self) + i == 6:
                batch.images[0, 0, 0, 0] = np.inf
            yield batch


@pytest.mark.filterwarnings("ignore")
def test_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path):
    trainer = tiny_trainer(tmp_path, loader=Poisoned())
    with pytest.raises(MinisegnetError) as caught:
        trainer.fit()
    message = str(caught.value)
    for told in ("loss is nan at step 7", "learning rate 0.018", "random", "last.npz keeps", "lower learning rate"):
        assert told in message, (told, message)
    arrays, metadata = load_checkpoint(tmp_path / "last.npz")
    assert metadata["run"]["step"] == 6
    assert all(np.isfinite(array).all() for array in arrays.values())


class BrokenGradient(CrossEntropyLoss):
    """A loss that is fine, with a gradient that is not."""

    def backward(self, dloss, cache):
        return super().backward(dloss, cache) * np.float32(np.nan)


@pytest.mark.filterwarnings("ignore")
def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(MinisegnetError, match=r"holds NaN or infinity after step 1, .* Nothing was saved"):
        tiny_trainer(tmp_path, loss=BrokenGradient(ignore_index=255), checkpoint_every=1).fit()
    assert not (tmp_path / "last.npz").exists()


def test_folder_of_a_run_is_not_overwritten_by_accident(tmp_path):
    tiny_trainer(tmp_path, steps=4).fit()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="holds this run; resume it, overwrite it, or choose another folder"):
        tiny_trainer(tmp_path, steps=4).fit()
    other = {"schedule": Poly(0.5, 60), "metadata": {"classes": ["dark", "bright"]}, "seed": 6}
    for resume in (False, True):
        with pytest.raises(CheckpointError) as caught:
            tiny_trainer(tmp_path, steps=4, **other).fit(resume=resume)
        for told in (
            "schedule is 'Poly(lr=0.02, steps=60, power=0.9)' there and 'Poly(lr=0.5, steps=60, power=0.9)' here",
            "seed is 5 there and 6 here",
            "metadata classes is ['dark', 'light'] there and ['dark', 'bright'] here",
        ):
            assert told in str(caught.value)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    with pytest.raises(OptionError, match="choose one"):
        tiny_trainer(tmp_path, steps=4).fit(resume=True, overwrite=True)
    tiny_trainer(tmp_path, steps=8, **other).fit(overwrite=True)
    assert len(rows(tmp_path / "log.csv")) == 8


def test_overwriting_begins_anew_even_over_a_damaged_checkpoint(tmp_path):
    (tmp_path / "fresh").mkdir()
    tiny_trainer(tmp_path / "old", steps=4).fit()
    (tmp_path / "old" / "last.npz").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="cut short"):
        tiny_trainer(tmp_path / "old", steps=4).fit(resume=True)
    tiny_trainer(tmp_path / "old", steps=4).fit(overwrite=True)
    tiny_trainer(tmp_path / "fresh", steps=4).fit()
    assert (tmp_path / "old" / "last.npz").read_bytes() == (tmp_path / "fresh" / "last.npz").read_bytes()


def test_files_of_the_same_names_that_are_no_run_are_left_alone(tmp_path):
    (tmp_path / "log.csv").write_text("mine")
    for resume in (False, True):
        with pytest.raises(CheckpointError, match=r"has log.csv but no settings of a run"):
            tiny_trainer(tmp_path).fit(resume=resume)
    assert (tmp_path / "log.csv").read_text() == "mine"


def test_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"folder .*file/run cannot be made"):
        tiny_trainer(tmp_path / "file" / "run").fit()


def test_checkpoint_of_another_model_is_named_both_ways(tmp_path):
    tiny_trainer(tmp_path, steps=1, metadata={"model": {"name": "unet", "arguments": {"width": 4}}}).fit()
    graph = tiny_graph(width=5, name="SegNet")
    before = graph.state_dict()
    with pytest.raises(CheckpointError) as caught:
        load_model(graph, *load_checkpoint(tmp_path / "best.npz"), tmp_path / "best.npz")
    for told in ("best.npz", "'unet'", "'width': 4", "this network is SegNet", "body.0.weight is (4, 2, 3, 3)"):
        assert told in str(caught.value)
    for name, array in graph.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 1, "steps": 5}, OptionError, "either epochs or steps"),
        ({"epochs": 0}, OptionError, "epochs must be above 0; got 0"),
        ({"steps": -1}, OptionError, "steps must be above 0; got -1"),
        ({"checkpoint_every": 0}, OptionError, "checkpoint_every must be above 0"),
        ({"loader": TinyLoader(RandomImages(0))}, DataError, "the loader has no batch"),
        ({"validation": RandomImages(0)}, DataError, "validation data set is empty"),
        ({"metadata": {"transform": len}}, CheckpointError, "metadata cannot be written as JSON: builtin"),
    ],
)
def test_arguments_that_allow_no_run_are_named(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        tiny_trainer(tmp_path / "run", **options).fit()
    assert not (tmp_path / "run").exists()


def test_evaluation_names_the_sample_that_does_not_fit():
    class Odd(RandomImages):
        def __getitem__(self, i):
            sample = super().__getitem__(i)
            return Sample(sample.image, None if i == 1 else sample.labels, sample.name)

    with pytest.raises(DataError, match="random1 has no labels"):
        evaluate(tiny_graph(), Odd(), predict)
    with pytest.raises(ShapeError, match=r"random0: prediction .* got \(4, 4\) and \(6, 6\)"):
        evaluate(tiny_graph(padding=0), RandomImages(), predict)


def test_evaluation_counts_every_pixel_that_is_not_ignored():
    confusion = evaluate(tiny_graph(), RandomImages(), predict)
    assert confusion.matrix.sum() == 10 * 35
    # By default images are predicted by minisegnet.prediction.
    assert evaluate(tiny_graph(), RandomImages()).matrix.tolist() == confusion.matrix.tolist()
