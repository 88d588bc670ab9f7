"""Training recipes: how each network is trained on each kind of data, for a laptop and an evening.

They are starting points that fit into memory and time, not the papers' schedules: a row for each kind of data says how
its images are seen and for how long, a few words for each network how large it is, and what the two need together.
"""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True)
class TrainingRecipe:
    """How to train; the names are those of the options of `minisegnet train`.

    augment        how images are changed, see `minisegnet train`; "scale" is joint scaling of image and labels
    smallest_side  images whose shorter side is below it are enlarged, for a detector; None: none is
    crop           side of the random squares trained on, in pixels; None: whole images
    class_weights  "median": rare classes weigh more, by median frequency; None: all pixels count alike
    epochs         times through the data
    options        of the network, as in width=16
    """

    batch_size: int = 4
    smallest_side: int | None = None
    crop: int | None = None
    augment: tuple[str, ...] = ()
    class_weights: str | None = None
    epochs: int = 50
    optimiser: str = "adam"
    lr: float | None = 0.001
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warm_up: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def but(self, options: Mapping[str, Any] | None = None, **others: Any) -> TrainingRecipe:
        """This recipe with some words changed, and some options of the network besides those that it has."""
        return replace(self, options={**self.options, **(options or {})}, **others)


STREET = ("mirror", "scale", "colour")  # the world has an up and a down
TISSUE = ("flips", "rotate90", "elastic")  # a slice has neither, and bends
CELLS = ("flips", "rotate90", "scale")  # cells lie anyhow, and are of all sizes

DATA: dict[str, TrainingRecipe] = {
    # Made up, a thousand images of 64 x 64: varied enough as they are.
    "shapes": TrainingRecipe(batch_size=8, epochs=12, lr=0.005, warm_up=20),
    # 367 images; poles and pedestrians are few pixels among many of road and sky.
    "camvid": TrainingRecipe(crop=160, augment=STREET, class_weights="median", epochs=60, warm_up=100),
    # 1464 photographs of all sizes; the border of objects is ignored.
    "voc": TrainingRecipe(crop=224, augment=STREET, epochs=30, schedule="poly", warm_up=200),
    # 24 slices.
    "isbi": TrainingRecipe(crop=256, augment=TISSUE, epochs=400, lr=0.002, warm_up=50),
    # 424 images of cells in grey, of all sizes.
    "nuclei": TrainingRecipe(crop=224, augment=CELLS, epochs=40, lr=0.002, warm_up=50),
    # Photographs of one's own: crops make one size of many.
    **dict.fromkeys(("folder", "coco", "via"), TrainingRecipe(crop=160, augment=STREET, warm_up=50)),
}

FCN = ("fcn32s", "fcn16s", "fcn8s")
NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {"options": {"width": 16}},
    "unet_2015": {"crop": 252, "batch_size": 1},  # a side that stays even where valid convolutions meet a pooling
    "segnet": {"options": {"width": 16}},
    "segnet_basic": {"options": {"width": 24}},
    "deconvnet": {"crop": 128, "options": {"size": 128, "width": 16, "middle": 512}},  # its middle knows one size
    "encoder_decoder": {"options": {"width": 24, "depth": 4}},
    "full_resolution": {"options": {"width": 24}},
    **{name: {"options": {"encoder": "laptop"}} for name in FCN},
}

TOGETHER: dict[tuple[str, str], dict[str, Any]] = {
    ("unet", "shapes"): {"options": {"depth": 3}},
    # What results/isbi2012 was made with. Slices differ in brightness: each is seen by its own statistics.
    ("unet", "isbi"): {
        "batch_size": 1, "augment": ("flips", "rotate90"), "epochs": 408, "lr": 0.0015,
        "options": {"width": 32, "running_statistics": False},
    },
    ("unet_2015", "shapes"): {"crop": 188},
    ("deconvnet", "shapes"): {"crop": None, "options": {"size": 64}},
    ("encoder_decoder", "shapes"): {"options": {"depth": 3}},
    # Photographs, which SqueezeNet was trained on; without batch normalisation it wants smaller steps.
    **{
        (name, data): {"options": {"encoder": "squeezenet1_1"}, "lr": 0.0005}
        for name in FCN
        for data in ("camvid", "voc")
    },
}

