"""Pictures beside the masks: the outline drawn, the lesion cut out, the probability."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from dermseg.batch.jobs import Job
from dermseg.cores import cached_property
from dermseg.imaging.images import Pixels, encode_image
from dermseg.imaging.photographs import read_photograph, with_ending
from dermseg.inference.segmentation import Segmentation
from dermseg.settings import OVERLAY_SIDE, PictureSettings
from dermseg.storage.stores import File, Store, open_store

PROBABILITY_SUFFIX = "_probability.png"
MARGIN = 0.1
"""Room around a lesion that is cut out, as a share of its box's longer side."""


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

    @cached_property
    def _wanted(
        self,
    ) -> list[tuple[Store, str, Callable[[BytesIO, Segmentation], bytes | None]]]:
        """Return each folder with the end of its files' names, and what makes them."""
        kinds = (
            (self.settings.overlay, "_overlay.jpg", lambda _, found: self._overlay(found)),
            (self.settings.crops, "_crop.png", crop),
            (self.settings.probability, PROBABILITY_SUFFIX, lambda _, found: probability(found)),
        )
        return [
            (open_store(folder), ending, make)
            for folder, ending, make in kinds
            if folder is not None
        ]

    @property
    def stores(self) -> list[Store]:
        """The folders that are written to."""
        return [store for store, _, _ in self._wanted]

    def _overlay(self, segmentation: Segmentation) -> bytes:
        """Return the upright picture with outline and band, a JPEG."""
        side = None if self.settings.full_size else OVERLAY_SIDE
        return encode_image(segmentation.overlay(side, band=self.settings.band), "JPEG")

    def files(self, job: Job) -> dict[str, File]:
        """Return the files of a job by how the journal calls them.

        That says how overlays are drawn, too, so that those drawn otherwise are drawn again.
        """
        full, bare = self.settings.full_size, not self.settings.band
        manner = " (full size)" * full + " (without band)" * bare
        named = {}
        for store, ending, _ in self._wanted:
            name = with_ending(job.name, ending).as_posix()
            named[f"{store.key(name)}{manner}"] = File(store, name)
        return named

    def draw(self, photograph: BytesIO, segmentation: Segmentation) -> list[bytes | None]:
        """Return what each of a job's files holds, None where there is to be none."""
        return [make(photograph, segmentation) for _, _, make in self._wanted]
