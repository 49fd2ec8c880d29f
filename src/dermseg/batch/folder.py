"""Folders of photographs from Python, as `dermseg segment` does them."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import BatchSettings, PictureSettings
from dermseg.storage.journal import Row
from dermseg.storage.stores import is_address

PathLikes: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


def segment_folder(
    photographs: PathLikes,
    output: str | PathLike[str],
    *,
    segmenter: Segmenter | None = None,
    overlay: str | PathLike[str] | None = None,
) -> list[Row]:
    """Segment many photographs, as `dermseg segment` does, and continue an earlier run.

    All cores work, each on a photograph of its own. A photograph that fails costs its own row and
    nothing else. Masks of an earlier run stay if photograph, model and settings are the same, and
    those that someone has changed are not written over.

    Parameters
    ----------
    photographs
        A file or a folder with its subfolders, or several of them. Text may be the address of a
        store, such as "s3://bucket/folder", with the extra `cloud`; so may that of `output`.
    output
        Folder for the masks, `<name>_segmentation.png`, and for `report.csv`.
    segmenter
        The model and its settings; the default model unless given.
    overlay
        Folder for pictures with the lesion's outline.

    Returns
    -------
    list of dict
        A row for each photograph, with the columns of `report.csv`: where the lesion is, its
        measures, how sure it is, and in "error" why there is none; "" stands for what is not known.

    Raises
    ------
    UsageError
        If there are no photographs, another process works in `output`, or a file that no run has
        made is in the way.
    OutputError
        If journal or report cannot be written.
    StoreError
        If a store does not answer.

    Examples
    --------
    >>> rows = dermseg.segment_folder("examples/photographs", folder / "masks")
    >>> [(row["photograph"], row["area"], row["error"]) for row in rows][0]
    ('ISIC_0003582.jpg', 64934, '')
    """
    given = [photographs] if isinstance(photographs, str | PathLike) else photographs
    target, drawn = _place(output), None if overlay is None else _place(overlay)
    jobs = find_jobs([_place(path) for path in given], without=(target, drawn))
    settings = BatchSettings(pictures=PictureSettings(overlay=drawn))
    results = segment_all(jobs, segmenter or Segmenter(), target, settings)
    return [result.row for result in results]


def _place(where: str | PathLike[str]) -> str | Path:
    return where if is_address(where) else Path(where)
