"""What the engine is made of, each part by itself: transforms, products, layout, shares, places in memory."""

import itertools
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from minisegnet.engine import blas, products, winograd
from minisegnet.engine.layout import clear_margin, store, stored_shape, tap, unstore
from minisegnet.engine.memory_plan import ALIGNMENT, Buffer, place
from minisegnet.engine.products import multiply, multiply_long, multiply_wide
from minisegnet.engine.rows_in_place import VALUES, rows_in_place
from minisegnet.engine.scratch import Scratch
from minisegnet.engine.sharing import blocks, pieces, share
from minisegnet.engine.transforms import transforms
from minisegnet.engine.winograd import products_a_row, transform_data, transform_outputs, transform_products

both_blas = pytest.mark.parametrize("small", [True, False], ids=["small products", "no small products"])
TILES = [(4, 3), (6, 3), (2, 3), (4, 2), (4, 5), (2, 5), (2, 7), (3, 4)]


@pytest.mark.parametrize("outputs, kernel", TILES)
def test_transforms_convolve(outputs, kernel):
    rng = np.random.default_rng(outputs * 10 + kernel)
    t = transforms(outputs, kernel, "d")
    tile, g = rng.standard_normal((t.tile, t.tile)), rng.standard_normal((kernel, kernel))
    V = t.data @ tile @ t.data.T
    U = (t.kernel_2d @ g.ravel()).reshape(t.tile, t.tile)
    windows = np.lib.stride_tricks.sliding_window_view(tile, (kernel, kernel))
    np.testing.assert_allclose(t.output @ (U * V) @ t.output.T, (windows * g).sum((2, 3)), atol=1e-11)
    assert np.array_equal(t.output_back, t.output.T)


@pytest.mark.parametrize("outputs", [2, 4, 6])
def test_a_neighbours_column_counts_once(outputs):
    """What `_transform_own_columns` rests on."""
    t = transforms(outputs, 3, "d")
    assert np.array_equal(t.data[:, 0], np.eye(t.tile)[0])
    assert np.array_equal(t.data[:, -1], np.eye(t.tile)[-1])
    assert np.array_equal(t.data_own, t.data[:, 1:-1])


@both_blas
@pytest.mark.parametrize("padding, kernel", [(1, 3), (0, 3), (2, 3), (0, 2), (1, 2), (3, 4), (0, 4)])
@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_rows_of_tiles_are_transformed_in_one_product_or_by_columns(monkeypatch, small, padding, kernel, tiles):
    m, count, C = 4, 3, 2
    monkeypatch.setattr(winograd, "has_small_products", lambda: small)
    monkeypatch.setattr(products, "SMALL", 0)  # so that a row is a long one
    rng = np.random.default_rng(padding * 10 + kernel)
    t, scratch = transforms(m, kernel, "d"), Scratch()
    a = t.tile
    assert products_a_row(t, tiles * C) == (m if small else 1)
    rows = rng.standard_normal((count * m + kernel - 1, m, tiles, C))
    V = np.full((a, a, count, tiles * C), np.nan)
    transform_data(rows, padding, t, scratch, V)
    image = np.pad(rows.transpose(0, 2, 1, 3).reshape(len(rows), m * tiles, C), ((0, 0), (a, a), (0, 0)))
    D, M = np.full_like(V, np.nan), rng.standard_normal(V.shape)
    y, outputs = np.full((count * m, m, tiles, C), np.nan), rng.standard_normal((count * m, m, tiles, C))
    transform_products(M, t, scratch, y)
    transform_outputs(outputs, t, scratch, D)
    for r, tile, c in np.ndindex(count, tiles, C):
        x = image[r * m : r * m + a, tile * m - padding + a : tile * m - padding + 2 * a, c]
        here = np.s_[:, :, r, tile * C + c]
        np.testing.assert_allclose(V[here], t.data @ x @ t.data.T, atol=1e-12)
        np.testing.assert_allclose(y[r * m : r * m + m, :, tile, c], t.output @ M[here] @ t.output.T, atol=1e-12)
        back = t.output.T @ outputs[r * m : r * m + m, :, tile, c] @ t.output
        np.testing.assert_allclose(D[here], back, atol=1e-11)


def test_rows_are_in_place_inside_the_block_alone():
    given = np.getbufsize()
    with pytest.raises(RuntimeError, match="inside"), rows_in_place():
        assert np.getbufsize() == VALUES
        raise RuntimeError("inside")
    assert np.getbufsize() == given


