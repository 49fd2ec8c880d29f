"""The transform for MONAI, in MONAI's own pipelines."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

monai = pytest.importorskip("monai.transforms")
torch = pytest.importorskip("torch")
import dermseg  # noqa: E402
from dermseg.errors import ImageError  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "photographs" / "ISIC_0003582.jpg"


@pytest.fixture(scope="module")
def expected() -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return dermseg.segment(EXAMPLE).mask


def test_of_paths_masks_are_arrays(
    expected: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> None:
    found = dermseg.Segmentd(["image", "other"], allow_missing_keys=True)({"image": EXAMPLE})
    assert list(found) == ["image", "image_lesion"]
    mask = found["image_lesion"]
    assert (mask.shape, mask.dtype) == ((1, 512, 768), np.uint8)
    assert np.array_equal(mask[0] > 0, expected)
    with pytest.raises(KeyError):
        dermseg.Segmentd("other")({"image": EXAMPLE})


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")
@pytest.mark.parametrize("scaled", [False, True])
def test_in_a_pipeline_the_mask_is_the_commands(
    expected: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], scaled: bool
) -> None:
    steps = [
        monai.LoadImaged("image", reader="PILReader", reverse_indexing=False),
        monai.EnsureChannelFirstd("image"),
        *([monai.ScaleIntensityRanged("image", 0, 255, 0, 1)] if scaled else []),
        dermseg.Segmentd("image", white=1 if scaled else 255, postfix="mask"),
    ]
    found = monai.Compose(steps)({"image": str(EXAMPLE)})
    mask = found["image_mask"]
    assert (tuple(mask.shape), mask.dtype) == ((1, 512, 768), torch.uint8)
    assert mask.meta["filename_or_obj"] == str(EXAMPLE)
    # The whole photograph comes in here, and a reduced one there.
    assert np.mean((mask[0].numpy() > 0) == expected) > 0.998


def test_an_image_that_is_no_rgb_is_refused() -> None:
    with pytest.raises(ImageError, match=r"must be \(3, H, W\), RGB; this is \(1, 8, 8\)"):
        dermseg.Segmentd("image")({"image": np.zeros((1, 8, 8), np.float32)})


def test_workers_of_a_loader_can_have_it() -> None:
    again = pickle.loads(pickle.dumps(dermseg.Segmentd("image")))
    assert again({"image": EXAMPLE})["image_lesion"].any()


def test_without_monai_the_message_has_the_remedy() -> None:
    code = """
import sys
sys.modules["monai"] = None
import dermseg
try:
    dermseg.Segmentd
except dermseg.MissingExtraError as error:
    print(error)
dermseg.Segmenter
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "dermseg.Segmentd needs monai" in done.stdout
    assert "pip install '.[experiments]'" in done.stdout


def test_the_hub_has_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from dermseg.weights import MODELS

    monkeypatch.setattr(sys, "path", list(sys.path))
    root = str(EXAMPLE.parents[2])
    entries = {name.replace("-", "_") for name in MODELS}
    assert all(torch.hub.load(root, name, source="local").name for name in entries)
    segmenter = torch.hub.load(root, "lite0", source="local", style="semi-automatic")
    assert segmenter.segment(EXAMPLE) == dermseg.segment(EXAMPLE, style="semi-automatic")
