#!/usr/bin/env python
"""Compare a shipped model on this processor with an emulated one that has no VNNI.

    scripts/emulate_processor.py lite0 PHOTOGRAPHS results/emulation/lite0.csv

Without VNNI the runtime's quick 8-bit sums can overflow (onnxruntime issue 5849), which is why
the segmenter asks such processors for exact ones. Both kinds run here on QEMU's Haswell
(AVX2; Debian's package qemu-user), some three seconds a photograph. The table has a row for each:
how the network's probabilities and their cuts at one half differ from what this processor, which
needs VNNI, says.
"""

import platform
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dermseg.imaging.photographs import PHOTOGRAPH_SUFFIXES, read_photograph
from dermseg.inference import segmenter
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.metrics import score
from dermseg.masks.postprocess import Probability
from dermseg.storage.tables import write_table

EMULATOR = "qemu-x86_64"
PROCESSOR = "Haswell-noTSX"
SUMS = {"exact": True, "quick": False}


def main(model: str, folder: Path, output: Path) -> None:
    """Write the comparison."""
    if segmenter.asks_for_exact_sums():
        sys.exit("this processor has no VNNI: there is nothing to compare the emulated one with")
    here = probabilities(model, folder)
    rows = []
    for sums in SUMS:
        there = emulated(model, folder, sums)
        difference = np.abs(there - here)
        overlaps = [score(*pair).jaccard for pair in zip(here >= 0.5, there >= 0.5, strict=True)]
        rows.append(
            {
                "model": model,
                "processor": f"{PROCESSOR} on {EMULATOR}",
                "sums": sums,
                "photographs": len(here),
                "largest_difference": round(float(difference.max()), 6),
                "mean_difference": round(float(difference.mean()), 6),
                "mean_overlap": round(float(np.mean(overlaps)), 5),
                "least_overlap": round(float(np.min(overlaps)), 5),
            }
        )
    write_table(output, list(rows[0]), rows)


def probabilities(model: str, folder: Path) -> Probability:
    """Return what the network says of each photograph in `folder`, float32 (n, h, w)."""
    photographs = sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTOGRAPH_SUFFIXES)
    network = Segmenter(model)
    return np.stack([network.probability(read_photograph(p).pixels) for p in photographs])


def emulated(model: str, folder: Path, sums: str) -> Probability:
    """Return the same, computed by the emulated processor with the kind of `sums`."""
    with TemporaryDirectory() as temporary:
        file = Path(temporary) / "probabilities.npy"
        arguments = [sys.executable, __file__, model, str(folder), str(file), sums]
        subprocess.run([EMULATOR, "-cpu", PROCESSOR, *arguments], check=True)
        maps: Probability = np.load(file)
    return maps


def run_emulated(model: str, folder: Path, file: Path, sums: str) -> None:
    """Be the emulated process: write the probabilities to `file`."""
    # The emulator shows the real processor's list of features.
    segmenter.asks_for_exact_sums = lambda: SUMS[sums]
    np.save(file, probabilities(model, folder))


if __name__ == "__main__":
    if platform.machine().lower() not in segmenter.X86:
        sys.exit("only x86 processors sum in two ways")
    model, folder, output, *sums = sys.argv[1:]
    if sums:
        run_emulated(model, Path(folder), Path(output), sums[0])
    else:
        main(model, Path(folder), Path(output))
