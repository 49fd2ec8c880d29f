import numpy as np
import pytest

from dermseg.imaging.orientation import as_seen, as_stored, shape_along


@pytest.mark.parametrize("shape", [(96, 128), (128, 96), (96, 96)])
@pytest.mark.parametrize("size", [(30, 40), (40, 30), (30, 30)])
def test_what_a_network_saw_lies_as_the_photograph_again(
    size: tuple[int, int], shape: tuple[int, int]
) -> None:
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(*size, 3)
    seen = as_seen(pixels, size, shape)
    if size[0] != size[1]:
        assert (seen.shape[0] > seen.shape[1]) == (shape[0] > shape[1])
    np.testing.assert_array_equal(as_stored(seen, size), pixels)


def test_a_networks_shape_along_a_photograph() -> None:
    assert shape_along((96, 128), (30, 40)) == (96, 128)
    assert shape_along((96, 128), (40, 30)) == (128, 96)
    assert shape_along((96, 128), (30, 30)) == (96, 128)
