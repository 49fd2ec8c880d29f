"""What a reader accepted, as an archive in any form of `dermseg convert`."""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile, ZipInfo

from dermseg.formats.annotation import Photographs
from dermseg.formats.conversion import FORMS, Reading, convert
from dermseg.progress import printable
from dermseg.settings import Form, OutlineSettings
from dermseg.storage.decisions import Reader
from dermseg.storage.files import files_below

FAILED = "failed.txt"
"""The archive's list of masks that could not be written, where there are any."""


def archive(reader: Reader, form: Form) -> bytes:
    """Return a ZIP of the masks that a reader accepted or corrected; the same for the same masks.

    Bytes of a name that are no UTF-8 stand in it as numbers.

    Raises DataError where there is none.
    """
    reading = Reading(reader.masks, "masks", None, Photographs(), reader)
    packed = BytesIO()
    with TemporaryDirectory(prefix="dermseg-") as made:
        folder = Path(made)
        suffix = FORMS[form].FILE
        done = convert(reading, folder / f"accepted{suffix}", form, OutlineSettings())
        root = folder if suffix else folder / "accepted"
        with ZipFile(packed, "w") as file:
            for path in sorted(files_below(folder)):
                name = printable(path.relative_to(root).as_posix()).replace("\\", "_")
                file.writestr(ZipInfo(name), path.read_bytes())
            if done.failures:
                file.writestr(ZipInfo(FAILED), printable("\n".join([*done.failures, ""])))
    return packed.getvalue()
