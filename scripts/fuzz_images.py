#!/usr/bin/env python
"""Send damaged images through `dermseg segment` and count what becomes of them.

    scripts/fuzz_images.py 10000

Prints how many were segmented, how many failed with a clear line, and what was not understood,
which should be nothing; with the time of the slowest and the peak memory.
"""

import resource
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from hostile import encoded, mutated, picture, write_all
from PIL import features

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.inference.segmenter import Segmenter
from dermseg.storage.tables import read_table

AT_ONCE = 500


def main(count: int) -> int:
    """Fuzz, print the counts, and return 1 if anything was not understood."""
    warnings.simplefilter("ignore")  # what Pillow thinks of damaged metadata
    forms = ["JPEG", "PNG", "TIFF", "WEBP", "BMP", *(["AVIF"] if features.check("avif") else [])]
    originals = [(form.lower(), encoded(picture(), form)) for form in forms]
    segmenter = Segmenter()
    segmented = failed = 0
    slowest = 0.0
    strange: list[str] = []
    for start in range(0, count, AT_ONCE):
        with TemporaryDirectory() as name:
            folder = Path(name)
            for seed in range(start, min(start + AT_ONCE, count)):
                suffix, data = mutated(seed, originals)
                write_all({f"{seed}.{suffix}": data}, folder / "in")
            for result in segment_all(find_jobs([folder / "in"]), segmenter, folder / "out"):
                segmented += not result.error
                failed += bool(result.error and not result.bug)
                if result.bug:
                    strange.append(result.error)
            rows = read_table(folder / "out" / "timings.csv")
            slowest = max(slowest, *(float(row["milliseconds"]) for row in rows))
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} damaged images: {segmented} segmented, {failed} refused by name")
    print(f"not understood: {len(strange)}; slowest {slowest:.0f} ms; peak {megabytes:.0f} MB")
    print("\n".join(strange))
    return 1 if strange else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
