"""Find the faults of a data set before a training learns from them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.cores import parallel_map
from dermseg.data.datasets import read_signatures
from dermseg.data.folds import near_duplicates
from dermseg.data.layouts import Pair, find_all_pairs, read_facts
from dermseg.data.splits import find_leaks, read_people, read_split
from dermseg.errors import ImageError, UsageError
from dermseg.imaging.contact_sheet import CELL_HEIGHT, CELL_WIDTH, contact_sheet
from dermseg.imaging.images import Mask, Pixels, encode_image, resize
from dermseg.imaging.mask_files import (
    MASK_FOREGROUND,
    MASK_SUFFIX,
    is_binary,
    write_mask,
)
from dermseg.imaging.mask_frames import along_stored, fitting_frames, frame_problem
from dermseg.imaging.overlay import draw_overlay
from dermseg.imaging.photographs import (
    Header,
    Photograph,
    PhotographFlag,
    read_header,
    read_photograph,
    stem_of,
)
from dermseg.masks.metrics import score
from dermseg.masks.postprocess import Probability, binarise, choose_lesion
from dermseg.masks.style import STYLE_NAMES, UNTOLD, read_style
from dermseg.progress import track
from dermseg.settings import MaskFrame, ThresholdSettings
from dermseg.storage.journal import JOURNAL, Journal
from dermseg.storage.tables import encode_table

TABLE, SHEET = "doctor.csv", "doctor.png"
SUSPICIOUS = 0.5
"""Jaccard index with an out-of-fold prediction below which a mask is listed."""
FRAMING = 0.95
"""Share of the frame's edge from which lesion there means that a mask is inverted."""
FEWEST_INVERTED = 0.3
FULL = 0.99
"""Share of the frame from which a mask is called full."""
SHOWN = 24
"""Images on the contact sheet."""
PHOTOGRAPH_FLAGS: dict[PhotographFlag, str] = {
    "damaged": "the file is damaged inside, and pixels are lost",
    "narrow-range": "all 16-bit values are in the lowest quarter, and the file does not say why",
}
PLAINLY = 1.1
"""How many times more a lesion's grey differs from the skin's where its mask lies right. Of 300
masks of ISIC 2017, turned by half, it told 80 % rightly and 4.5 % wrongly."""
FITS = 0.95
"""Confidence from which a mask's border is of one style or the other."""
Predictions = dict[str, Probability]


REMEDIES = {
    "alone": "add the missing photograph or mask, or move this file away",
    "damaged": "copy the photograph again, or leave it out",
    "empty-mask": "correct if the photograph shows no lesion; otherwise outline the lesion",
    "fits-no-style": "a column style in a table beside the data can say which it is",
    "full-mask": "correct if the lesion fills the photograph; otherwise outline the lesion",
    "inverted-mask": "swap lesion and skin in the mask",
    "leak": "put all photographs of one patient or lesion on one side of the split",
    "mask-frame": "say with --mask-frame how the masks lie; --fix then turns them",
    "narrow-range": "correct if the photograph is that dark; otherwise save it with its full range",
    "near-duplicate": "nothing to do, since they are in the same fold",
    "not-binary": "--fix writes copies with 0 and 255",
    "pieces": "check whether they are one lesion",
    "sizes-differ": "use the mask of this photograph; --allow-resized accepts thumbnails",
    "suspicious": "look at these masks first; outline them again if they are wrong",
    "unreadable": "copy the file again, or leave it out",
}
"""What to do about each kind of finding."""


@dataclass(frozen=True)
class Finding:
    """Something about an image that deserves a look; `value` orders findings of one kind."""

    image: str
    kind: str
    detail: str
    value: float = 0.0


@dataclass(frozen=True)
class Examination:
    """What was found in a data set: findings, the likeliest wrong masks first.

    `pairs` are all that were examined. `styles` counts their masks by style, as tables beside the
    data say or as they are read; `passed_over` has a line for each reason why tables were not used,
    and `unlabelled` and `renumbered` are those of the `Split`.
    """

    pairs: list[Pair]
    findings: list[Finding]
    styles: Counter[str]
    passed_over: list[str]
    unlabelled: str
    renumbered: str


