import numpy as np

from dermseg.masks.outlines import outline_of, outlines_of


def test_pieces_and_holes() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[2:8, 2:8] = mask[10:30, 20:50] = True
    mask[15:20, 25:30] = False
    outlines = outlines_of(mask)
    assert [ring.min(0).tolist() for ring in outlines.pieces] == [[20, 10], [2, 2]]
    assert [ring.min(0).tolist() for ring in outlines.holes] == [[24, 14]]
    assert outline_of(mask)[0].tolist() == outlines.pieces[0].tolist()


def test_of_nothing() -> None:
    outlines = outlines_of(np.zeros((4, 6), np.bool_))
    assert (outlines.pieces, outlines.holes) == ((), ())