@both_blas
@pytest.mark.parametrize(
    "S, M, K, N",
    [(1, 3, 5, 7), (36, 128, 128, 128), (4, 130, 64, 64), (3, 131, 128, 256), (2, 64, 256, 100), (2, 300, 512, 512),
     (2, 1000, 16, 96), (1, 37, 2000, 128), (36, 0, 64, 64), (2, 97, 128, 96),
     (1, 40, 64, 1056)],
)  # fmt: skip
def test_multiply_cuts_products_without_changing_them(monkeypatch, small, S, M, K, N):
    monkeypatch.setattr(products, "has_small_products", lambda: small)
    if not small:
        monkeypatch.delattr(products, "_cut")  # so that it cannot be cut
    rng = np.random.default_rng(M)
    A, B = rng.standard_normal((S, M, K)), rng.standard_normal((S, K, N))
    for first in (A, np.ascontiguousarray(A.swapaxes(1, 2)).swapaxes(1, 2)):
        out = np.full((S, M, N + 3), np.nan)[:, :, :N]  # rows that do not touch
        multiply(first, B, out)
        np.testing.assert_allclose(out, A @ B, rtol=1e-12, atol=1e-11)


@both_blas
@pytest.mark.parametrize(
    "M, K, N", [(24, 1024, 64), (50, 1100, 49), (7, 3000, 1), (24, 1024, 65), (30, 1023, 9), (1, 0, 4), (21, 9001, 32)]
)
def test_multiply_long_sums_up_parts(monkeypatch, small, M, K, N):
    monkeypatch.setattr(products, "has_small_products", lambda: small)
    rng = np.random.default_rng(K)
    A, B = rng.standard_normal((M + 1, K))[1:], rng.standard_normal((K, N))
    np.testing.assert_allclose(multiply_long(A, B), A @ B, rtol=1e-12, atol=1e-11)
    if not small:
        assert np.array_equal(multiply_long(A, B), A @ B)  # the same bits: in one piece


