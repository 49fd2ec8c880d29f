import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dermseg.imaging.overlay import BAND_COLOR, RESULT_COLOR, draw_overlay
from dermseg.imaging.photographs import Photograph
from dermseg.settings import OVERLAY_SIDE

NOTHING = np.zeros((0, 2), np.int32)


def plain(height: int, width: int, value: int = 128) -> Photograph:
    return Photograph(np.full((height, width, 3), value, np.uint8), height, width)


def rectangle(left: int, top: int, right: int, bottom: int) -> NDArray[np.int32]:
    return np.array([[left, top], [left, bottom], [right, bottom], [right, top]], np.int32)


def drawn(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where the picture has the outline's colour."""
    away = np.abs(picture.astype(int) - RESULT_COLOR).max(2)
    found: NDArray[np.bool_] = away < 60
    return found


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(600, 800, (600, 800)), (3000, 4000, (768, 1024)), (4000, 1000, (1024, 256)), (1, 1, (1, 1))],
)
def test_the_longest_side_is_bounded(height: int, width: int, expected: tuple[int, int]) -> None:
    assert draw_overlay(plain(height, width), NOTHING).shape == (*expected, 3)
    assert max(expected) <= OVERLAY_SIDE


def test_a_sliver_keeps_a_pixel() -> None:
    assert draw_overlay(plain(1, 5000), NOTHING).shape == (1, 1024, 3)


def test_without_a_lesion_the_picture_is_the_photograph() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw_overlay(Photograph(pixels, 30, 40), NOTHING), pixels)


def test_the_photograph_is_left_alone() -> None:
    photograph = plain(30, 40)
    draw_overlay(photograph, rectangle(5, 5, 30, 20))
    assert (photograph.pixels == 128).all()


def test_the_outline_runs_where_it_says() -> None:
    picture = draw_overlay(plain(100, 200), rectangle(40, 20, 150, 80))
    rows, columns = np.nonzero(drawn(picture))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (40, 150, 20, 80)
    assert drawn(picture)[20, 41:150].all(), "top"
    assert drawn(picture)[21:80, 40].all(), "left"
    assert (picture[30:70, 50:140] == 128).all(), "inside"
    assert (picture[:15] == 128).all(), "outside"


def test_a_dark_rim_sets_the_outline_off() -> None:
    picture = draw_overlay(plain(100, 200, 250), rectangle(40, 20, 150, 80))
    assert picture[19, 60:130].max() < 100
    assert picture[21, 60:130].max() < 100


def test_the_outline_follows_a_reduction() -> None:
    picture = draw_overlay(plain(3000, 4096), rectangle(1000, 400, 3000, 2000))
    rows, columns = np.nonzero(drawn(picture))
    middle = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
    # Pixel centres lie at half-integers: 2000 of 4096 is (2000 + 0.5) / 4 - 0.5.
    assert middle == pytest.approx((499.6, 299.6), abs=1)
    assert np.ptp(columns) == pytest.approx(500, abs=4)


def test_a_reduced_photograph_gets_the_outline_of_the_whole() -> None:
    pixels = np.full((75, 100, 3), 128, np.uint8)
    picture = draw_overlay(Photograph(pixels, 600, 800), rectangle(200, 100, 400, 300))
    rows, columns = np.nonzero(drawn(picture))
    assert picture.shape == (600, 800, 3)
    assert (columns.min(), rows.max()) == pytest.approx((200, 300), abs=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_upright(orientation: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    outline = rectangle(5, 8, 20, 14)
    stored = Image.fromarray(draw_overlay(Photograph(pixels, 30, 50), outline))
    stored.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(stored))
    found = draw_overlay(Photograph(pixels, 30, 50, orientation), outline)
    np.testing.assert_array_equal(found, expected)


def test_an_outline_of_one_point_is_marked() -> None:
    picture = draw_overlay(plain(50, 50), np.array([[25, 30]], np.int32))
    assert (picture[30, 25] != 128).any()
    assert (picture[:25] == 128).all()


def test_a_long_outline_is_drawn_closed() -> None:
    circle = cv2.ellipse2Poly((100, 100), (60, 60), 0, 0, 300, 3).astype(np.int32)
    picture = draw_overlay(plain(200, 200), circle)
    middle = (circle[0] + circle[-1]) // 2
    assert drawn(picture)[middle[1] - 1 : middle[1] + 2, middle[0] - 1 : middle[0] + 2].any()


def test_the_bands_contours_are_drawn_beneath_the_outline() -> None:
    inner, outer = rectangle(60, 30, 130, 70), rectangle(20, 10, 180, 90)
    bounds = [contour.astype(np.float32) for contour in (outer, inner)]
    picture = draw_overlay(plain(100, 200), rectangle(40, 10, 150, 80), bounds)
    for row, column in ((90, 100), (50, 20), (50, 180), (30, 100), (50, 130)):
        assert picture[row, column].astype(int) == pytest.approx(BAND_COLOR, abs=30)
    assert picture[10, 100].astype(int) == pytest.approx(RESULT_COLOR, abs=30)


def width_of_line(picture: NDArray[np.uint8], row: int) -> int:
    """Return the pixels of the outline in the left half of a row."""
    return int(drawn(picture[row : row + 1, : picture.shape[1] // 2]).sum())


def test_full_size_on_demand() -> None:
    photograph = plain(2000, 3000)
    assert draw_overlay(photograph, NOTHING, side=None).shape == (2000, 3000, 3)
    assert draw_overlay(photograph, NOTHING, side=1500).shape == (1000, 1500, 3)
    assert draw_overlay(photograph, NOTHING, side=9000).shape == (2000, 3000, 3)


@pytest.mark.parametrize(("longest", "expected"), [(300, 1), (1024, 3), (3000, 4), (9000, 8)])
def test_a_line_grows_more_slowly_than_the_picture(longest: int, expected: int) -> None:
    ring = rectangle(longest // 4, 20, longest * 3 // 4, longest // 3)
    picture = draw_overlay(plain(longest // 2, longest), ring, side=None)
    # Anti-aliasing adds up to a pixel on either side.
    assert expected <= width_of_line(picture, longest // 5) <= expected + 2


def test_a_line_is_thin_where_the_lesion_is_small() -> None:
    picture = draw_overlay(plain(1000, 3000), rectangle(500, 500, 560, 560), side=None)
    assert width_of_line(picture, 530) <= 2
