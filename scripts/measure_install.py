#!/usr/bin/env python
"""Install each extra into a virtual environment of its own, and write size and seconds.

    scripts/measure_install.py [EXTRA ...] [--constraint FILE]

Without names, the base and every extra that users take. Writes results/install.csv: the megabytes
and the packages that an environment gains, the seconds that pip took, and those of the first
command. A constraint such as `torch==2.13.0` says which PyTorch is meant. Run scripts/tables.py
then.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from dermseg.storage.tables import read_table, write_table

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "results" / "install.csv"
COLUMNS = ("extra", "megabytes", "packages", "install_seconds", "first_mask_seconds")
BASE = "base"
EXTRAS = (BASE, "heic", "dicom", "web", "cloud", "cluster", "train", "tune", "experiments")
PHOTOGRAPH = ROOT / "examples" / "photographs" / "ISIC_0003582.jpg"


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink())


def measure(extra: str, constraint: Path | None) -> dict[str, object]:
    """Return the row of an extra."""
    with TemporaryDirectory() as name:
        environment = Path(name) / "environment"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        empty = size(environment)
        binaries = environment / ("Scripts" if os.name == "nt" else "bin")
        wanted = str(ROOT) if extra == BASE else f"{ROOT}[{extra}]"
        bounds = ["--constraint", str(constraint)] if constraint else []
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        began = time.perf_counter()
        pip = [str(binaries / "python"), "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", *bounds, wanted], check=True, env=clean)
        installed = time.perf_counter()
        command = [str(binaries / "dermseg"), "segment", "--quiet", str(PHOTOGRAPH)]
        subprocess.run([*command, "-o", str(Path(name) / "masks")], check=True, env=clean)
        done = time.perf_counter()
        listed = subprocess.run(
            [*pip, "list", "--format", "freeze"], check=True, env=clean, capture_output=True
        ).stdout.splitlines()
        gained = size(environment) - empty
    return {
        "extra": extra,
        "megabytes": round(gained / 1e6),
        "packages": len(listed) - 2,  # pip and setuptools were there
        "install_seconds": round(installed - began),
        "first_mask_seconds": round(done - installed, 1),
    }


def main() -> None:
    """Measure, and write the table; rows of other extras stay."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("extras", nargs="*", metavar="EXTRA", choices=[*EXTRAS, []])
    parser.add_argument("--constraint", type=Path, help="a file of pip's constraints")
    given = parser.parse_args()
    rows = {row["extra"]: dict(row) for row in read_table(TABLE)} if TABLE.exists() else {}
    for extra in given.extras or EXTRAS:
        rows[extra] = {key: str(value) for key, value in measure(extra, given.constraint).items()}
        print(rows[extra], flush=True)
    write_table(TABLE, COLUMNS, [rows[extra] for extra in EXTRAS if extra in rows])


if __name__ == "__main__":
    main()
