"""A model's probabilities on this processor, and on an emulated one that has no VNNI.

Without VNNI the runtime's quick 8-bit sums can overflow (onnxruntime issue 5849), which is why
a session asks such processors for exact ones. Both kinds run here on QEMU's Haswell
(AVX2; Debian's package qemu-user), some three seconds a photograph.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dermseg.imaging.photographs import PHOTOGRAPH_SUFFIXES, read_photograph
from dermseg.inference import session
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.postprocess import Probability

EMULATOR = "qemu-x86_64"
PROCESSOR = "Haswell-noTSX"
SUMS = {"exact": True, "quick": False}


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
    session.asks_for_exact_sums = lambda: SUMS[sums]
    np.save(file, probabilities(model, folder))


if __name__ == "__main__":
    run_emulated(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
