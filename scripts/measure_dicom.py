#!/usr/bin/env python
"""Time a JPEG in a DICOM file against the bare JPEG, from its bytes to its mask.

    scripts/measure_dicom.py PHOTOGRAPHS [--rounds 20]

PHOTOGRAPHS is a folder of JPEGs. Each is put into a DICOM file as it is; then both are segmented
in turn, in one warm process: results/benchmarks/dicom.csv, with the medians. What importing pydicom
takes is printed apart. Run it on a machine that does nothing else.
"""

import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from statistics import median

import numpy as np
from cyclopts import run
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, generate_uid

from dermseg.imaging.png import encode_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.storage.tables import write_table

TABLE = Path(__file__).parent.parent / "results" / "benchmarks" / "dicom.csv"
COLUMNS = ("photograph", "height", "width", "jpeg_ms", "dicom_ms", "ratio")
DERMOSCOPIC = UID("1.2.840.10008.5.1.4.1.1.77.1.7")
IMPORT = """
import time
from dermseg.inference.segmenter import Segmenter
began = time.perf_counter()
import dermseg.imaging.readers.dicom
print(1000 * (time.perf_counter() - began))
"""


def main(photographs: Path, /, *, rounds: int = 20, table: Path = TABLE) -> None:
    """Time every photograph in both forms, and write the table."""
    segmenter = Segmenter()
    rows = []
    for path in sorted(photographs.glob("*.jpg")):
        jpeg = path.read_bytes()
        with Image.open(path) as image:
            width, height = image.size
        forms = {"jpeg": jpeg, "dicom": wrapped(jpeg, height, width)}
        laps: dict[str, list[float]] = {name: [] for name in forms}
        for turn in range(rounds + 1):
            for name, content in forms.items():
                began = time.perf_counter()
                encode_mask(segmenter.segment(content).mask)
                if turn:  # the first warms up
                    laps[name].append(1000 * (time.perf_counter() - began))
        both = [median(laps[name]) for name in forms]
        row = (path.name, height, width, round(both[0], 2), round(both[1], 2))
        rows.append(dict(zip(COLUMNS, (*row, round(both[1] / both[0], 3)), strict=True)))
        print(*rows[-1].values(), flush=True)
    write_table(table, COLUMNS, rows)
    ratios = np.array([row["ratio"] for row in rows], float)
    print(f"DICOM over JPEG: median {np.median(ratios):.3f}, largest {ratios.max():.3f}")
    command = [sys.executable, "-c", IMPORT]
    starts = [float(subprocess.check_output(command, text=True)) for _ in range(5)]
    print(f"importing the reader, once in a process: {median(starts):.0f} ms")


def wrapped(jpeg: bytes, height: int, width: int) -> bytes:
    """Return a JPEG in the DICOM file of a dermoscopic photograph."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = DERMOSCOPIC, generate_uid()
    data.SamplesPerPixel, data.PhotometricInterpretation = 3, "YBR_FULL_422"
    data.PlanarConfiguration = data.PixelRepresentation = 0
    data.Rows, data.Columns = height, width
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelData = encapsulate([jpeg])
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    buffer = BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


if __name__ == "__main__":
    run(main)
