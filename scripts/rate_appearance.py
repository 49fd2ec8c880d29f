#!/usr/bin/env python
"""Say how often the flag `unlike-training` is raised, rightly and wrongly.

    scripts/rate_appearance.py MODEL DATA OTHERS RUN...

MODEL's card has the appearance, learnt from DATA; OTHERS is a folder of pictures that are no
dermoscopic photographs; each RUN held out whole sources of DATA (`--folds-by source`), which are
compared with the appearance of the remaining ones. Writes results/MODEL/appearance.csv.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import binomtest

from dermseg.data.splits import read_split
from dermseg.errors import ImageError
from dermseg.export.appearance import describe_all, fit_appearance
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.appearance import Appearance, Numbers
from dermseg.modelfile.graph import input_shape, read_model
from dermseg.storage.tables import write_table
from dermseg.training.run_folder import find_held_out, read_held_out
from dermseg.weights import find_model

RESULTS = Path(__file__).parent.parent / "results"
VALIDATION = "ISIC-2017_Validation_Data"
COLUMNS = ("pictures", "images", "flagged", "share", "low", "high")
LEAST_SIDE = 150
"""Smaller pictures are icons."""


def main(model: str, data: Path, others: Path, folders: list[Path]) -> None:
    """Write the table, and print it."""
    proto, card = read_model(find_model(model))
    assert card.appearance is not None
    known, shape = Appearance.from_dict(card.appearance), input_shape(proto)
    pairs = read_split(data).training
    described = describe_all([pair.photograph for pair in pairs], shape)
    names = [pair.image_id for pair in pairs]
    rows = [row("training photographs", known, described)]
    for number, run in enumerate(run for folder in folders for run in find_held_out(folder)):
        out = np.isin(names, list(read_held_out(run)))
        rest = fit_appearance(described[~out])
        rows.append(row(f"photographs of held-out sources {number + 1}", rest, described[out]))
    validation = describe_all(sorted((data / VALIDATION).glob("*.jpg")), shape)
    rows.append(row("validation photographs", known, validation))
    rows.append(row("other pictures", known, describe_all(list(pictures(others)), shape)))
    write_table(RESULTS / model / "appearance.csv", COLUMNS, rows)
    for each in rows:
        print(each)


def pictures(folder: Path) -> Iterator[Path]:
    """Yield the pictures in a folder that are no icons, those that look the same once."""
    seen = set()
    for path in sorted(folder.rglob("*")):
        try:
            pixels = read_photograph(path).pixels
        except (ImageError, OSError):
            continue
        look = np.asarray(Image.fromarray(pixels).resize((8, 8))).tobytes()
        if min(pixels.shape[:2]) >= LEAST_SIDE and look not in seen:
            seen.add(look)
            yield path


def row(pictures: str, known: Appearance, described: Numbers) -> dict[str, object]:
    """Return how many of some pictures are flagged, with a 95 % interval (Wilson)."""
    flagged = int((known.distances(described) > known.limit).sum())
    interval = binomtest(flagged, len(described)).proportion_ci(method="wilson")
    values = flagged / len(described), interval.low, interval.high
    facts = (pictures, len(described), flagged, *(round(float(each), 5) for each in values))
    return dict(zip(COLUMNS, facts, strict=True))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), [Path(each) for each in sys.argv[4:]])
