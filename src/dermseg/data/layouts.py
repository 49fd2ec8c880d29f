"""Where a data set keeps its photographs and masks: a table of layouts, and one search for all.

A layout names the folders that hold photographs and the folders that hold masks, at any depth. A
file belongs to the nearest such folder above it. Where no folder says so, the file's name does.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from dermseg.data.metadata import UNKNOWN, Metadata, read_groups
from dermseg.errors import DataError, MissingFolderError
from dermseg.formats import coco
from dermseg.formats.annotation import Photographs
from dermseg.formats.rasters import find_outlines, rasterised
from dermseg.imaging.images import Pixels
from dermseg.imaging.mask_files import (
    LOSSY,
    MASK_ENDINGS,
    by_name,
    composed,
    find_masks,
    mask_stem,
)
from dermseg.imaging.mask_frames import check_frame, read_along
from dermseg.imaging.photographs import may_be_photograph, stem_of
from dermseg.masks.style import STYLE_IDS
from dermseg.settings import MaskFrame, Style
from dermseg.storage.files import walk

Part = Literal["training", "validation", "test"]

PARTS: dict[str, Part] = {
    "train": "training",
    "training": "training",
    "imagestr": "training",
    "labelstr": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "imagests": "test",
    "labelsts": "test",
}
"""Words in a folder's name, and what its images are for."""
YEAR = re.compile(r"(?<=[a-z])(?:19|20)\d\d$")
"""What such a word may have at its end."""
ALL_MASK_ENDINGS = (*MASK_ENDINGS, "-mask", "_lesion", "_groundtruth", "_gt", "_label", "_seg")
"""What the name of a data set's mask may have after its photograph's, in capitals or not."""
OTHER_FILES = ("*_superpixels", "*_attribute_*", ".*")
"""Names of images, without a suffix, that are neither photographs nor masks."""
OTHER_FOLDERS = (".*", "@*", "__macosx", "#recycle", "*part2*groundtruth", "*task2*groundtruth")
"""Folders that are not looked into: hidden ones, thumbnails, the masks of other tasks."""
PHOTOGRAPH_FOLDERS = (
    "image",
    "images",
    "img",
    "imgs",
    "input",
    "inputs",
    "jpegimages",
    "photo",
    "photograph",
    "photographs",
    "photos",
    "picture",
    "pictures",
)
"""Words in the name of a folder of photographs."""
MASK_FOLDERS = (
    "annotation",
    "annotations",
    "groundtruth",
    "gt",
    "label",
    "labels",
    "mask",
    "masks",
    "segmentation",
    "segmentationclass",
    "segmentations",
    "target",
    "targets",
    "truth",
)
"""Words in the name of a folder of masks; they count for more than those of photographs."""


@dataclass(frozen=True)
class Layout:
    """How one kind of data set names its folders.

    `photographs` and `masks` are patterns of a folder's whole name in small letters. `channel` is
    what the names of photographs have at their end. With `whole` a part of the data, such as the
    training part, has one folder of each kind: two are two data sets.
    """

    name: str
    photographs: tuple[str, ...]
    masks: tuple[str, ...]
    channel: str = ""
    whole: bool = False


LAYOUTS = (
    Layout(
        "the official archives",
        ("*training*data", "*training*input"),
        ("*training*groundtruth",),
        whole=True,
    ),
    Layout("PH2", ("imd*_dermoscopic_image",), ("imd*_lesion",)),
    Layout("HAM10000", ("ham10000_images*",), ("ham10000_segmentations*",)),
    Layout("nnU-Net", ("imagestr", "imagests"), ("labelstr", "labelsts"), channel="_0000"),
    Layout("images and masks", ("images",), ("masks",)),
)
"""Data sets with names of their own, tried in this order before the words above.

The challenge's validation and test archives are left alone: they only report.
"""
KNOWN = (
    "*Training*Data (or *Training*Input) and *Training*GroundTruth, images and masks, imgs and "
    "labels, imagesTr and labelsTr, NAME.jpg and NAME_segmentation.png side by side, or "
    "photographs with outlines of COCO, CVAT, Label Studio, labelme, YOLO or GeoJSON"
)


