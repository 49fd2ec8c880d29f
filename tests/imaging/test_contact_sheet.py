import numpy as np
import pytest
from numpy.typing import NDArray

from dermseg.imaging.contact_sheet import CELL_HEIGHT, CELL_WIDTH, GAP, contact_sheet


def red(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), (255, 0, 0), np.uint8)


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (3, 3, 1), (5, 4, 2), (24, 5, 5), (100, 9, 12)]
)
def test_it_has_room_for_all(count: int, columns: int, rows: int) -> None:
    sheet = contact_sheet([red(CELL_HEIGHT, CELL_WIDTH)] * count, [""] * count)
    assert sheet.shape[1] == columns * (CELL_WIDTH + GAP)
    assert sheet.shape[0] % rows == 0
    shown = (sheet == (255, 0, 0)).all(2).sum()
    assert shown == count * CELL_HEIGHT * CELL_WIDTH


def test_small_pictures_stand_in_the_middle_of_their_cells() -> None:
    sheet = contact_sheet([red(10, 20), red(10, 20)], ["", ""])
    rows, columns = np.nonzero((sheet == (255, 0, 0)).all(2))
    assert (rows.min(), rows.max()) == (CELL_HEIGHT // 2 - 5, CELL_HEIGHT // 2 + 4)
    assert (columns.min(), columns.max()) == (
        CELL_WIDTH // 2 - 10,
        CELL_WIDTH + GAP + CELL_WIDTH // 2 + 9,
    )


def test_a_caption_stays_in_its_cell() -> None:
    sheet = contact_sheet([red(240, 320), red(240, 320)], ["short", "W" * 200 + "\nsecond"])
    below = sheet[CELL_HEIGHT:] < 128
    assert below[:, :CELL_WIDTH].any()
    assert below[14:, CELL_WIDTH + GAP :].any(), "its second line"
    assert not below[:, 60:CELL_WIDTH].any()
    assert not (sheet[:, CELL_WIDTH : CELL_WIDTH + GAP] != 255).any()


@pytest.mark.parametrize(("name", "drawn"), [("Müller é", "Muller e"), ("ŁK 皮膚", "?K ??")])
def test_letters_that_the_font_lacks_are_drawn_without_accents(name: str, drawn: str) -> None:
    sheets = [contact_sheet([red(24, 32)], [caption]) for caption in (name, drawn)]
    np.testing.assert_array_equal(*sheets)