# Detectors learn from data whose objects are told apart, and see whole photographs.
DETECTORS: dict[str, dict[str, Any]] = {
    "faster_rcnn": {"encoder": "laptop", "width": 16, "pyramid_channels": 64, "box_head_width": 128},
}
DETECTORS["mask_rcnn"] = {**DETECTORS["faster_rcnn"], "mask_head_width": 32, "mask_convolutions": 2}
PHOTOGRAPHS = TrainingRecipe(batch_size=2, augment=("mirror", "colour"), warm_up=200, options={"pyramid_channels": 96})
OBJECTS: dict[str, TrainingRecipe] = {
    # Objects of 12 to 30 pixels, which are enlarged to twice that.
    "shapes": TrainingRecipe(
        smallest_side=128, epochs=12, lr=0.002, warm_up=50,
        options={"strides": [4, 8, 16], "top": False, "settings": {
            "aligned": True, "anchor_sizes": [[20], [32], [56]], "canonical_size": 112, "roi_samples": 48,
            "rpn_samples": 64, "candidates_per_level": [300, 200], "proposals_per_image": [150, 60],
        }},
    ),
    # Nuclei of 5 to 90 pixels, up to 375 in an image; some images have a tenth of others' light.
    "nuclei": TrainingRecipe(
        batch_size=1, smallest_side=512, crop=384, augment=CELLS, epochs=40, lr=0.001, warm_up=100,
        options={"strides": [4, 8, 16], "top": False, "running_statistics": False, "settings": {
            "aligned": True, "anchor_sizes": [[16], [32], [64]], "aspect_ratios": [0.6, 1.0, 1.6],
            "canonical_size": 128, "roi_samples": 256, "candidates_per_level": [1000, 1000],
            "proposals_per_image": [500, 600], "detections_per_image": 500,
        }},
    ),
    **dict.fromkeys(("folder", "coco", "via"), PHOTOGRAPHS),
}  # fmt: skip

RECIPES: dict[tuple[str, str], TrainingRecipe] = {
    (model, data): base.but(**NETWORKS[model]).but(**TOGETHER.get((model, data), {}))
    for data, base in DATA.items()
    for model in NETWORKS
}
RECIPES |= {
    (model, data): base.but(options={**options, **base.options})
    for data, base in OBJECTS.items()
    for model, options in DETECTORS.items()
}


def recipe_for(model: str, data: str) -> TrainingRecipe:
    """The recipe for a network and data, such as "camvid" or "camvid:FOLDER".

    A network that has none is trained as the data wants it, on other data as `TrainingRecipe()` says.
    """
    kind = data.partition(":")[0]
    return RECIPES.get((model, kind)) or DATA.get(kind, TrainingRecipe())


def complete(arguments: Namespace, recipe: TrainingRecipe) -> Namespace:
    """The arguments of `minisegnet train`, where those left unset (None) are the recipe's.

    What was given wins: --steps over the recipe's epochs; --width, --depth and --option over its options of the
    network; and with another optimiser than the recipe's, its learning rate, momentum and weight decay mean nothing, so
    they are that optimiser's usual ones (a learning rate of None). "none" for augment and class_weights, and 0 for
    crop, say that there shall be none, whatever the recipe says.
    """
    if arguments.optimiser not in (None, recipe.optimiser):
        usual = TrainingRecipe()
        recipe = recipe.but(lr=None, momentum=usual.momentum, weight_decay=usual.weight_decay)
    completed = Namespace(**vars(arguments))
    for name in (each.name for each in fields(recipe) if each.name not in ("options", "epochs")):
        if getattr(arguments, name) is None:
            value = getattr(recipe, name)
            setattr(completed, name, list(value) if name == "augment" else value)
    if arguments.epochs is None and arguments.steps is None:
        completed.epochs = recipe.epochs
    given = {*dict(arguments.option), *(name for name in ("width", "depth") if getattr(arguments, name) is not None)}
    added = [(name, value) for name, value in recipe.options.items() if name not in given]
    completed.option = added + arguments.option
    completed.augment = [way for way in completed.augment if way != "none"]
    completed.class_weights = None if completed.class_weights == "none" else completed.class_weights
    completed.crop, completed.smallest_side = completed.crop or None, completed.smallest_side or None
    return completed


def filled_in(arguments: Namespace, completed: Namespace) -> str:
    """What `complete` added, as one would type it: "--option width=16 --batch-size 8 ..."; empty if nothing."""
    words = [f"--option {name}={value}" for name, value in completed.option if (name, value) not in arguments.option]
    for name in (each.name for each in fields(TrainingRecipe) if each.name != "options"):
        value = getattr(completed, name)
        if getattr(arguments, name) is None and value not in (None, []):
            told = shlex.join(value) if isinstance(value, list) else f"{value}"
            words.append(f"--{name.replace('_', '-')} {told}")
    return " ".join(words)
