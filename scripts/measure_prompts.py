#!/usr/bin/env python
"""Say what one click is worth: on each validation image, and where a picture has two lesions.

    scripts/measure_prompts.py DATA [--model lite0] [--count 150] [--pictures FOLDER] [--ledger]

DATA holds the official archives. On the 150 validation images a click is at the centroid of the
true mask, or at the pixel farthest from its border where the centroid lies outside. The mask that
comes back is scored as the model's own is: results/page/prompts.csv.

Ten pictures with two lesions are made of twenty validation images: the lesion of one, with a rim
of skin, is blended into the skin of another (Poisson blending). Each lesion is clicked, and the
mask scored against its own truth and against the other's: results/page/pasted.csv. --pictures
keeps the pictures, with the masks drawn. --ledger adds the clicked masks' line to the ledger.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from cyclopts import run
from numpy.typing import NDArray
from PIL import Image

from dermseg.experiments.ledger import append
from dermseg.imaging.images import Mask, Pixels
from dermseg.imaging.mask_files import MASK_FOREGROUND, MASK_SUFFIX, read_mask
from dermseg.imaging.overlay import RESULT_COLOR
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.metrics import Scores, bootstrap_interval, score
from dermseg.settings import DEFAULT_MODEL
from dermseg.storage.tables import write_table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "results" / "page"
PASTED = 10
SIDE = 768
"""Pixels of the longer side of pictures with two lesions."""
RIM = 12
"""Pixels of skin that come along with a pasted lesion."""
GAP = 8
"""Pixels between its rim and what is around it."""
LEAST, MOST = 0.01, 0.08
"""Share of its photograph that such a lesion covers."""
LIKE_SKIN = 25
"""Distance in Lab from the skin around the host's lesion within which all is skin."""


def main(
    data: Path,
    /,
    *,
    model: str = DEFAULT_MODEL,
    count: int = 150,
    pictures: Path | None = None,
    ledger: bool = False,
) -> None:
    """Click, score, write the tables, and print what they say."""
    segmenter = Segmenter(model)
    truths = sorted((data / "ISIC-2017_Validation_Part1_GroundTruth").glob("*.png"))
    names = [truth.name.removesuffix(MASK_SUFFIX) for truth in truths][:count]
    scores = [clicked(segmenter, data, name) for name in names]
    rows = [
        {"image": name, "jaccard": round(own.jaccard, 5), "clicked": round(there.jaccard, 5)}
        for name, (own, there) in zip(names, scores, strict=True)
    ]
    write_table(PAGE / "prompts.csv", ("image", "jaccard", "clicked"), rows)
    own, there = (np.array([pair[n].jaccard for pair in scores]) for n in (0, 1))
    for title, values in (("own", own), ("clicked", there), ("gain", there - own)):
        low, high = bootstrap_interval(values)
        print(f"{title}: {values.mean():.4f} ({low:.4f} to {high:.4f})")
    if ledger:
        name = f"{model}, one click at the centre"
        append(ROOT / "results" / "ledger.csv", name, "isic2017-validation", [b for _, b in scores])
    two = [row for pair in pasted(data, names) for row in pair.judged(segmenter, pictures)]
    write_table(PAGE / "pasted.csv", ("host", "guest", "clicked", "jaccard", "other"), two)
    for row in two:
        print(*row.values())


def clicked(segmenter: Segmenter, data: Path, name: str) -> tuple[Scores, Scores]:
    """Score the model's own mask of a validation image, and the one that a click brings."""
    truth = read_mask(_truth(data, name)) > MASK_FOREGROUND
    photograph = _photograph(data, name)
    own = segmenter.segment(photograph, size=truth.shape)
    there = segmenter.segment(photograph, size=truth.shape, at=centre(truth))
    return score(truth, own.mask), score(truth, there.mask)


def centre(lesion: Mask) -> tuple[float, float]:
    """Return x and y of a lesion's centroid, or of its innermost pixel where that lies outside."""
    rows, columns = np.nonzero(lesion)
    x, y = float(columns.mean()), float(rows.mean())
    if not lesion[round(y), round(x)]:
        depth = cv2.distanceTransform(lesion.view(np.uint8), cv2.DIST_L2, 3)
        y, x = (float(place) for place in np.unravel_index(depth.argmax(), depth.shape))
    return x, y


