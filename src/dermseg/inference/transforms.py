"""dermseg as a step of a MONAI pipeline. Needs MONAI, and is imported only where it is used."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_data_type, convert_to_dst_type

from dermseg.errors import ImageError
from dermseg.inference.segmenter import Segmenter


class Segmentd(MapTransform):
    """Segment photographs in a MONAI pipeline.

    Parameters
    ----------
    keys
        Keys of photographs: paths and whatever else `dermseg.segment` takes, or images as MONAI has
        them, RGB (3, H, W).
    segmenter
        The model and its settings; the default model unless given.
    postfix
        The mask of "image" has the key "image_lesion".
    white
        The value of white in images of MONAI: 255, or 1 after a transform such as ScaleIntensityd.
    allow_missing_keys
        Do not raise KeyError where a key is missing.

    Notes
    -----
    A mask is (1, H, W), 0 or 1 in uint8: for a MetaTensor a MetaTensor with its meta, for a path an
    array. It lies as its image lies. MONAI's `LoadImaged` turns rows into columns;
    `reader="PILReader", reverse_indexing=False` keeps them, and so gives the masks of
    `dermseg segment`.

    Examples
    --------
    >>> transform = dermseg.Segmentd(keys="image")
    >>> transform({"image": "examples/photographs/ISIC_0003582.jpg"})["image_lesion"].shape
    (1, 512, 768)
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        segmenter: Segmenter | None = None,
        postfix: str = "lesion",
        white: float = 255,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.segmenter = segmenter or Segmenter()
        self.postfix = postfix
        self.white = white

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the masks."""
        found = dict(data)
        for key in self.key_iterator(found):
            found[f"{key}_{self.postfix}"] = self._mask(found[key])
        return found

    def _mask(self, image: Any) -> Any:
        if not hasattr(image, "ndim"):
            return self.segmenter.segment(image).mask[np.newaxis].astype(np.uint8)
        channels, *_ = convert_data_type(image, np.ndarray)
        if channels.ndim != 3 or len(channels) != 3:
            raise ImageError(f"an image of MONAI must be (3, H, W), RGB; this is {channels.shape}")
        pixels = (channels * (255 / self.white)).round().clip(0, 255).astype(np.uint8)
        mask = self.segmenter.segment(np.ascontiguousarray(pixels.transpose(1, 2, 0))).mask
        converted, *_ = convert_to_dst_type(mask[np.newaxis], image, dtype=np.uint8)
        return converted
