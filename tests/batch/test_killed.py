"""kill -9 at random moments: nothing half written, and the end is that of an undisturbed run.

DERMSEG_KILLS sets how many runs are killed, 4 unless given.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hostile import encoded, picture, write_all
from PIL import Image

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("DERMSEG_KILLS", "4"))
TOY = """
import sys
sys.path.append({tests!r})
import dermseg
from toy import Tiny
dermseg.register_network("tiny", Tiny)
"""
"""A plugin with a small network, which trains in seconds."""
SIZE = ["--height", "32", "--width", "48", "--batch-size", "4"]
TRAINING = [
    *SIZE,
    "--epochs",
    "8",
    "--fold",
    "0",
    "--ema-epochs",
    "1",
    "--schedule",
    "one-cycle",
]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dermseg", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(*arguments: str) -> float:
    """Run to the end and return the seconds that it took."""
    began = time.perf_counter()
    assert start(*arguments).wait() == 0
    return time.perf_counter() - began


def kill_after(seconds: float, *arguments: str) -> None:
    process = start(*arguments)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def contents(folder: Path, *leave_out: str) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.name not in leave_out
    }


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_segment_leaves_whole_files_and_ends_as_if_undisturbed(tmp_path: Path) -> None:
    photographs = {
        f"{number}.jpg": encoded(picture(600 + 8 * number, 800), "JPEG") for number in range(12)
    }
    write_all(photographs, tmp_path / "in")
    options = ["--overlay", str(tmp_path / "pictures")]
    last = run("segment", str(tmp_path / "in"), "-o", str(tmp_path / "calm"), *options)
    calm = contents(tmp_path / "calm", "timings.csv", "journal.jsonl")
    pictures = contents(tmp_path / "pictures")
    chance = random.Random(0)
    for number in range(KILLS):
        output = tmp_path / f"killed-{number // 4}"  # each is killed up to four times
        arguments = ["segment", str(tmp_path / "in"), "-o", str(output)]
        kill_after(chance.uniform(0.2, last), *arguments, "--overlay", f"{output}-pictures")
        for path in output.glob("*.png"):
            if not path.name.startswith("."):
                assert path.read_bytes() == calm[path.name]
        if number % 4 == 3 or number == KILLS - 1:
            run(*arguments, "--overlay", f"{output}-pictures")
            assert contents(output, "timings.csv", "journal.jsonl") == calm
            assert contents(Path(f"{output}-pictures")) == pictures


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_training_ends_with_the_same_numbers(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    options = [*TRAINING, *tiny(tmp_path)]
    last = run("train", data, "-o", str(tmp_path / "calm"), *options)
    calm = contents(tmp_path / "calm")
    moment = random.Random(1)
    for number in range(max(1, KILLS // 5)):
        output = str(tmp_path / f"killed-{number}")
        for _ in range(2):
            kill_after(moment.uniform(0.3 * last, last), "train", data, "-o", output, *options)
        run("train", data, "-o", output, *options)
        killed = contents(Path(output))
        assert killed.keys() == calm.keys()
        for name in ("folds.json", "settings.json", "held-out.npz", "samples.npy"):
            assert killed[name] == calm[name]
        assert weights(Path(output)) == weights(tmp_path / "calm")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_protocol_ends_with_the_same_members(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    options = [*SIZE, "--epochs", "3", "--protocol", "short", "--folds", "3", *tiny(tmp_path)]
    last = run("train", data, "-o", str(tmp_path / "calm"), *options)
    moment = random.Random(2)
    for _ in range(3):
        seconds = moment.uniform(0.2 * last, 0.6 * last)
        kill_after(seconds, "train", data, "-o", str(tmp_path / "killed"), *options)
    run("train", data, "-o", str(tmp_path / "killed"), *options)
    calm, killed = (contents(tmp_path / name) for name in ("calm", "killed"))
    assert killed.keys() == calm.keys()
    folds = [f"fold-{fold}" for fold in range(3)]
    for name in ("out-of-fold.csv", "out-of-fold.json", *(f"{f}/held-out.npz" for f in folds)):
        assert killed[name] == calm[name]
    for member in (*folds, "all"):
        assert weights(tmp_path / "killed" / member) == weights(tmp_path / "calm" / member)


def tiny(folder: Path) -> list[str]:
    """Return the options that train the small network."""
    plugin = folder / "toy_plugin.py"
    plugin.write_text(TOY.format(tests=str(Path(__file__).parent.parent)))
    return ["--network", "tiny", "--plugin", str(plugin)]


def write_data(folder: Path) -> str:
    """Write a small data set, and return its name."""
    chance = np.random.default_rng(0)
    for number in range(15):
        noise = chance.integers(-20, 20, (48, 64, 3))
        image = np.asarray(picture(48, 64)).astype(int)
        image = np.roll(image, chance.integers(-8, 8, 2), (0, 1))
        mask = (image[..., 0] < 200).astype(np.uint8) * 255
        photograph = Image.fromarray((image + noise).clip(0, 255).astype(np.uint8))
        write_all({f"{number}.png": encoded(photograph, "PNG")}, folder / "images")
        write_all({f"{number}.png": encoded(Image.fromarray(mask), "PNG")}, folder / "masks")
    return str(folder)


def weights(folder: Path) -> dict[str, bytes]:
    """Return each tensor's bytes; the card beside them tells how long the training took."""
    from safetensors.numpy import load_file

    tensors = load_file(folder / "weights.safetensors")
    return {name: tensor.tobytes() for name, tensor in tensors.items()}
