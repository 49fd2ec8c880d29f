"""What the tests of all forms share: masks that are hard, written and read back."""

from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from dermseg.formats.annotation import Annotation, Photographs
from dermseg.formats.conversion import FORMS
from dermseg.settings import Form, OutlineSettings

Mask = NDArray[np.bool_]
MASKS = st.lists(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9)), max_size=3)
ON_DISK = settings(deadline=None, max_examples=25)
"""For tests that write files, which may take long where others do too."""
NOWHERE = Photographs()
PLAIN = OutlineSettings()


def hard_masks() -> dict[str, Mask]:
    """Return masks with what has broken other tools, by name."""
    names = ("empty", "full", "hole", "pieces", "line", "corners", "diagonal", "inlet")
    masks = {name: np.zeros((24, 30), np.bool_) for name in names}
    masks["full"][:] = True
    masks["hole"][4:20, 5:25] = True
    masks["hole"][7:9, 8:12] = masks["hole"][12:15, 15:22] = False
    masks["pieces"][2:9, 3:9] = masks["pieces"][12:22, 14:28] = True
    masks["pieces"][15:18, 17:22] = False
    masks["line"][11, 3:28] = masks["line"][3:20, 7] = True
    masks["corners"][[0, 0, -1, -1], [0, -1, 0, -1]] = True
    np.fill_diagonal(masks["diagonal"], True)
    masks["inlet"][5:15, 5:15] = True
    masks["inlet"][5:10, 9] = False
    return masks


def annotations(masks: dict[str, Mask]) -> list[Annotation]:
    """Return masks as annotations of JPEGs in a folder."""
    return [Annotation(f"folder/{name}.jpg", mask) for name, mask in masks.items()]


def there_and_back(
    form: Form,
    masks: dict[str, Mask],
    target: Path,
    settings: OutlineSettings = PLAIN,
    photographs: Photographs = NOWHERE,
) -> dict[str, Mask]:
    """Write masks in a form, read them back, and return them by name."""
    FORMS[form].write(iter(annotations(masks)), target, settings)
    entries = list(FORMS[form].read(target, photographs, None))
    loaded = [entry.load() for entry in entries]
    assert [Path(each.photograph).parent.name for each in loaded] == ["folder"] * len(masks)
    return {Path(each.photograph).stem: each.mask for each in loaded}


def assert_same(masks: dict[str, Mask], back: dict[str, Mask]) -> None:
    """Assert that all masks have come back to the pixel."""
    assert back.keys() == masks.keys()
    for name, mask in masks.items():
        assert np.array_equal(back[name], mask), name
