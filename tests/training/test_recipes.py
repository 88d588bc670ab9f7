"""Training recipes: each builds its network and fits its crops; what is left unset is filled in, what is given wins."""

from argparse import Namespace
from dataclasses import fields

import pytest

from minisegnet import models
from minisegnet.data.opening import FORMATS
from minisegnet.training.recipes import RECIPES, TrainingRecipe, complete, filled_in, recipe_for

WITH_OBJECTS = ("shapes", "folder", "nuclei", "coco", "via")
UNSET = Namespace(
    model="unet", data="camvid:road", width=None, depth=None, option=[], steps=None, seed=3,
    **{field.name: None for field in fields(TrainingRecipe) if field.name != "options"},
)  # fmt: skip


def given(**words):
    return Namespace(**{**vars(UNSET), **words})


def test_there_is_one_for_each_network_and_kind_of_data():
    of_pixels = {(model, data) for model in models.MODELS for data in ("shapes", *FORMATS)}
    of_objects = {(model, data) for model in models.DETECTORS for data in WITH_OBJECTS}
    assert set(RECIPES) == of_pixels | of_objects


@pytest.mark.parametrize("model, data", [key for key in RECIPES if key[0] in models.DETECTORS])
def test_each_builds_a_detector_whose_levels_its_images_have(model, data):
    recipe = RECIPES[model, data]
    detector = models.create(model, num_classes=3, in_channels=1, **recipe.options)
    side = recipe.crop or recipe.smallest_side or 256
    shapes = detector.dense.output_shape((recipe.batch_size, 1, side, side))
    assert [shape[2] for shape in shapes[: len(detector.strides)]] == [side // stride for stride in detector.strides]
    assert (detector.mask_head is None) == (model == "faster_rcnn")
    assert recipe.class_weights is None


@pytest.mark.parametrize("model, data", [key for key in RECIPES if key[0] in models.MODELS])
def test_each_builds_a_network_that_takes_its_images(model, data):
    recipe = RECIPES[model, data]
    channels = 1 if data in ("isbi", "nuclei") else 3
    graph = models.create(model, num_classes=3, in_channels=channels, **recipe.options)
    side = recipe.crop or 64
    N, classes, height, width = graph.output_shape((recipe.batch_size, channels, side, side))
    assert (N, classes) == (recipe.batch_size, 3)
    assert (height, width) == (side, side) or model == "unet_2015"


@pytest.mark.parametrize("data", ["camvid:a:b", "camvid"])
def test_by_kind_of_data_wherever_it_lies(data):
    assert recipe_for("fcn8s", data) is RECIPES["fcn8s", "camvid"]
    assert recipe_for("fcn8s", data).options == {"encoder": "squeezenet1_1"}
    assert recipe_for("fcn8s", data).class_weights == "median"


def test_networks_and_data_without_a_recipe():
    recipe = recipe_for("my_own", "camvid:road")
    assert recipe.options == {}
    assert recipe.but(options={"width": 16}) == RECIPES["unet", "camvid"]
    assert recipe_for("unet", "something") == TrainingRecipe()


def test_but_changes_words_and_adds_options():
    recipe = TrainingRecipe(options={"width": 4, "depth": 3}, lr=0.5)
    other = recipe.but(options={"depth": 2}, crop=8)
    assert other == TrainingRecipe(options={"width": 4, "depth": 2}, lr=0.5, crop=8)
    assert recipe.options == {"width": 4, "depth": 3} and recipe.crop is None


RECIPE = TrainingRecipe(
    batch_size=7, crop=96, augment=("mirror", "scale"), class_weights="median", epochs=9, optimiser="sgd", lr=0.3,
    momentum=0.8, weight_decay=0.01, schedule="poly", warm_up=5, options={"width": 6, "encoder": "laptop"},
)  # fmt: skip


def test_all_that_was_left_unset_is_the_recipes():
    before = vars(given()).copy()
    arguments = given()
    completed = complete(arguments, RECIPE)
    assert vars(arguments) == before
    assert vars(completed) == {
        **before, "batch_size": 7, "crop": 96, "augment": ["mirror", "scale"], "class_weights": "median", "epochs": 9,
        "optimiser": "sgd", "lr": 0.3, "momentum": 0.8, "weight_decay": 0.01, "schedule": "poly", "warm_up": 5,
        "option": [("width", 6), ("encoder", "laptop")],
    }  # fmt: skip
    assert filled_in(arguments, completed) == (
        "--option width=6 --option encoder=laptop --batch-size 7 --crop 96 --augment mirror scale "
        "--class-weights median --epochs 9 --optimiser sgd --lr 0.3 --momentum 0.8 --weight-decay 0.01 "
        "--schedule poly --warm-up 5"
    )


def test_all_that_was_given_wins():
    words = {
        "batch_size": 2, "crop": 32, "augment": ["flips"], "class_weights": "median", "epochs": 1, "optimiser": "sgd",
        "lr": 0.0, "momentum": 0.0, "weight_decay": 0.0, "schedule": "step", "warm_up": 0,
        "option": [("encoder", "vgg16"), ("width", 8)],
    }  # fmt: skip
    arguments = given(**words)
    completed = complete(arguments, RECIPE)
    assert vars(completed) == vars(arguments)
    assert filled_in(arguments, completed) == ""


def test_none_is_a_choice():
    arguments = given(augment=["none"], class_weights="none", crop=0)
    completed = complete(arguments, RECIPE)
    assert (completed.augment, completed.class_weights, completed.crop) == ([], None, None)
    told = filled_in(arguments, completed)
    assert "augment" not in told and "crop" not in told and "class-weights" not in told
    assert complete(given(), TrainingRecipe()).crop is None


def test_steps_stand_in_the_place_of_epochs():
    completed = complete(given(steps=50), RECIPE)
    assert (completed.steps, completed.epochs) == (50, None)
    assert complete(given(epochs=4), RECIPE).epochs == 4


def test_another_optimiser_has_its_own_learning_rate():
    completed = complete(given(optimiser="adamw"), RECIPE)
    assert (completed.lr, completed.momentum, completed.weight_decay) == (None, 0.9, 0.0)
    assert (completed.schedule, completed.batch_size) == ("poly", 7)
    assert complete(given(optimiser="adamw", lr=0.2), RECIPE).lr == 0.2
    assert complete(given(optimiser="sgd"), RECIPE).lr == 0.3


@pytest.mark.parametrize("words", [{"width": 8}, {"option": [("width", 8)]}])
def test_width_and_depth_may_be_given_in_either_way(words):
    completed = complete(given(**words), RECIPE)
    assert [name for name, _ in completed.option].count("width") == len(words.get("option", []))
    assert ("encoder", "laptop") in completed.option and ("width", 6) not in completed.option
