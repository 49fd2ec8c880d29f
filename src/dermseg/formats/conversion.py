"""Outlines from any form into any other."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from dermseg.cores import parallel_map
from dermseg.errors import DataError, DermsegError, ImageError, UnsaidError, UsageError
from dermseg.formats import coco, cvat, geojson, label_studio, labelme, masks, yolo
from dermseg.formats.annotation import Annotation, Entry, Frame, Photographs, is_name
from dermseg.formats.recognition import check_alone, files_of, recognise
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import composed
from dermseg.imaging.orientation import as_filed, exchanges_sides
from dermseg.imaging.photographs import read_header, suffix_of, with_ending
from dermseg.progress import track
from dermseg.settings import Form, MaskFrame, OutlineSettings, Written
from dermseg.storage.beside import written_beside
from dermseg.storage.decisions import Reader

AHEAD = 2
"""Masks for each core that may wait to be written: each is as large as its photograph."""


class _Form(Protocol):
    """What the module of a form has; its own docstrings say what is particular to the form."""

    FRAME: Frame
    FILE: str
    """The suffix of the one file that it writes; empty where it fills a folder."""

    def write(
        self, annotations: Iterable[Annotation], target: Path, settings: OutlineSettings, /
    ) -> None:
        """Write outlines.

        Parameters
        ----------
        annotations
            Outlines in the form's frame; taken one at a time.
        target
            The file; or the folder, which gets the subfolders of the photographs' names.
        settings
            The label, and whether run lengths stand in place of polygons.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        ...

    def read(self, source: Path, photographs: Photographs, label: str | None, /) -> Iterator[Entry]:
        """Read outlines.

        Parameters
        ----------
        source
            The file or the folder.
        photographs
            For what the form does not say: names, sizes, orientations.
        label
            The label to read; needed where outlines have several.

        Returns
        -------
        Iterator of Entry
            One for each photograph, with or without a lesion, in the form's frame: in the order of
            the file, or by name.

        Raises
        ------
        DataError
            The source is damaged, holds nothing of this form, or has several labels. What is wrong
            with one photograph is raised by its entry.
        """
        ...


FORMS: dict[Form, _Form] = {
    "coco": coco,
    "yolo": yolo,
    "geojson": geojson,
    "label-studio": label_studio,
    "cvat": cvat,
    "labelme": labelme,
    "masks": masks,
}


FRAMES: dict[MaskFrame, Frame] = {"stored": "stored", "upright": "shown"}
"""What a person says of masks to the frame of outlines."""
ONE_FRAME: tuple[Form, ...] = ("yolo", "geojson", "label-studio")
"""Forms that are read in their own frame alone, since the photographs tell them sizes in it."""


@dataclass(frozen=True)
class Reading:
    """Where outlines come from: the source, its form, the label in it, and the photographs.

    The form is recognised unless given. The photographs tell their names, sizes and orientations.
    With `kept_by`, a reader of a review, the source is the folder of masks, of which only those
    are read that the reader accepted or corrected. `frame` is how a person says that the outlines
    lie.
    """

    source: Path
    form: Form | None = None
    label: str | None = None
    photographs: Photographs = Photographs()
    kept_by: Reader | None = None
    frame: MaskFrame | None = None

    def resolved(self) -> "Reading":
        """Return the same with its form, and with the photographs that lie beside YOLO's labels.

        Raises UsageError if there is no source, or no form is known.
        """
        if not self.source.exists():
            raise UsageError(f"{self.source}: no such file or folder")
        form = self.form or ("masks" if self.kept_by else recognise(self.source))
        photographs = self.photographs
        if form == "yolo" and photographs.folder is None:
            photographs = Photographs(yolo.photographs_beside(self.source))
        return replace(self, form=form, photographs=photographs)

    def entries(self) -> Iterator[Entry]:
        """Yield the outlines, in the form's frame; DataError for a damaged source."""
        if self.kept_by is not None:
            return masks.read_kept(self.kept_by)
        assert self.form is not None
        source = self.source
        if self.form in ("cvat", "label-studio") and source.is_dir():
            source, *others = files_of(source, self.form)
            check_alone(self.source, (source, *others))
        return FORMS[self.form].read(source, self.photographs, self.label)


@dataclass
class Conversion:
    """What became of a conversion.

    `written` counts photographs, `failures` are sentences about those that could not be read,
    `unsaid` are the options that some of these need, and `lost` are the numbers of pixels in which
    outlines differ from their source, by photograph. `unlabelled` are the names of photographs that
    have no lesion because the source says nothing of them.
    """

    written: int = 0
    failures: list[str] = field(default_factory=list)
    unsaid: set[str] = field(default_factory=set)
    lost: dict[str, int] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)


