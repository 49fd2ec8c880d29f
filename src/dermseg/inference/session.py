"""ONNX Runtime with the options that make a model compute the same wherever it is used."""

import platform
from pathlib import Path

import onnxruntime

from dermseg.cores import processor_features
from dermseg.errors import ModelError, UsageError

X86 = {"x86_64", "amd64"}
EXACT = {"avx512_vnni", "avx_vnni"}
"""Features of x86 processors whose 8-bit sums cannot overflow (onnxruntime issue 5849); others are
asked for slower ones."""
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Device to what ONNX Runtime calls it."""


def usable_devices() -> list[str]:
    """Return the devices that the installed ONNX Runtime can use."""
    available = onnxruntime.get_available_providers()
    return [device for device, provider in PROVIDERS.items() if provider in available]


def asks_for_exact_sums() -> bool:
    """Say whether 8-bit sums could overflow on this processor: an Intel or AMD one without VNNI."""
    return platform.machine().lower() in X86 and not processor_features() & EXACT


def open_session(path: Path, device: str) -> onnxruntime.InferenceSession:
    """Open a model file with the options that make all uses compute the same.

    Raises ModelError if it cannot be loaded, UsageError if the device is not available.
    """
    return session_of(read_file(path), path, device)


def read_file(path: Path) -> bytes:
    """Return a model file's content; onnxruntime itself opens no name that is not UTF-8."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def session_of(content: bytes, path: Path, device: str) -> onnxruntime.InferenceSession:
    """Open a model file's content; raises as `open_session` does."""
    if device not in PROVIDERS:
        raise UsageError(f"unknown device {device!r}; choose {' or '.join(PROVIDERS)}")
    absent = UsageError(
        f"--device {device}: the installed onnxruntime cannot use it "
        "(for an NVIDIA GPU, install onnxruntime-gpu in place of onnxruntime)"
    )
    if device not in usable_devices():
        raise absent
    options = onnxruntime.SessionOptions()
    # A core takes a photograph (docs/decisions/one-core-one-photograph.md), and with three threads
    # or more a float32 model's last bits depend on how many there are.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if asks_for_exact_sums():
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[PROVIDERS[device]])
    except Exception as error:  # onnxruntime's errors have no common base but this
        if type(error).__module__.startswith("onnxruntime"):
            raise ModelError(f"{path}: not a model that onnxruntime can load ({error})") from error
        raise
    if PROVIDERS[device] not in session.get_providers():
        raise absent  # it is listed, but did not start
    return session
