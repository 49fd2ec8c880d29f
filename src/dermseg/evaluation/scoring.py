"""Score the masks of a folder against an expert's, with the challenge's five metrics."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

from dermseg.data.metadata import KINDS, UNKNOWN, Facts, Groups, read_groups
from dermseg.errors import DataError, ImageError, MissingFolderError
from dermseg.evaluation.subsets import choose, style_of, with_style
from dermseg.formats.annotation import place_of
from dermseg.formats.masks import read_orientations
from dermseg.formats.rasters import masks_of
from dermseg.imaging.mask_files import (
    MASK_FOREGROUND,
    StoredMask,
    by_name,
    composed,
    find_masks,
    is_binary,
    mask_stem,
    read_stored_mask,
)
from dermseg.imaging.mask_frames import along_stored, frame_problem
from dermseg.imaging.orientation import Size
from dermseg.imaging.photographs import Header, stem_of
from dermseg.masks.borders import BORDER_METRICS, BorderScores, score_border
from dermseg.masks.metrics import METRICS, Scores, bootstrap_interval, mean, score
from dermseg.progress import track
from dermseg.settings import MaskFrame
from dermseg.storage.files import write_json
from dermseg.storage.tables import write_table

T = TypeVar("T")
Named: TypeAlias = list[tuple[Path, Path]]
"""Masks, each after the name of its image."""
OTHER_SIZE = "but its truth is"
WORST = 5
"""How many of the worst images are printed."""


@dataclass(frozen=True)
class Summary:
    """Means over some images: of each metric, with a 95 % bootstrap interval over the images."""

    count: int
    mean: Scores
    interval: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, scores: Sequence[Scores]) -> "Summary":
        """Summarise the metrics of at least one image."""
        lows, highs = bootstrap_interval(np.array([astuple(s) for s in scores]))
        intervals = zip(lows.tolist(), highs.tolist(), strict=True)
        return cls(len(scores), mean(scores), dict(zip(METRICS, intervals, strict=True)))


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a folder of masks. `print` shows them as a table."""

    images: dict[str, Scores]
    """The challenge's metrics by image, in order."""
    groups: Groups
    """Diagnosis, age, sex and style by image, as far as they are known."""
    grey: tuple[Path, ...] = ()
    """Masks with values other than 0 and 255. Above 128 they count as lesion, as in the official
    scorer."""
    passed_over: tuple[str, ...] = ()
    """A line for each reason why tables beside the truth, or names of a subset, were not used."""
    unofficial: Mapping[Path, str] = field(default_factory=dict)
    """Masks that the official scorer reads otherwise, and how."""
    borders: dict[str, BorderScores] = field(default_factory=dict)
    """Metrics of the border by image, where they were asked for."""

    @property
    def summary(self) -> Summary:
        """Means over all images, the challenge's macro average, with 95 % intervals."""
        return Summary.of(list(self.images.values()))

    @property
    def mean(self) -> Scores:
        """Each metric's mean over all images."""
        return mean(list(self.images.values()))

    @property
    def worst(self) -> list[str]:
        """The images, the lowest Jaccard index first."""
        return sorted(self.images, key=lambda image_id: self.images[image_id].jaccard)

    def where(self, kind: str, value: str) -> "Evaluation":
        """Return the evaluation of the images whose `kind`, as in `by`, is `value`."""
        chosen = [i for i in self.images if self.groups.get(i, {}).get(kind, UNKNOWN) == value]
        return replace(
            self,
            images={image: self.images[image] for image in chosen},
            borders={image: self.borders[image] for image in chosen if self.borders},
        )

    def by(self, kind: str) -> dict[str, Summary]:
        """Return the means for each value of `kind`: "diagnosis", "age", "sex" or "style"."""
        parts: dict[str, list[Scores]] = {}
        for image_id, scores in self.images.items():
            value = self.groups.get(image_id, {}).get(kind, UNKNOWN)
            parts.setdefault(value, []).append(scores)
        return {value: Summary.of(parts[value]) for value in sorted(parts)}

    @property
    def kinds(self) -> list[str]:
        """What is known of the images: some of "diagnosis", "age", "sex" and "style"."""
        known = {kind for image_id in self.images for kind in self.groups.get(image_id, {})}
        return [kind for kind in KINDS if kind in known]

    def __str__(self) -> str:
        """Return the means, the worst images, and a table for each kind of group."""
        summary = self.summary
        lines = [f"{summary.count} images; means with 95 % intervals"]
        for name, value in asdict(summary.mean).items():
            low, high = summary.interval[name]
            lines.append(f"{name:<12} {value:.4f}  ({low:.4f} to {high:.4f})")
        for name, (value, low, high) in self.border_means.items():
            unit = "" if name == "boundary_iou" else " pixels"
            lines.append(f"{name:<12} {value:.4f}  ({low:.4f} to {high:.4f}){unit}")
        lines.append("lowest Jaccard:")
        for image_id in self.worst[:WORST]:
            lines.append(f"  {image_id:<24} {self.images[image_id].jaccard:.4f}")
        for kind in self.kinds:
            lines += ["", *_table(kind, self.by(kind))]
        return "\n".join(lines)

    @property
    def border_means(self) -> dict[str, tuple[float, float, float]]:
        """Means of the border's metrics with the ends of 95 % intervals; none unless asked for."""
        if not self.borders:
            return {}
        table = np.array([astuple(each) for each in self.borders.values()])
        ends = zip(
            table.mean(0).tolist(), *map(np.ndarray.tolist, bootstrap_interval(table)), strict=True
        )
        return dict(zip(BORDER_METRICS, ends, strict=True))

    def write_json(self, path: str | Path) -> None:
        """Write the means, the groups and every image's metrics as JSON."""
        write_json(Path(path), self.content())

    def content(self) -> dict[str, Any]:
        """Return what `write_json` writes."""
        groups = {
            kind: {value: asdict(part) for value, part in self.by(kind).items()}
            for kind in self.kinds
        }
        images = dict(self.rows())
        content = {**asdict(self.summary), "groups": groups, "images": images}
        if self.borders:
            content["borders"] = self.border_means
        return content

    def write_csv(self, path: str | Path) -> None:
        """Write a CSV file with a row for each image."""
        rows = ({"image": name, **row} for name, row in self.rows())
        write_table(Path(path), ("image", *self.metrics), rows)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of an image's metrics."""
        return (*METRICS, *(BORDER_METRICS if self.borders else ()))

    def rows(self) -> Iterator[tuple[str, dict[str, float]]]:
        """Yield each image with all its metrics."""
        for image, scores in self.images.items():
            border = asdict(self.borders[image]) if self.borders else {}
            yield image, {**asdict(scores), **border}