def tell_unlabelled(count: int) -> str:
    """Return a line for photographs of which their source says nothing; "" for none."""
    return f"photographs without a file of labels, which have no lesion: {count}" if count else ""


def read_all(reading: Reading) -> list[Entry]:
    """Return the outlines of a source in the frame of the stored pixels, to be loaded.

    A tool may write a form in the other frame. Where the sizes that a source says are those of its
    photographs in that frame, so are all its outlines; where no size tells, a person's word counts.

    Raises DataError if the source is damaged, two of its outlines are of one photograph, the name
    of one leads out of a folder, or the outlines do not lie as the person says.
    """
    reading = reading.resolved()
    assert reading.form is not None
    entries = list(reading.entries())
    frame = _frame(entries, reading)
    stems: dict[str, str] = {}
    for entry in entries:
        if not is_name(entry.photograph):
            raise DataError(
                f"{reading.source}: names a photograph {entry.photograph!r}, which is no path "
                "inside a folder; correct it"
            )
        stem = composed(with_ending(Path(entry.photograph), "").as_posix()).casefold()
        if stem in stems:
            names = f"{stems[stem]} and {entry.photograph}"
            raise DataError(f"{reading.source}: {names} would be one file; rename one of them")
        stems[stem] = entry.photograph
    owners = _owners(entries, reading.photographs)
    return [
        replace(entry, load=partial(_stored, entry, frame, reading.photographs, owners))
        for entry in entries
    ]


def _frame(entries: Iterable[Entry], reading: Reading) -> Frame:
    """Return the frame of outlines: as all sizes that tell say, else as the person, or the form.

    Raises DataError where the person says another than the sizes, or than a form of ONE_FRAME.
    """
    assert reading.form is not None
    told = _told(entries, reading.photographs)
    own = next(iter(told)) if len(told) == 1 else FORMS[reading.form].FRAME
    said = own if reading.frame is None else FRAMES[reading.frame]
    is_sure = len(told) == 1 or reading.form in ONE_FRAME
    if said != own and is_sure:
        why = "their sizes say" if told else f"the format {reading.form} has them"
        raise DataError(
            f"{reading.source}: --mask-frame {reading.frame}, but the outlines lie along the "
            f"photographs as {own}, as {why}; leave the option out"
        )
    return said


def _told(entries: Iterable[Entry], photographs: Photographs) -> set[Frame]:
    """Return the frames that sizes say, of photographs whose height and width EXIF exchanges."""
    told: set[Frame] = set()
    for entry in entries:
        with suppress(DermsegError):  # which the entry raises itself
            if entry.size and (path := photographs.find(entry.photograph)):
                header = read_header(path)
                turns = exchanges_sides(header.orientation) and len(set(header.size)) == 2
                if turns and sorted(entry.size) == sorted(header.size):
                    told.add("stored" if entry.size == header.size else "shown")
    return told


def _owners(entries: Iterable[Entry], photographs: Photographs) -> dict[Path, str]:
    """Return the name of the outline that each photograph belongs to; "" if two match equally.

    Of several, it is the outline that matches the most parts of its path, counted from the end.
    """
    owners = {}
    for path, names in photographs.found(entry.photograph for entry in entries).items():
        common = {name: photographs.parts_in_common(path, name) for name in names}
        most = max(common.values())
        best = [name for name in names if common[name] == most]
        owners[path] = best[0] if len(best) == 1 else ""
    return owners


def _stored(
    entry: Entry, frame: Frame, photographs: Photographs, owners: dict[Path, str]
) -> Annotation:
    """Load an outline, turn it into the stored frame, and add what its photograph tells."""
    annotation = entry.load()
    path = photographs.find(annotation.photograph)
    if path and owners.get(path, entry.photograph) != entry.photograph:
        raise UnsaidError.about(
            "--photographs",
            f"{annotation.photograph}: {path} matches the name of another outline as well or "
            "better; give --photographs the folder in which each outline has its photograph",
        )
    header = None if path is None else read_header(path)
    orientation = annotation.orientation if header is None else header.orientation
    mask = annotation.mask if frame == "stored" else _filed(annotation.mask, orientation)
    if path is None or header is None:
        return replace(annotation, mask=mask, drawn=None)
    if header.size != mask.shape:
        (height, width), (rows, columns) = mask.shape, header.size
        problem = f"{path}: {rows} x {columns}, but its outline is of {height} x {width}"
        if exchanges_sides(orientation) and header.size == mask.shape[::-1]:
            other = "shown" if frame == "stored" else "stored"
            problem += (
                f"; it was drawn along the pixels as {other}: `dermseg convert` turns nothing "
                "without --photographs"
            )
        raise ImageError(problem)
    name = with_ending(Path(annotation.photograph), suffix_of(path)).as_posix()
    return replace(annotation, photograph=name, mask=mask, orientation=orientation, drawn=None)


