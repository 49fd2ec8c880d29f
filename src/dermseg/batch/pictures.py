"""Pictures beside the masks: the outline drawn, the lesion cut out, the probability."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from dermseg.batch.jobs import Job
from dermseg.imaging.images import Pixels, encode_image
from dermseg.imaging.overlay import draw_overlay
from dermseg.imaging.photographs import Photograph, read_photograph
from dermseg.inference.segmentation import Segmentation
from dermseg.settings import OVERLAY_SIDE, PictureSettings

MARGIN = 0.1
"""Room around a lesion that is cut out, as a share of its box's longer side."""


def overlay(photograph: BytesIO, segmentation: Segmentation) -> bytes:
    """Return the upright picture with outline and band, a JPEG."""
    height, width = segmentation.mask.shape
    picture = read_photograph(photograph, at_least=(OVERLAY_SIDE, OVERLAY_SIDE))
    framed = Photograph(picture.pixels, height, width, picture.orientation)
    drawn = draw_overlay(framed, segmentation.outline, segmentation.band_contours)
    return encode_image(drawn, "JPEG")


def crop(photograph: BytesIO, segmentation: Segmentation) -> bytes | None:
    """Return the lesion's part of the photograph as stored, a PNG; None without a lesion."""
    if segmentation.bounding_box is None:
        return None
    pixels = read_photograph(photograph).pixels
    x, y, width, height = segmentation.bounding_box
    room = MARGIN * max(width, height)
    # A mask may be of another size than its photograph (thumbnails).
    down, across = (
        side / own for side, own in zip(pixels.shape, segmentation.mask.shape, strict=False)
    )
    rows = _span(y - room, y + height + room, down)
    columns = _span(x - room, x + width + room, across)
    return encode_image(np.ascontiguousarray(pixels[rows, columns]), "PNG")


def _span(first: float, last: float, scale: float) -> slice:
    return slice(max(0, int(first * scale)), int(np.ceil(last * scale)))


def probability(segmentation: Segmentation) -> bytes:
    """Return the probability at the network's size, a grey PNG, 255 being certain."""
    grey: Pixels = (segmentation.probability * 255).round().astype(np.uint8)
    return encode_image(grey, "PNG")


@dataclass(frozen=True)
class Pictures:
    """Which pictures a run makes, and where they go."""

    settings: PictureSettings

    @property
    def folders(self) -> list[Path]:
        """The folders that are written to."""
        return [folder for folder, _, _ in self._wanted]

    @property
    def _wanted(
        self,
    ) -> list[tuple[Path, str, Callable[[BytesIO, Segmentation], bytes | None]]]:
        """Return each folder with the end of its files' names, and what makes them."""
        kinds = (
            (self.settings.overlay, "_overlay.jpg", overlay),
            (self.settings.crops, "_crop.png", crop),
            (self.settings.probability, "_probability.png", lambda _, found: probability(found)),
        )
        return [(folder, ending, make) for folder, ending, make in kinds if folder is not None]

    def files(self, job: Job) -> list[Path]:
        """Return the files of a job."""
        return [
            folder / job.name.with_name(job.name.stem + ending)
            for folder, ending, _ in self._wanted
        ]

    def draw(
        self, job: Job, photograph: BytesIO, segmentation: Segmentation
    ) -> dict[Path, bytes | None]:
        """Return what each file of a job holds, None where there is to be none."""
        made = (make(photograph, segmentation) for _, _, make in self._wanted)
        return dict(zip(self.files(job), made, strict=True))