def _table(kind: str, parts: dict[str, Summary]) -> list[str]:
    lines = [f"{kind:<24} images  Jaccard  95 % interval    sensitivity specificity"]
    for value, part in parts.items():
        low, high = part.interval["jaccard"]
        lines.append(
            f"{value:<24} {part.count:>6}  {part.mean.jaccard:.4f}   {low:.4f} to {high:.4f} "
            f"{part.mean.sensitivity:>11.4f} {part.mean.specificity:>11.4f}"
        )
    return lines


def evaluate(
    truth: str | Path,
    predictions: str | Path,
    *,
    mask_frame: MaskFrame | None = None,
    subset: str | Path = "",
    borders: bool = False,
) -> Evaluation:
    """Score a folder of masks against the true ones.

    Masks belong together when their names agree, with or without `_segmentation`, and their
    subfolders do, with or without `images` or `labels` among them.

    Parameters
    ----------
    truth
        Folder of the true masks, or outlines in another format that gives sizes. Tables beside it
        give diagnosis, age, sex and style; a style that is in no table is read from the mask.
    predictions
        The masks to score, or their outlines. A report.csv of `dermseg segment` there says which
        photographs EXIF turns.
    mask_frame
        How the true masks or outlines lie on these: along the pixels as stored, or upright. The
        masks to score lie along the stored pixels.
    subset
        Score only some images: a file that names them, or COLUMN=VALUE, where COLUMN is diagnosis,
        age, sex, style, or a column of the tables beside the truth. The others need no mask.
    borders
        Also score the border (see `dermseg.score_border`).

    Returns
    -------
    Evaluation
        The five metrics of each image, and their means.

    Raises
    ------
    DataError
        If masks are missing, surplus or unreadable, if sizes differ, if it is not known how a mask
        lies on its photograph, or if `subset` matches no image; the message lists every file.

    Examples
    --------
    >>> evaluation = dermseg.evaluate("examples/masks", "examples/masks")
    >>> len(evaluation.images), evaluation.mean.jaccard
    (4, 1.0)
    """
    truth, predictions = Path(truth), Path(predictions)
    folder = Path(os.path.abspath(truth)).parent  # noqa: PTH100 - a link's tables lie beside it
    named = f"{predictions}: cannot be scored against {truth}"
    given = truth, predictions
    true = masks_of(truth, mask_frame)
    truth, predictions = true.folder, masks_of(predictions).folder
    (truths, problems), (found, doubled) = _by_image(truth, predictions)
    problems += doubled
    problems += [f"no true mask for {found[k]}" for k in sorted(found.keys() - truths.keys())]
    tables = read_groups(folder)
    others: list[str] = []
    if subset:
        chosen, others = choose(str(subset), truths, folder, tables)
        truths = {image: truths[image] for image in truths if image in chosen}
    missing = sorted(truths.keys() - found.keys())
    problems += [f"no prediction for {truths[k]} (--subset scores some images)" for k in missing]
    scores: dict[str, Scores] = {}
    border_scores: dict[str, BorderScores] = {}
    groups: dict[str, Facts] = {}
    grey: list[Path] = []
    unofficial: dict[Path, str] = {}
    turns = read_orientations(predictions)
    for image_id in track(sorted(truths.keys() & found.keys()), "Scoring", len(truths)):
        paths = truths[image_id], found[image_id]
        turn = turns.get(composed(paths[1].relative_to(predictions).as_posix()))
        try:
            stored = _read_both(*paths, turn, true.frame)
        except ImageError as error:
            problems.append(str(error))
            continue
        expected, actual = (mask.pixels for mask in stored)
        for path, mask in zip(paths, stored, strict=True):
            if mask.officially:
                unofficial[path] = mask.officially
            elif not is_binary(mask.pixels):
                grey.append(path)
        binary = expected > MASK_FOREGROUND, actual > MASK_FOREGROUND
        scores[image_id] = score(*binary)
        if borders:
            border_scores[image_id] = score_border(*binary)
        groups[image_id] = with_style(tables.get(image_id, {}), style_of(binary[0]))
    if problems:
        sources = dict(zip((truth, predictions), given, strict=True))
        lines = [_named_as_given(each, sources) for each in problems]
        raise DataError.listing(named, [*lines, _remedy(problems)])
    unused = (*others, *tables.passed_over(truths))
    return Evaluation(scores, groups, tuple(grey), unused, unofficial, border_scores)