@dataclass(frozen=True)
class Pair:
    """A photograph and its mask; `part` is what a folder says the image is for.

    `style` is the mask's by a table beside the data, None where none says it. `mask_frame` is what
    a person says of how all masks lie (see `imaging.mask_frames`). Of an `unlabelled` photograph
    the outlines of its data set say nothing, so that its mask is empty.
    """

    image_id: str
    photograph: Path
    mask: Path
    part: Part = "training"
    style: Style | None = None
    mask_frame: MaskFrame | None = None
    unlabelled: bool = False

    def read_mask(self) -> Pixels:
        """Return the mask's pixels, uint8 (H, W), along the photograph's as stored.

        Raises ImageError if it cannot be read, or if it is not known how it lies.
        """
        check_frame(self.photograph, self.mask, self.mask_frame)
        return self.read_mask_as_said()

    def read_mask_as_said(self) -> Pixels:
        """Return the same, though it may lie otherwise than a person says."""
        return read_along(self.photograph, self.mask, self.mask_frame)


@dataclass(frozen=True)
class _File:
    """An image file; `key` is its path without what says its kind, `folder` what says it.

    `whole` is the same with the whole of the file's name; see `_named_whole`.
    """

    path: Path
    is_mask: bool
    key: str
    whole: str
    part: Part
    folder: str


def find_pairs(data: Path, mask_frame: MaskFrame | None = None) -> list[Pair]:
    """Return the pairs of a data set that are for training, sorted by their image's id.

    Raises DataError as `find_all_pairs` does, and if every pair is for validation or test.
    """
    pairs = find_all_pairs(data, mask_frame)
    training = [pair for pair in pairs if pair.part == "training"]
    if not training:
        raise DataError(
            f"{data}: all {len(pairs)} images lie in folders for validation or test; give the "
            "folder that also holds the training images, or rename these folders"
        )
    return training


def find_all_pairs(
    data: Path, mask_frame: MaskFrame | None = None, alone: list[str] | None = None
) -> list[Pair]:
    """Return every pair of a data set, sorted by its image's id.

    Known are the layouts of LAYOUTS; folders whose names say image or mask in other words, at any
    depth; photographs and masks side by side; and photographs with outlines in another form. A
    mask is named after its photograph, with or without one of ALL_MASK_ENDINGS; where that is in
    doubt, it belongs to the photograph of exactly its name. The id is the
    photograph's name; where that is not unique, its path within `data`, without the folders that
    say what is a photograph. `mask_frame` is how a person says that the masks or outlines lie.

    Raises DataError, which lists every photograph and mask that stands alone, and every second
    file for one image, unless they are to be put into the list `alone`; for a layout that is
    not known, with what was found; and for outlines that do not lie as the person says.
    """
    if not data.is_dir():
        raise MissingFolderError(f"{data}: no such folder")
    paths = [path for path in _walk(data) if may_be_photograph(path)]
    for files in _readings(data, paths):
        kinds = {file.is_mask for file in files}
        if kinds == {True, False}:
            pairs = [replace(pair, mask_frame=mask_frame) for pair in _pair_up(data, files, alone)]
            return _labelled(pairs, data)
    if paths and (outlines := find_outlines(data)):
        source, form = outlines
        masks = rasterised(source, form, data, mask_frame)
        files = _with_masks(data, paths, masks.folder)
        if form == "coco":
            files = _of_splits(data, files, coco.splits(source))
        pairs = _pair_up(data, files, alone)
        pairs = [
            replace(pair, mask_frame=masks.frame, unlabelled=pair.mask in masks.unlabelled)
            for pair in pairs
        ]
        return _labelled(pairs, data)
    raise DataError(_unknown(data, paths))


def _with_masks(data: Path, paths: list[Path], folder: Path) -> list[_File]:
    """Return photographs, and the masks in `folder` that were made of their outlines."""
    named = Layout("folders", PHOTOGRAPH_FOLDERS, MASK_FOLDERS)
    files = {
        path: _by_folder(data, path, named, words=True) or _file(data, path, [], is_mask=False)
        for path in paths
    }
    masks = []
    photographs = Photographs(data)
    for mask in find_masks(folder, below=True):
        name = mask.relative_to(folder).with_name(f"{mask_stem(mask)}.jpg")
        photograph = photographs.find(name.as_posix())
        if photograph in files:
            masks.append(replace(files[photograph], path=mask, is_mask=True))
    return [*files.values(), *masks]


def _of_splits(data: Path, files: list[_File], splits: dict[str, str]) -> list[_File]:
    """Return `files` for the parts that COCO's splits, by photographs' names, say they are of."""
    found = Photographs(data).found(splits)
    split_of = {file.key: splits[found[file.path][0]] for file in files if file.path in found}
    return [replace(file, part=_part([split_of.get(file.key, "")], file.part)) for file in files]