@both_blas
@pytest.mark.parametrize(
    "M, K, N",
    [(32, 49, 2048), (32, 49, 2100), (5, 196, 1000), (32, 49, 255), (32, 250, 130), (300, 60, 640), (7, 0, 300)],
)
def test_multiply_wide_makes_some_columns_at_a_time(monkeypatch, small, M, K, N):
    monkeypatch.setattr(products, "has_small_products", lambda: small)
    if not small:
        monkeypatch.delattr(products, "_cut")
    rng = np.random.default_rng(N)
    A, B = rng.standard_normal((K, M + 1))[:, 1:].T, rng.standard_normal((K, N))
    out = np.full((M, N + 3), np.nan)[:, :N]  # rows that do not touch
    multiply_wide(A, B, out)
    np.testing.assert_allclose(out, A @ B, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("m, H, W", [(4, 8, 8), (4, 7, 9), (2, 5, 3), (1, 4, 6), (4, 1, 1), (6, 13, 2)])
def test_store_and_unstore_are_opposites_and_the_margin_is_zero(m, H, W):
    rng = np.random.default_rng(H * W)
    image = rng.standard_normal((3, H, W))
    _, rows, _, T, C = stored_shape((1, 3, H, W), m)
    stored, back = np.full((rows, m, T, C), np.nan), np.full_like(image, np.nan)
    for first in range(0, rows, m):
        store(image, stored[first : first + m], first)
        unstore(stored[first : first + m], back, first)
    assert np.array_equal(back, image)
    assert (stored != 0).sum() == image.size
    for h, w in itertools.product(range(H), range(W)):
        assert np.array_equal(stored[h, w % m, w // m], image[:, h, w])
    garbage = stored + 1
    clear_margin(garbage, 0, H, W)
    assert np.array_equal(garbage, np.where(stored == 0, 0, stored + 1))


@pytest.mark.parametrize("m, stride, offset", list(itertools.product((1, 2, 4), (1, 2, 3, 8), (-5, -1, 0, 1, 7))))
def test_tap_finds_every_column(m, stride, offset):
    tiles_in, tiles_out = 5, 4
    found = {}
    for s, (column, from_tiles, to_tiles) in enumerate(tap(m, stride, offset, tiles_in, tiles_out)):
        sources, targets = np.arange(tiles_in)[from_tiles], np.arange(tiles_out)[to_tiles]
        assert len(sources) == len(targets)
        for source, target in zip(sources, targets, strict=True):
            found[m * target + s] = m * source + column
    wanted = {w: stride * w + offset for w in range(m * tiles_out) if 0 <= stride * w + offset < m * tiles_in}
    assert found == wanted


@pytest.mark.parametrize("images, tile_rows, workers", list(itertools.product((1, 3, 4), (1, 5, 8), (1, 2, 3, 4, 7))))
def test_shares_cover_every_row_once(images, tile_rows, workers):
    bands = [band for rank in range(workers) for band in share(images, tile_rows, rank, workers)]
    rows = [(band.image, row) for band in bands for row in range(band.first, band.stop)]
    assert rows == list(itertools.product(range(images), range(tile_rows)))
    if images % workers == 0:
        assert all(band.height == tile_rows for band in bands)
    for most in (1, 3, 100):
        for cut in ([[piece] for piece in pieces(bands, most)], list(blocks(bands, most))):
            assert [(b.image, row) for block in cut for b in block for row in range(b.first, b.stop)] == rows
            assert all(0 < sum(band.height for band in block) <= most for block in cut)


def test_scratch_of_one_name_and_type_is_one_place_which_grows():
    scratch = Scratch()
    small = scratch.array("V", (2, 3), np.float32)
    assert scratch.array("V", (2, 3), np.float32) is small
    assert np.shares_memory(scratch.array("V", (6,), np.float32), small)
    large = scratch.array("V", (4, 5), np.float32)
    again = scratch.array("V", (2, 3), np.float32)
    assert again.shape == (2, 3) and np.shares_memory(again, large) and not np.shares_memory(again, small)
    for other in (scratch.array("V", (2, 3), np.float64), scratch.array("M", (2, 3), np.float32)):
        assert not np.shares_memory(other, large)
    assert scratch.nbytes == 20 * 4 + 6 * 8 + 6 * 4  # the smaller place is let go


def test_scratch_gives_back_what_was_outgrown(monkeypatch):
    monkeypatch.setattr("minisegnet.engine.scratch.CHUNK", 2**16)
    scratch = Scratch()
    chunk = scratch.array("V", (1000,), np.float32)
    while isinstance(chunk.base, np.ndarray):
        chunk = chunk.base
    chunk = weakref.ref(chunk)
    names = [("V", (50, 40), np.float32), ("M", (7,), np.float64), ("V", (3, 5), np.float64)]
    for name in names:
        scratch.array(*name)
    assert chunk() is not None
    scratch.compact()
    assert chunk() is None and scratch.nbytes == 4 * 50 * 40 + 8 * 7 + 8 * 3 * 5
    arrays = [scratch.array(*name) for name in names]
    for number, array in enumerate(arrays):
        array.fill(number)
        assert array.ctypes.data % 64 == 0
    assert [array.flat[0] for array in arrays] == [array.flat[-1] for array in arrays] == [0, 1, 2]
    scratch.compact()  # nothing was outgrown since
    assert all(scratch.array(*name) is array for name, array in zip(names, arrays, strict=True))


def test_buffers_that_live_together_do_not_overlap():
    rng = np.random.default_rng(0)
    for _ in range(50):
        births = rng.integers(0, 20, 30)
        buffers = [
            Buffer(str(i), int(nbytes), int(birth), int(birth + length))
            for i, (birth, length, nbytes) in enumerate(
                zip(births, rng.integers(0, 9, 30), rng.integers(1, 5000, 30), strict=True)
            )
        ]
        total = place(buffers)
        for a, b in itertools.combinations(buffers, 2):
            together = a.birth <= b.death and b.birth <= a.death
            apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
            assert apart or not together, (a, b)
        assert all(buffer.offset % ALIGNMENT == 0 and buffer.offset + buffer.nbytes <= total for buffer in buffers)
        busiest = max(sum(b.nbytes for b in buffers if b.birth <= t <= b.death) for t in range(30))
        assert busiest <= total < sum(b.nbytes for b in buffers)


@pytest.mark.parametrize("core, wanted", [("SkylakeX", True), ("Haswell", False), ("Zen", False), (None, False)])
def test_small_products_are_asked_of_blas_by_its_core_type(monkeypatch, core, wanted):
    library = SimpleNamespace() if core is None else SimpleNamespace(architecture=core)  # MKL has no such name
    monkeypatch.setattr(blas, "_libraries", lambda: [library])
    assert blas.has_small_products.__wrapped__() is wanted