def examine(
    data: Path,
    predictions: Predictions | None = None,
    *,
    allow_resized: bool = False,
    splits: str = "",
    mask_frame: MaskFrame | None = None,
    group: str = "",
) -> Examination:
    """Return what deserves a look in the data set `data`.

    `predictions` maps image ids to out-of-fold probabilities (h, w), as `read_held_out` gives
    them. `allow_resized` accepts photographs whose size is not their mask's. `splits` is a split of
    one's own (see `splits.read_split`), `mask_frame` how a person says that the masks lie, `group`
    a further column whose images stay together. Raises DataError if no photograph has a mask, or if
    tables cannot tell two images apart, UsageError if no table has the column `group`.
    """
    alone: list[str] = []
    split = read_split(data, splits, mask_frame, alone)
    pairs = split.pairs
    results = parallel_map(lambda pair: _examine(pair, predictions or {}), pairs)
    examined = list(track(results, "Examining", len(pairs)))
    findings = [finding for found, _ in examined for finding in found]
    findings += [Finding(stem_of(Path(line.rpartition(": ")[0])), "alone", line) for line in alone]
    if allow_resized:
        findings = [finding for finding in findings if finding.kind != "sizes-differ"]
    unreadable = {finding.image for finding in findings if finding.kind == "unreadable"}
    duplicates = _find_duplicates([pair for pair in pairs if pair.image_id not in unreadable])
    findings += _duplicates(duplicates)
    leaks = find_leaks(split, duplicates, read_people(data, pairs, group))
    findings += [Finding(image, "leak", detail) for image, detail in leaks]
    findings.sort(key=lambda f: (f.kind != "suspicious", f.kind, f.value, f.image))
    styles = Counter(style for _, style in examined if style)
    passed_over = read_facts(data, pairs).passed_over(pair.image_id for pair in pairs)
    said = split.unlabelled, split.renumbered
    return Examination(pairs, findings, styles, passed_over, *said)


def _examine(pair: Pair, predictions: Predictions) -> tuple[list[Finding], str]:
    """Return the findings of a pair, and its mask's style; none if it cannot be read."""

    def finding(kind: str, detail: str, value: float = 0.0) -> Finding:
        return Finding(pair.image_id, kind, detail, value)

    try:
        photograph = read_photograph(pair.photograph, at_least=(64, 64))
        headers = read_header(pair.photograph), read_header(pair.mask)
        stored = pair.read_mask_as_said()
    except ImageError as error:
        return [finding("unreadable", str(error))], ""
    found = []
    if problem := frame_problem(*headers, pair.mask_frame):
        if pair.mask_frame is None and len(fitting_frames(*headers)) > 1:
            problem += _likelier_frame(photograph, stored, headers[1])
        found.append(finding("mask-frame", problem))
    found += [finding(flag, PHOTOGRAPH_FLAGS[flag]) for flag in photograph.flags]
    photograph_size = photograph.height, photograph.width
    if photograph_size != stored.shape:
        sizes = [f"{height} x {width}" for height, width in (photograph_size, stored.shape)]
        found.append(finding("sizes-differ", f"photograph {sizes[0]}, mask {sizes[1]}"))
    if not is_binary(stored):
        found.append(finding("not-binary", f"has values between 0 and 255, up to {stored.max()}"))
    mask = stored > MASK_FOREGROUND
    share = float(mask.mean())
    if FEWEST_INVERTED <= share < FULL and _frames(mask):
        found.append(finding("inverted-mask", f"lesion all around, {share:.0%} of the frame"))
    if share == 0:
        found.append(finding("empty-mask", "no lesion"))
    elif share >= FULL:
        found.append(finding("full-mask", f"{share:.1%} of the frame"))
    reading = read_style(mask)
    if pair.style is None and 0 < reading.confidence < FITS:
        sure = f"most like {reading.style}, with a confidence of {reading.confidence:.2f}"
        found.append(finding("fits-no-style", sure, reading.confidence))
    pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    if pieces > 1:
        found.append(finding("pieces", f"{pieces} separate regions", -pieces))
    if pair.image_id in predictions:
        predicted, _ = _binarised(predictions[pair.image_id], *mask.shape)
        jaccard = score(mask, predicted).jaccard
        if jaccard < SUSPICIOUS:
            detail = f"Jaccard {jaccard:.3f} with the prediction of a network that had not seen it"
            found.append(finding("suspicious", detail, jaccard))
    return found, pair.style or reading.style or STYLE_NAMES[UNTOLD]


def _likelier_frame(photograph: Photograph, mask: Pixels, stored: Header) -> str:
    """Say in which frame the lesion differs more from the skin, where that is plain."""
    grey = photograph.pixels.mean(2)
    contrasts = []
    for turned in (mask, along_stored(mask, photograph.orientation, stored.orientation)):
        lesion = resize(turned, *grey.shape) > MASK_FOREGROUND
        if lesion.all() or not lesion.any():
            return ""
        contrasts.append(abs(float(grey[lesion].mean() - grey[~lesion].mean())))
    if max(contrasts) < PLAINLY * min(contrasts):
        return ""
    return f"; it looks {'stored' if contrasts[0] > contrasts[1] else 'upright'}"


