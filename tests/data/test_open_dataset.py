"""A data set by a line of text: formats, options, and errors that say what there is instead."""

import subprocess
import sys

import pytest
from picture_files import pairs

from minisegnet.data import open_dataset
from minisegnet.errors import DataError, OptionError


@pytest.mark.parametrize(
    "spec, grade", [("shapes", "medium"), ("shapes:easy", "easy"), ("shapes:medium", "medium"), ("shapes:hard", "hard")]
)
def test_shapes(spec, grade):
    dataset = open_dataset(spec, "val", size=32, count=3, seed=5)
    assert (dataset.difficulty, dataset.split, len(dataset), dataset.seed) == (grade, "val", 3, 5)
    assert dataset[0].image.shape == (3, 32, 32)


def test_the_home_folder_has_its_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    pairs(tmp_path / "photos/train/images", tmp_path / "photos/train/masks", ["a"], [0, 1])
    assert len(open_dataset("folder:~/photos")) == 1


@pytest.mark.parametrize("spec", ["x:y", "", "ISBI:there", "nowhere"])
def test_an_unknown_format_is_told_with_those_there_are(spec):
    with pytest.raises(
        OptionError, match=r"data must be one of shapes, .*folder:PATH, isbi:PATH, camvid:PATH, voc:PATH"
    ):
        open_dataset(spec)


def test_a_bare_path_is_told_with_what_to_write(tmp_path):
    with pytest.raises(OptionError, match=f"write folder:{tmp_path} for a folder of images and masks"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("name", ["folder", "isbi", "camvid", "voc"])
def test_a_format_without_its_folder_is_told(tmp_path, name):
    with pytest.raises(OptionError, match=f"names no folder; write {name}:PATH"):
        open_dataset(f"{name}:")
    with pytest.raises(DataError, match=r"there is no folder .*missing"):
        open_dataset(f"{name}:{tmp_path / 'missing'}")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=f"{name}: .*file is a file, not a folder"):
        open_dataset(f"{name}:{tmp_path / 'file'}")


@pytest.mark.parametrize(
    "spec, takes",
    [
        ("shapes", "it takes size, count, seed, difficulty"),
        ("shapes:easy", "it takes size, count, seed"),
        ("folder:.", "it takes ignore_index, instances"),
        ("isbi:.", "it takes slices"),
        ("camvid:.", "it takes none"),
        ("voc:.", "it takes none"),
    ],
)
def test_an_unknown_option_is_told_with_those_there_are(spec, takes):
    with pytest.raises(OptionError, match=f"{spec.partition(':')[0]} has no option colour; {takes}$"):
        open_dataset(spec, colour=1)


def test_other_grades_and_splits_of_shapes_are_told():
    with pytest.raises(OptionError, match="difficulty must be one of easy, medium, hard; got 'weird'"):
        open_dataset("shapes:weird")
    with pytest.raises(OptionError, match="split must be one of train, val, test; got 'all'"):
        open_dataset("shapes", "all")


def test_a_split_without_images_is_told(tmp_path):
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="no images in the split 'test'"):
        open_dataset(f"camvid:{tmp_path}", "test")


def test_the_import_is_light():
    code = "import sys, minisegnet.data; print([m for m in ('PIL', 'scipy', 'matplotlib', 'tqdm') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