def _named_as_given(problem: str, sources: Mapping[Path, Path]) -> str:
    """Return a line that names what was given, where masks were made of it in a folder."""
    for folder, source in sources.items():
        if folder != source:
            problem = problem.replace(f"{folder}{os.sep}", f"{source}: ")
    return problem


def _remedy(problems: Sequence[str]) -> str:
    """Return how many problems there are, and what helps against the usual ones."""
    said = f"{len(problems)} in all"
    if any(each.startswith("no prediction") for each in problems):
        said += "; --subset scores only some of the images"
    if any(OTHER_SIZE in each for each in problems):
        said += "; `dermseg segment --size-from TRUTH` makes masks of the true masks' sizes"
    return said


def _read_both(
    truth: Path, found: Path, turn: int | None, mask_frame: MaskFrame | None
) -> tuple[StoredMask, StoredMask]:
    """Read a true mask and the one to score, whose photograph EXIF turns by `turn`, if known.

    Raises ImageError if one cannot be read, if they do not lie alike, or if their sizes differ.
    """
    expected, actual = read_stored_mask(truth), read_stored_mask(found)
    if turn is not None:
        headers = Header(_size(actual), turn), Header(_size(expected), expected.orientation)
        if problem := frame_problem(*headers, mask_frame):
            raise ImageError(f"{truth}: {problem}")
    if mask_frame == "upright":
        if turn is None:
            raise ImageError(
                f"{found}: --mask-frame upright needs the report.csv of `dermseg segment` beside "
                "it, which says how EXIF turns its photograph"
            )
        pixels = along_stored(expected.pixels, turn, expected.orientation)
        expected = replace(expected, pixels=pixels)
    if _size(expected) != _size(actual):
        one, other = (f"{height} x {width}" for height, width in map(_size, (actual, expected)))
        raise ImageError(f"{found}: {one}, {OTHER_SIZE} {other}")
    return expected, actual


def _size(mask: StoredMask) -> Size:
    height, width = mask.pixels.shape
    return height, width


def _by_image(*folders: Path) -> list[tuple[dict[str, Path], list[str]]]:
    """Return the masks of folders by image, and lines for the second masks of images.

    The parts of a path that say photographs or outlines do not count, unless two images differ in
    these alone.
    """
    one, other = map(_named, folders)
    named = [_paired(one, other), _paired(other, one)]
    by_path = [by_name((name.as_posix(), path) for name, path in each) for each in named]
    by_place = [
        by_name(((place_of(name.parent) / name.name).as_posix(), path) for name, path in each)
        for each in named
    ]
    is_unique = [doubled for _, doubled in by_place] == [doubled for _, doubled in by_path]
    return by_place if is_unique else by_path


def _named(folder: Path) -> Named:
    """Return the masks of a folder with the names of their images."""
    if not folder.is_dir():
        raise MissingFolderError(f"{folder}: no such folder")
    masks = find_masks(folder, below=True)
    if not masks:
        raise DataError(f"{folder}: holds no masks")
    return [(path.relative_to(folder).with_name(mask_stem(path)), path) for path in masks]


def _paired(masks: Named, others: Named) -> Named:
    """Return masks with their images where an image's own name may end as a mask's does.

    a_mask.png is of the image a_mask if the other folder has a_mask_segmentation.png, and there
    is no mask of an image a there, or another one here.
    """
    count = Counter(name for name, _ in masks)
    theirs = {name for name, _ in others}

    def image(name: Path, path: Path) -> Path:
        whole = name.with_name(stem_of(path))
        return whole if whole in theirs and (name not in theirs or count[name] > 1) else name

    return [(image(name, path), path) for name, path in masks]