def read_facts(data: Path, pairs: Sequence[Pair]) -> Metadata:
    """Return what the tables of the data set say of each image."""
    return read_groups(data, [pair.photograph for pair in pairs])


def _labelled(pairs: list[Pair], data: Path) -> list[Pair]:
    """Return `pairs` with the styles that a person's table says."""
    groups = read_facts(data, pairs)

    def label(pair: Pair) -> Style | None:
        said = groups.get(pair.image_id, {}).get("style", UNKNOWN)
        return next((style for style in STYLE_IDS if style == said), None)

    return [replace(pair, style=label(pair)) for pair in pairs]


def _walk(data: Path) -> Iterator[Path]:
    """Yield the files below `data` that may be photographs or masks, links followed."""
    for folder, folders, names in walk(data, followlinks=True):
        folders[:] = [name for name in folders if not _any(OTHER_FOLDERS, name)]
        for name in names:
            if not _any(OTHER_FILES, stem_of(Path(name))):
                yield folder / name


def _readings(data: Path, paths: list[Path]) -> Iterator[list[_File]]:
    """Yield `paths` as each layout understands them, the most particular layout first."""
    for layout in LAYOUTS:
        files = [f for path in paths if (f := _by_folder(data, path, layout)) is not None]
        if layout.whole and {file.is_mask for file in files} == {True, False}:
            _check_whole(data, files)
        yield files
    named = Layout("folders", PHOTOGRAPH_FOLDERS, MASK_FOLDERS)
    by_words = [f for path in paths if (f := _by_folder(data, path, named, words=True)) is not None]
    yield by_words
    if any(file.is_mask for file in by_words):  # photographs in no folder of their own
        masks = {file.path: file for file in by_words if file.is_mask}
        yield [masks.get(path) or _file(data, path, [], is_mask=False) for path in paths]
    side_by_side = [
        _named_whole([_file(data, path, [], is_mask=tells_mask(path)) for path in paths])
        for tells_mask in (_ends_as_mask, _is_png)
    ]
    for files in sorted(side_by_side, key=_pairs_wholly, reverse=True):
        meet = set(_keys(files, is_mask=True)) & set(_keys(files, is_mask=False))
        if meet and not (_are_lossy(files) and find_outlines(data)):
            yield files


def _by_folder(data: Path, path: Path, layout: Layout, *, words: bool = False) -> _File | None:
    """Return `path` as the nearest folder above it says; None where no folder says anything."""
    folders = path.relative_to(data).parts[:-1]
    masks = [bool(_says(layout.masks, folder, words)) for folder in folders]
    photographs = [
        not mask and bool(_says(layout.photographs, folder, words))
        for folder, mask in zip(folders, masks, strict=True)
    ]
    telling = [i for i in range(len(folders)) if masks[i] or photographs[i]]
    if not telling:
        return None
    is_mask = masks[telling[-1]]
    return _file(data, path, telling, is_mask=is_mask, ending="" if is_mask else layout.channel)


def _says(patterns: tuple[str, ...], folder: str, words: bool) -> bool:
    if words:
        return not set(patterns).isdisjoint(_words(folder))
    return _any(patterns, folder)


def _any(patterns: tuple[str, ...], name: str) -> bool:
    return any(fnmatch(name.lower(), pattern) for pattern in patterns)


def _words(folder: str) -> list[str]:
    return re.split(r"[\W_]+", folder.lower())


def _file(data: Path, path: Path, telling: list[int], *, is_mask: bool, ending: str = "") -> _File:
    """Return what `path` is; `telling` are the positions of the folders that say its kind."""
    folders = path.relative_to(data).parts[:-1]
    whole = stem_of(path).removesuffix(ending)
    stem = mask_stem(path, ALL_MASK_ENDINGS) if is_mask else whole
    kept = [folder for i, folder in enumerate(folders) if i not in telling]
    key, whole = (composed(_key(kept, name)) for name in (stem, whole))
    outermost = folders[telling[0]] if telling else ""
    return _File(path, is_mask, key, whole, _part(folders), outermost)


def _part(folders: Iterable[str], unsaid: Part = "training") -> Part:
    """Return what the outermost of `folders` that says it is for; `unsaid` if none does."""
    words = (YEAR.sub("", word) for folder in folders for word in _words(folder))
    return next((PARTS[word] for word in words if word in PARTS), unsaid)


def _key(folders: list[str], name: str) -> str:
    if name.lower() in (*PHOTOGRAPH_FOLDERS, *MASK_FOLDERS, "lesion") and folders:
        return "/".join(folders)  # a folder an image: case-1/image.jpg and case-1/mask.png
    return "/".join([*folders, name])