def _binarised(probability: Probability, height: int, width: int) -> tuple[Mask, NDArray[np.int32]]:
    settings = ThresholdSettings()
    return binarise(choose_lesion(probability, settings), height, width, settings)


def _frames(mask: Mask) -> bool:
    """Say whether a mask's lesion lies along the edge of the frame, around the rest."""
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(edge.mean() >= FRAMING)


def fix(data: Path, output: Path, mask_frame: MaskFrame | None = None) -> int:
    """Write each mask of `data` that can be read as the challenge wants it, under its image's name.

    They are copies in the folder `output`: 8 bits, one channel, 0 and 255, along the photographs as
    stored if `mask_frame` is known where it matters. Returns their number; masks that cannot be
    read are findings of `examine`. Raises UsageError if such a file is there, OutputError if one
    cannot be written.
    """
    pairs = find_all_pairs(data, mask_frame, [])
    clean = {pair.image_id: output / f"{pair.image_id}{MASK_SUFFIX}" for pair in pairs}
    if there := [path for path in clean.values() if path.exists()]:
        raise UsageError(f"{there[0]}: is there already; choose another folder for --fix")
    count = 0
    for pair in pairs:
        with suppress(ImageError):
            lesion = pair.read_mask_as_said() > MASK_FOREGROUND
            write_mask(clean[pair.image_id], lesion)
            count += 1
    return count


def _find_duplicates(pairs: Sequence[Pair]) -> dict[str, int]:
    """Return a group of near-duplicates for each image, by its id."""
    if not pairs:
        return {}
    with TemporaryDirectory() as store:
        signatures = read_signatures([pair.photograph for pair in pairs], Path(store))
    groups = near_duplicates(signatures)
    return {pair.image_id: group for pair, group in zip(pairs, groups, strict=True)}


def _duplicates(group_of: Mapping[str, int]) -> list[Finding]:
    members: defaultdict[int, list[str]] = defaultdict(list)
    for image, group in group_of.items():
        members[group].append(image)
    return [
        Finding(image, "near-duplicate", f"resembles {', '.join(i for i in group if i != image)}")
        for group in members.values()
        if len(group) > 1
        for image in group
    ]


def report(
    pairs: Sequence[Pair],
    findings: Sequence[Finding],
    output: Path,
    predictions: Predictions | None = None,
) -> None:
    """Write doctor.csv, a row a finding, and doctor.png, a sheet of the images found first.

    On the sheet the mask is red and the prediction, where there is one, yellow. Raises UsageError
    if there are files of these names that dermseg has not written so, OutputError if they cannot be
    written.
    """
    rows = [{"image": f.image, "kind": f.kind, "detail": f.detail} for f in findings]
    unreadable = {f.image for f in findings if f.kind == "unreadable"}
    images = (f.image for f in findings if f.kind != "alone" and f.image not in unreadable)
    shown = list(dict.fromkeys(images))[:SHOWN]
    pair_of = {pair.image_id: pair for pair in pairs}
    kinds = {image: [f.kind for f in findings if f.image == image] for image in shown}
    pictures = [_picture(pair_of[image], (predictions or {}).get(image)) for image in shown]
    captions = [f"{image}: {', '.join(kinds[image])}" for image in shown]
    with Journal(output / JOURNAL) as journal:
        journal.write(TABLE, encode_table(("image", "kind", "detail"), rows))
        if shown:
            sheet = contact_sheet(pictures, captions)
            journal.write(SHEET, encode_image(sheet, "PNG"))
        else:
            journal.remove(SHEET)  # an earlier examination's


def _picture(pair: Pair, probability: Probability | None) -> Pixels:
    """Return one picture of the sheet, squeezed into its cell."""
    photograph = read_photograph(pair.photograph, at_least=(CELL_HEIGHT, CELL_WIDTH))
    pixels = resize(photograph.pixels, CELL_HEIGHT, CELL_WIDTH)
    stored = pair.read_mask_as_said()
    mask = (resize(stored, CELL_HEIGHT, CELL_WIDTH) > MASK_FOREGROUND).astype(np.uint8)
    if probability is not None:
        _, outline = _binarised(probability, CELL_HEIGHT, CELL_WIDTH)
        pixels = draw_overlay(Photograph(pixels, CELL_HEIGHT, CELL_WIDTH), outline)
    pixels = pixels.copy()
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(pixels, contours, -1, (255, 0, 0), 1)
    return pixels
