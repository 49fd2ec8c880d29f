#!/usr/bin/env python
"""Weigh the libraries that dermseg installs: megabytes, and milliseconds to import.

    scripts/weigh_libraries.py results/benchmarks/libraries-MACHINE.json

Milliseconds are of processor time, the median of five processes that import nothing else; `python`
is one that imports nothing at all. Megabytes are a package's own, without what it brings.
"""

import subprocess
import sys
from importlib.metadata import files
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

from dermseg.machine import describe_machine
from dermseg.storage.files import write_json

MODULES = {
    "numpy": "numpy",
    "pillow": "PIL.Image",
    "opencv-python-headless": "cv2",
    "onnxruntime": "onnxruntime",
    "cyclopts": "cyclopts",
    "rich": "rich.progress",
    "torch": "torch",
    "safetensors": "safetensors",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "optuna": "optuna",
    "filelock": "filelock",
    "matplotlib": "matplotlib.figure",
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "prometheus-client": "prometheus_client",
}
"""Package to what of it is imported; the base install's first."""
PROCESSES = 5


def main(output: Path) -> None:
    """Weigh all, and write the file."""
    machine = describe_machine()
    libraries = {
        package: {"megabytes": evidence_of(package), "milliseconds": time_import(module)}
        for package, module in MODULES.items()
    }
    result = {
        "machine": f"{machine['processor']['name']}, {machine['cores']} cores",
        "python": time_import("sys"),
        "libraries": libraries,
    }
    write_json(output, result)


def evidence_of(package: str) -> float:
    """Return the megabytes of a package's installed files."""
    found = [Path(str(file.locate())) for file in files(package) or []]
    return sum(path.stat().st_size for path in found if path.is_file()) / 1e6


def time_import(module: str) -> float:
    """Return the processor milliseconds of a process that imports a module."""
    seconds = []
    for _ in range(PROCESSES):
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        after = getrusage(RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return 1000 * median(seconds)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
