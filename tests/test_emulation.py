"""A processor without VNNI, emulated: its 8-bit sums could overflow, and masks must not differ."""

import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
from emulated_processor import EMULATOR, emulated, probabilities

from dermseg.inference.session import X86, asks_for_exact_sums
from dermseg.settings import DEFAULT_MODEL

Examples = list[tuple[Path, Path]]


@pytest.mark.skipif(
    platform.machine().lower() not in X86 or shutil.which(EMULATOR) is None,
    reason="needs an x86 processor and qemu-user",
)
@pytest.mark.skipif(asks_for_exact_sums(), reason="this very processor has no VNNI")
@pytest.mark.slow
def test_a_processor_without_vnni_computes_the_same(examples: Examples, tmp_path: Path) -> None:
    shutil.copy(examples[0][0], tmp_path)
    here = probabilities(DEFAULT_MODEL, tmp_path)
    exact, quick = (emulated(DEFAULT_MODEL, tmp_path, sums) for sums in ("exact", "quick"))
    np.testing.assert_allclose(exact, here, atol=1e-6)
    # What the exact sums are for; where this fails, they are no longer needed.
    assert np.abs(quick - here).max() > 0.01
