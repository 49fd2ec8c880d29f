#!/usr/bin/env python
"""Convert the official masks into every form and back: what is lost, and what it takes.

    scripts/measure_round_trips.py DATA [--many 10000] [--masks 150] [--resume]

DATA holds the official archives. The 150 validation masks go through each form and back, each way
in a process of its own, and are compared to the pixel: results/formats/round-trips.csv, with the
size of what was written and the peak of memory. With --many that number of copies goes through,
too, and is timed. Seconds are the processor's, of all threads: other work on the machine counts
little. With --resume the rows stay that the table has, and only what is missing is measured.
"""

import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cyclopts import run
from PIL import Image

from dermseg.benchmark.segmenting import CHILD
from dermseg.formats.conversion import FORMS
from dermseg.imaging.mask_files import MASK_FOREGROUND, MASK_SUFFIX, mask_stem, read_mask
from dermseg.imaging.photographs import image_size
from dermseg.machine import describe_machine
from dermseg.settings import Form
from dermseg.storage.files import files_below
from dermseg.storage.tables import read_table, write_table

TABLE = Path(__file__).parent.parent / "results" / "formats" / "round-trips.csv"
WAYS: tuple[tuple[Form, str], ...] = (
    ("coco", ""),
    ("coco", "--rle"),
    ("yolo", ""),
    ("geojson", ""),
    ("label-studio", ""),
    ("label-studio", "--rle"),
    ("cvat", ""),
    ("cvat", "--rle"),
    ("labelme", ""),
    ("labelme", "--rle"),
)
COLUMNS = (
    "form",
    "masks",
    "exact",
    "pixels_lost",
    "megabytes",
    "write_seconds",
    "read_seconds",
    "write_memory",
    "read_memory",
    "processor",
)
"""Memory is the peak of the process, in megabytes; what was not measured is empty."""
Row = dict[str, object]


def main(
    data: Path,
    /,
    *,
    many: int = 0,
    masks: int = 150,
    table: Path = TABLE,
    resume: bool = False,
) -> None:
    """Convert there and back, and write the table."""
    truth = sorted((data / "ISIC-2017_Validation_Part1_GroundTruth").glob("*.png"))[:masks]
    rows: list[Row] = [{**row} for row in read_table(table)] if resume else []
    for timed, count in [(False, len(truth)), *([(True, many)] if many else [])]:
        done = {row["form"] for row in rows if bool(row["write_seconds"]) == timed}
        ways = [way for way in WAYS if called(*way) not in done]
        for row in measure(truth, count, ways, timed=timed):
            rows.append(row)
            print(row, flush=True)
            write_table(table, COLUMNS, rows)


def measure(
    masks: Sequence[Path],
    count: int,
    ways: Sequence[tuple[Form, str]] = WAYS,
    *,
    timed: bool = False,
) -> Iterator[Row]:
    """Yield a row for each way of `count` masks: either timed, or compared."""
    with TemporaryDirectory() as place:
        source, photographs = lay_out(masks, count, Path(place))
        for form, option in ways:
            with TemporaryDirectory(dir=place) as folder:
                back = Path(folder) / "back"
                row = there_and_back(form, option, source, photographs, back)
                if timed:
                    row |= {"exact": "", "pixels_lost": ""}
                else:
                    lost = [differences(path, back) for path in sorted(source.iterdir())]
                    row |= {"exact": lost.count(0), "pixels_lost": sum(lost)}
                    row |= {"write_seconds": "", "read_seconds": ""}
            yield row


def lay_out(masks: Sequence[Path], count: int, place: Path) -> tuple[Path, Path]:
    """Fill a folder with links to `masks`, and one with blank photographs of their sizes."""
    source, photographs = place / "masks", place / "photographs"
    for folder in (source, photographs):
        folder.mkdir()
    for number, mask in enumerate(islice(cycle(masks), count)):
        name = f"{mask_stem(mask)}-{number:05}"
        (source / f"{name}{MASK_SUFFIX}").symlink_to(mask.resolve())
        blank = photographs / f"{name}.png"
        if number < len(masks):
            Image.new("1", image_size(mask)[::-1]).save(blank)
        else:
            first = f"{mask_stem(mask)}-{number % len(masks):05}.png"
            blank.symlink_to(photographs / first)
    return source, photographs


def there_and_back(form: Form, option: str, source: Path, photographs: Path, back: Path) -> Row:
    """Convert masks into a form, beside `back`, and from there to masks again."""
    target = back.with_name(f"there{FORMS[form].FILE}")
    options = [option] if option else []
    write = convert(source, "-o", target, "--from", "masks", "--to", form, *options)
    sizes = ["--photographs", photographs] if form == "yolo" else []  # it does not say sizes
    read = convert(target, "-o", back, "--from", form, "--to", "masks", *sizes)
    files = list(files_below(target)) if target.is_dir() else [target]
    return {
        "form": called(form, option),
        "masks": len(list(source.iterdir())),
        "megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 2),
        "write_seconds": round(write[0], 1),
        "read_seconds": round(read[0], 1),
        "write_memory": round(write[1]),
        "read_memory": round(read[1]),
        "processor": describe_machine()["processor"]["name"],
    }


def called(form: Form, option: str) -> str:
    """Return what a way is called in the table."""
    return f"{form} {option}".strip()


def convert(*arguments: object) -> tuple[float, float]:
    """Run `dermseg convert` in a process; return its processor's seconds and peak of memory."""
    before = processor_seconds()
    command = [sys.executable, "-c", CHILD, "convert", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return processor_seconds() - before, float(done.stdout)


def processor_seconds() -> float:
    """Return what the processes started so far, and ended, took of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def differences(mask: Path, back: Path) -> int:
    """Return the number of pixels in which a mask came back otherwise."""
    expected, found = (read_mask(path) > MASK_FOREGROUND for path in (mask, back / mask.name))
    return int(np.count_nonzero(expected != found))


if __name__ == "__main__":
    run(main)