@dataclass(frozen=True)
class Pair:
    """A picture with two lesions: the host's own, and a guest's that was blended in."""

    host: str
    guest: str
    pixels: Pixels
    lesions: tuple[Mask, Mask]

    def judged(self, segmenter: Segmenter, folder: Path | None) -> Iterator[dict[str, object]]:
        """Click each lesion, and score the mask against it and against the other one."""
        drawn = self.pixels.copy()
        for name, lesion, other in zip(
            ("host", "guest"), self.lesions, self.lesions[::-1], strict=True
        ):
            mask = segmenter.segment(self.pixels, at=centre(lesion)).mask
            _outline(drawn, lesion, (255, 255, 255), 1)
            _outline(drawn, mask, RESULT_COLOR, 2)
            yield {
                "host": self.host,
                "guest": self.guest,
                "clicked": name,
                "jaccard": round(score(lesion, mask).jaccard, 5),
                "other": round(score(other, mask).jaccard, 5),
            }
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).save(folder / f"{self.host}-{self.guest}.png")


def pasted(data: Path, names: list[str]) -> Iterator[Pair]:
    """Yield the first pictures that can be made, by their names; each image is used once."""
    small = {name: found for name in names if (found := _small(data, name))}
    made = 0
    while made < PASTED and small:
        host = next(iter(small))
        pixels, lesion = small.pop(host)
        for guest, (other, pattern) in small.items():
            if pair := _paste(pixels, lesion, other, pattern):
                del small[guest]
                made += 1
                yield Pair(host, guest, pair[0], (lesion, pair[1]))
                break


def _small(data: Path, name: str) -> tuple[Pixels, Mask] | None:
    """Return a photograph and its lesion; None unless that is small and away from the edge."""
    truth = read_mask(_truth(data, name))
    shrunk = SIDE / max(truth.shape)
    size = round(truth.shape[1] * shrunk), round(truth.shape[0] * shrunk)
    lesion = cv2.resize(truth, size, interpolation=cv2.INTER_AREA) > MASK_FOREGROUND
    x, y, width, height = cv2.boundingRect(lesion.view(np.uint8))
    inside = min(x, y, size[0] - x - width, size[1] - y - height) > RIM + 1
    if not (inside and LEAST < lesion.mean() < MOST):
        return None
    with Image.open(_photograph(data, name)) as thumbnail:
        picture = thumbnail.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return np.asarray(picture), lesion


def _paste(host: Pixels, lesion: Mask, guest: Pixels, pattern: Mask) -> tuple[Pixels, Mask] | None:
    """Blend a guest's lesion into the host's skin, where most is free; None where nothing is."""
    rim = _grown(pattern, RIM)
    x, y, width, height = cv2.boundingRect(rim)
    taken = _grown(lesion, RIM) | _unlike_skin(host, lesion)
    around = np.ones((height + 2 * GAP, width + 2 * GAP), np.uint8)
    free = 1 - cv2.dilate(
        cv2.copyMakeBorder(taken, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1), around
    )
    room = cv2.distanceTransform(free, cv2.DIST_L2, 3)[1:-1, 1:-1]
    if not room.any():
        return None
    row, column = (int(place) for place in np.unravel_index(room.argmax(), room.shape))
    top, left = row - height // 2, column - width // 2
    there = np.zeros_like(lesion)
    there[top : top + height, left : left + width] = pattern[y : y + height, x : x + width]
    blended = cv2.seamlessClone(
        guest[y - 1 : y + height + 1, x - 1 : x + width + 1].copy(),
        host.copy(),
        rim[y - 1 : y + height + 1, x - 1 : x + width + 1] * np.uint8(255),
        (left + width // 2, top + height // 2),
        cv2.NORMAL_CLONE,
    )
    return blended.astype(np.uint8, copy=False), there


def _unlike_skin(host: Pixels, lesion: Mask) -> NDArray[np.uint8]:
    """Return where a photograph looks otherwise than the skin around its lesion."""
    lab = cv2.cvtColor(host.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    skin = np.median(lab[(_grown(lesion, 3 * RIM) & ~_grown(lesion, RIM)) > 0], axis=0)
    unlike = (np.linalg.norm(lab - skin, axis=2) > LIKE_SKIN).astype(np.uint8)
    opened = cv2.morphologyEx(unlike, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))  # without hairs
    return opened.astype(np.uint8, copy=False)


def _grown(mask: Mask, by: int) -> NDArray[np.uint8]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return cv2.dilate(mask.view(np.uint8), disc).astype(np.uint8, copy=False)


def _outline(picture: Pixels, mask: Mask, color: tuple[int, int, int], width: int) -> None:
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, color, width)


def _truth(data: Path, name: str) -> Path:
    return data / "ISIC-2017_Validation_Part1_GroundTruth" / f"{name}{MASK_SUFFIX}"


def _photograph(data: Path, name: str) -> Path:
    return data / "ISIC-2017_Validation_Data" / f"{name}.jpg"


if __name__ == "__main__":
    run(main)
