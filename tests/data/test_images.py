"""Image and mask files: every kind of pixel has its scale, and every broken file its message."""

import struct
import zlib

import numpy as np
import pytest
from picture_files import photo, save
from PIL import Image

from minisegnet.data.images import SUFFIXES, is_grey, pages, read_image, read_labels, with_channels
from minisegnet.errors import DataError, ShapeError

COLOURS = photo(0, 20, 30)
GREY = photo(1, 20, 30, channels=1)


def png(width, height):
    """A grey PNG of 8 bits that claims a size, and has nothing behind it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


# ------------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".ppm", ".PNG"])
def test_colours_are_channels_first_and_divided_by_255(tmp_path, suffix):
    image = read_image(save(tmp_path / f"x{suffix}", COLOURS))
    assert image.shape == (3, 20, 30) and image.dtype == np.float32 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, COLOURS.transpose(2, 0, 1).astype(np.float32) / np.float32(255))


def test_every_suffix_is_that_of_a_file_that_can_be_read(tmp_path):
    for suffix in sorted(SUFFIXES):
        array = GREY > 127 if suffix == ".pbm" else GREY if suffix == ".pgm" else COLOURS
        assert read_image(save(tmp_path / f"x{suffix}", array)).shape[1:] == (20, 30), suffix


@pytest.mark.parametrize(
    "array, wanted",
    [
        (np.array([[0, 51, 255]], np.uint8), [0, 0.2, 1]),
        (np.array([[0, 13107, 65535]], np.uint16), [0, 0.2, 1]),
        (np.array([[False, True, True]]), [0, 1, 1]),
    ],
    ids=["8 bits", "16 bits", "black and white"],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_has_one_channel_from_0_to_1(tmp_path, array, wanted, suffix):
    image = read_image(save(tmp_path / f"x{suffix}", array))
    assert image.shape == (1, 1, 3) and image.dtype == np.float32
    np.testing.assert_allclose(image[0, 0], wanted, rtol=1e-6)


def test_floating_point_from_0_to_1_stays(tmp_path):
    values = np.array([[0, 0.25, 1]], np.float32)
    np.testing.assert_array_equal(read_image(save(tmp_path / "x.tif", values))[0], values)


@pytest.mark.parametrize("transparency", [None, b"\x00\x80\xff"], ids=["opaque", "transparent"])
def test_a_palette_becomes_its_colours(tmp_path, transparency):
    indexed = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    indexed.save(tmp_path / "x.png", **({} if transparency is None else {"transparency": transparency}))
    image = read_image(tmp_path / "x.png")
    np.testing.assert_allclose(image[:, 0] * 255, [[10, 40, 70], [20, 50, 80], [30, 60, 90]], rtol=1e-6)


def test_transparency_is_left_out(tmp_path):
    alpha = photo(2, 20, 30, channels=1)
    image = read_image(save(tmp_path / "x.png", np.dstack([COLOURS, alpha])))
    np.testing.assert_array_equal(image, read_image(save(tmp_path / "y.png", COLOURS)))


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png"])
def test_a_photograph_is_turned_as_its_exif_says(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x112] = 6  # seen upright after a quarter turn clockwise
    array = np.repeat(np.arange(0, 240, 60, dtype=np.uint8), 8)[:, None].repeat(64, axis=1)  # (32, 64): dark above
    image = read_image(save(tmp_path / f"x{suffix}", array, exif=exif))
    assert image.shape == (1, 64, 32)
    assert (np.diff(image[0, 10, 4::8]) < 0).all(), "the dark end must be at the right"


def test_a_page_of_a_tiff(tmp_path):
    first, second = (Image.fromarray(photo(seed, channels=1)) for seed in (0, 1))
    first.save(tmp_path / "x.tif", save_all=True, append_images=[second])
    assert pages(tmp_path / "x.tif") == 2
    np.testing.assert_allclose(read_image(tmp_path / "x.tif", page=1)[0] * 255, np.asarray(second), rtol=1e-6)
    with pytest.raises(DataError, match=r"x\.tif is a TIFF of 2 pages, where one image is wanted"):
        read_image(tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif has the pages 0 to 1; page 2 was asked for"):
        read_image(tmp_path / "x.tif", page=2)


def test_is_grey_looks_at_the_head_alone(tmp_path):
    data = save(tmp_path / "grey.png", GREY).read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("no image")
    assert is_grey(tmp_path / "grey.png") is True and is_grey(tmp_path / "cut.png") is True
    assert is_grey(save(tmp_path / "colours.png", COLOURS)) is False
    assert is_grey(tmp_path / "text.png") is None and is_grey(tmp_path / "missing.png") is None


# -------------------------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0, 7, 255]], np.uint8),
        np.array([[0, 300, 65535]], np.uint16),
        np.array([[False, True, True]]),
    ],
    ids=["8 bits", "16 bits", "black and white"],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_labels_are_the_values(tmp_path, array, suffix):
    labels = read_labels(save(tmp_path / f"x{suffix}", array))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, array.astype(np.int32))


def test_labels_of_a_palette_are_its_indices(tmp_path):
    indices = photo(3, channels=1) % 5
    indexed = Image.fromarray(indices)
    indexed.putpalette(np.random.default_rng(4).integers(0, 256, 15).tolist())
    indexed.save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "x.png"), indices)


@pytest.mark.parametrize("alpha", [False, True])
def test_grey_saved_as_colours_is_grey(tmp_path, alpha):
    array = np.repeat(GREY[:, :, None], 3, axis=2)
    if alpha:
        array = np.dstack([array, np.full_like(GREY, 255)])
    np.testing.assert_array_equal(read_labels(save(tmp_path / "x.png", array)), GREY)


def test_whole_numbers_in_floating_point_are_labels(tmp_path):
    np.testing.assert_array_equal(read_labels(save(tmp_path / "x.tif", np.array([[0, 3]], np.float32))), [[0, 3]])
    for value in (0.5, np.nan):
        with pytest.raises(DataError, match=r"y\.tif holds numbers that are not whole"):
            read_labels(save(tmp_path / "y.tif", np.array([[0, value]], np.float32)))


def test_labels_below_0_are_told(tmp_path):
    with pytest.raises(DataError, match=r"x\.tif holds -1; numbers below 0 are no classes"):
        read_labels(save(tmp_path / "x.tif", np.array([[0, -1]], np.int32)))


def test_a_mask_in_colours_is_told(tmp_path):
    array = np.zeros((3, 4, 3), np.uint8)
    array[1, 2] = (255, 0, 9)
    with pytest.raises(
        DataError, match=r"x\.png is a mask in colours, such as \(255, 0, 9\) at row 1, column 2.*classes.txt"
    ):
        read_labels(save(tmp_path / "x.png", array))


# ------------------------------------------------------------------------------------------------------- broken files

BROKEN = {
    "text": (b"hello, no image", r"is no image that can be read.*b'hello, no image'.*Save it as PNG"),
    "empty": (b"", r"is empty \(0 bytes\); get it again"),
    "no pixels": (png(0, 0), "is no image that can be read.*without pixels"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image that can be read"),
    "bomb": (png(60000, 60000), "claims to be so large that it is taken for an attack"),
    "large": (png(11000, 11000), r"claims 11000 x 11000 pixels, more than the \d+ .* cut it"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("read", [read_image, read_labels])
def test_a_broken_file_is_told(tmp_path, name, read):
    data, message = BROKEN[name]
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(DataError, match=r"(?s)x\.png " + message):
        read(tmp_path / "x.png")


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.bmp", "x.webp", "x.gif", "x.ppm"])
def test_a_file_cut_short_is_told(tmp_path, name, share):
    data = save(tmp_path / name, COLOURS).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match=rf"{name} (is damaged or cut short|is no image that can be read.*cut short)"):
        read_image(tmp_path / name)


def test_a_changed_byte_in_a_png_is_told(tmp_path):
    data = bytearray(save(tmp_path / "x.png", COLOURS).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.png is damaged or cut short"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("read", [read_image, read_labels])
def test_a_folder_and_nothing_are_told(tmp_path, read):
    with pytest.raises(DataError, match="is a folder; name an image file in it"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"there is no file .*missing\.png"):
        read(tmp_path / "missing.png")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_told(tmp_path, value):
    path = save(tmp_path / "x.tif", np.array([[0, value, value]], np.float32))
    with pytest.raises(DataError, match=r"x\.tif holds NaN or infinity at 2 of 3 pixels"):
        read_image(path)


def test_an_unknown_scale_is_told(tmp_path):
    with pytest.raises(DataError, match=r"x\.tif holds floating-point values from -1 to 7; wanted 0 to 1"):
        read_image(save(tmp_path / "x.tif", np.array([[-1, 7]], np.float32)))
    with pytest.raises(DataError, match=r"x\.tif holds whole numbers of 32 bits"):
        read_image(save(tmp_path / "x.tif", np.array([[1, 7]], np.int32)))


# ----------------------------------------------------------------------------------------------------------- channels


def test_grey_and_colours_become_one_another():
    grey = np.random.default_rng(5).random((1, 4, 5), np.float32)
    colours = np.random.default_rng(6).random((3, 4, 5), np.float32)
    np.testing.assert_array_equal(with_channels(grey, 3), np.concatenate([grey] * 3))
    np.testing.assert_allclose(with_channels(with_channels(grey, 3), 1), grey, rtol=1e-6)
    luma = 0.299 * colours[0] + 0.587 * colours[1] + 0.114 * colours[2]
    np.testing.assert_allclose(with_channels(colours, 1)[0], luma, rtol=1e-5)
    assert with_channels(colours, 3) is colours and with_channels(colours, 1).dtype == np.float32
    with pytest.raises(ShapeError, match="of 3 channels cannot become one of 2"):
        with_channels(colours, 2)