def _ends_as_mask(path: Path) -> bool:
    stem = stem_of(path)
    return stem.lower() in MASK_FOLDERS or mask_stem(path, ALL_MASK_ENDINGS) != stem


def _is_png(path: Path) -> bool:
    """Say whether a file is a PNG, as masks are where photographs are a camera's JPEGs."""
    return path.suffix.lower() == ".png"


def _keys(files: list[_File], *, is_mask: bool) -> list[str]:
    return sorted(file.key for file in files if file.is_mask is is_mask)


def _pairs_wholly(files: list[_File]) -> bool:
    masks = _keys(files, is_mask=True)
    return masks == _keys(files, is_mask=False) and len(set(masks)) == len(masks)


def _are_lossy(files: list[_File]) -> bool:
    """Say whether all masks are JPEGs or the like, as photographs are whose names end so."""
    return all(file.path.suffix.lower() in LOSSY for file in files if file.is_mask)


def _named_whole(files: list[_File]) -> list[_File]:
    """Return `files`, where a mask that is named exactly as a photograph belongs to it.

    The ending of such a mask's name is the photograph's own, and so part of the key. A photograph
    in the mask's own folder has priority over one in another, whatever the ending.
    """
    keys = set(_keys(files, is_mask=False))
    names = {_name(key) for key in keys}

    def is_whole(file: _File) -> bool:
        return file.whole in keys or (file.key not in keys and _name(file.whole) in names)

    return [replace(f, key=f.whole) if f.is_mask and is_whole(f) else f for f in files]


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _check_whole(data: Path, files: list[_File]) -> None:
    """Raise DataError if a part of an archive has two folders of photographs, or two of masks."""
    found: dict[tuple[Part, bool], set[str]] = {}
    for file in files:
        found.setdefault((file.part, file.is_mask), set()).add(file.folder)
    for (part, is_mask), folders in sorted(found.items()):
        if len(folders) > 1:
            kind = "masks" if is_mask else "photographs"
            raise DataError(
                f"{data}: expected one folder of {part} {kind}, found {', '.join(sorted(folders))}:"
                " move one away, or give a folder with only one data set"
            )


def _pair_up(data: Path, files: list[_File], alone: list[str] | None) -> list[Pair]:
    """Return the pairs of `files`; raise DataError for files that stand alone, or note them."""
    files = _without_lone_parts(files)
    named = _by_stem(_named_whole(files))
    photographs, problems = by_name((n, f.path) for n, f in named if not f.is_mask)
    masks, doubled = by_name((n, f.path) for n, f in named if f.is_mask)
    problems += doubled
    problems += [f"{photographs[k]}: no mask" for k in photographs.keys() - masks.keys()]
    problems += [f"{masks[k]}: no photograph" for k in masks.keys() - photographs.keys()]
    both = sorted(photographs.keys() & masks.keys())
    if problems and (alone is None or not both):
        title = f"{data}: photographs and masks do not pair up; add what is missing, or move these"
        raise DataError.listing(f"{title} files away", sorted(problems))
    if alone is not None:
        alone += sorted(problems)
    part_of = {name: file.part for name, file in named if not file.is_mask}
    return [Pair(n, photographs[n], masks[n], part_of[n]) for n in both]


def _without_lone_parts(files: list[_File]) -> list[_File]:
    """Leave out the validation and test parts that have photographs alone, or masks alone."""
    kinds = {(file.part, file.is_mask) for file in files}
    return [f for f in files if f.part == "training" or (f.part, not f.is_mask) in kinds]


def _by_stem(files: list[_File]) -> list[tuple[str, _File]]:
    """Return `files` with the ids of their images: names if these are unique, otherwise paths."""
    for is_mask in (True, False):
        keys = set(_keys(files, is_mask=is_mask))
        if len(set(map(_name, keys))) < len(keys):
            return [(file.key, file) for file in files]
    return [(_name(file.key), file) for file in files]


def _unknown(data: Path, paths: Iterable[Path]) -> str:
    """Return the message for a folder of no known layout: what was found, and what to do."""
    folders = Counter(path.relative_to(data).parent.as_posix() for path in paths)
    listed = [f"{name}: {count} images" for name, count in sorted(folders.items())[:20]]
    title = f"{data}: holds no photographs with masks in a known layout; known layouts: {KNOWN}"
    return "\n  ".join([title, *listed])