def _filed(mask: Mask, orientation: int) -> Mask:
    return as_filed(mask.view("uint8"), orientation).view("bool")


def convert(
    reading: Reading,
    target: Path,
    to: Form,
    settings: OutlineSettings,
    *,
    over: bool = False,
) -> Conversion:
    """Write the outlines of a source in another form.

    Parameters
    ----------
    reading
        The source.
    target
        The file or folder to write, as the form wants; it must not be there yet, but for an empty
        folder.
    to
        The form to write.
    settings
        The label, whether run lengths stand in place of polygons, and what may be lost.
    over
        Write over a target that is there.

    Returns
    -------
    Conversion
        How many outlines were written, which failed, and the pixels lost.

    Raises
    ------
    UsageError
        The source is not there or its form not known, or the target is in the way.
    DataError
        The source is damaged.
    OutputError
        The target cannot be written.
    """
    if not over:
        _check_target(target, to)
    entries = read_all(reading)
    done = Conversion(unlabelled=[entry.photograph for entry in entries if entry.unlabelled])
    FORMS[to].write(_prepared(entries, to, settings, done), target, settings)
    return done


def write_alone(annotation: Annotation, target: Path, to: Form) -> None:
    """Write the outline of one stored photograph in a form of one file."""
    shown = FORMS[to].FRAME == "shown"
    FORMS[to].write([annotation.shown() if shown else annotation], target, OutlineSettings())


def write_beside(masks_folder: Path, to: Form) -> tuple[Path, Conversion]:
    """Write the masks that `dermseg segment` left in a folder in another form, into that folder.

    Returns the file or folder, `<form>` with the form's suffix, and what became of the masks. It
    is written over if it is as an earlier run made it; otherwise UsageError is raised. Raises
    OutputError if it cannot be written.
    """
    with written_beside(masks_folder, name_beside(to)) as target:
        reading = Reading(masks_folder, "masks")
        return target, convert(reading, target, to, OutlineSettings(), over=True)


def name_beside(to: Written) -> str:
    """Return the name of the file or folder that a form has in a folder of masks."""
    return f"{to}{FORMS[to].FILE}" if to in FORMS else to


def _prepared(
    entries: list[Entry], to: Form, settings: OutlineSettings, done: Conversion
) -> Iterator[Annotation]:
    """Yield the outlines that can be read, in the frame and the detail to write them in."""

    def prepare(entry: Entry) -> tuple[Annotation, int] | DermsegError:
        try:
            annotation = entry.load()
        except DermsegError as error:
            return error
        if FORMS[to].FRAME == "shown":
            annotation = annotation.shown()
        annotation, lost = annotation.reduced(settings)
        in_pixels = to == "masks" or settings.rle
        return annotation if in_pixels else annotation.traced(), lost

    for result in track(parallel_map(prepare, entries, ahead=AHEAD), "Converting", len(entries)):
        if isinstance(result, DermsegError):
            done.failures.append(str(result))
            if isinstance(result, UnsaidError):
                done.unsaid.add(result.option)
            continue
        annotation, lost = result
        done.written += 1
        if lost:
            done.lost[annotation.photograph] = lost
        yield annotation


def frame_told(reading: Reading, to: Form) -> str:
    """Return a sentence about the EXIF frame, where it matters and is not known; else nothing."""
    frames = {FORMS[form].FRAME for form in (reading.form, to) if form}
    if reading.photographs.folder is not None or frames == {"stored"}:
        return ""
    if reading.form == "masks" and masks.read_orientations(reading.source):
        return ""
    return (
        "assuming that no photograph is turned by EXIF; --photographs names their folder, where "
        "EXIF is read"
    )


def _check_target(target: Path, to: Form) -> None:
    """Raise UsageError for a target of another kind, or one that would be written over."""
    suffix = FORMS[to].FILE
    if suffix and target.suffix.lower() != suffix:
        raise UsageError(f"{target}: {to} is one file; give a name that ends in {suffix}")
    is_empty = not suffix and target.is_dir() and next(target.iterdir(), None) is None
    if target.exists() and not is_empty:
        raise UsageError(f"{target}: is there already; choose another name, or move it away first")
