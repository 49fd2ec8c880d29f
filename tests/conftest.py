"""What the tests share: photographs, hand-made probability maps, and a model that is not one."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cards import with_card
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from dermseg.cores import keep_memory
from dermseg.inference import segmenter as inference
from dermseg.inference.confidence import Calibration
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.style import STYLE_IDS
from dermseg.modelfile.card import StyleFacts
from dermseg.settings import ThresholdSettings
from dermseg.weights import MODELS, find_model

pytest_plugins = ["toy", "object_store"]

settings.register_profile("without a deadline", deadline=None)  # a busy machine is no fault
settings.load_profile("without a deadline")

EXAMPLES = Path(__file__).parent.parent / "examples"
Map = NDArray[np.float32]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small pictures are slower on several threads."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(autouse=True, scope="session")
def _kept_memory() -> None:
    """Keep freed memory, as the program does: else each large array is cleared first."""
    keep_memory()


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the tests measure out of the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_session_a_model() -> Iterator[None]:
    """Open each shipped model once: hundreds of segmenters ask for it, and it keeps no state."""
    plain = inference.session_of
    shipped = {find_model(name) for name in MODELS}
    opened: dict[tuple[Path, bool], Any] = {}

    def session_of(content: bytes, path: Path, device: str) -> Any:
        if device != "cpu" or path not in shipped:
            return plain(content, path, device)
        key = path, inference.asks_for_exact_sums()
        if key not in opened:
            opened[key] = plain(content, path, device)
        return opened[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "session_of", session_of)
        yield


@pytest.fixture(scope="session")
def examples() -> list[tuple[Path, Path]]:
    """Return the example photographs, each with its mask."""
    photographs = sorted((EXAMPLES / "photographs").glob("*.jpg"))
    assert photographs
    return [(p, EXAMPLES / "masks" / f"{p.stem}_segmentation.png") for p in photographs]


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    """Return the default model."""
    return Segmenter()


@pytest.fixture(scope="session")
def uncalibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a model that does not say how sure it is."""
    return with_card(tmp_path_factory.mktemp("plain") / "plain.onnx", {"styles": {}})


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a model that says how sure it is: by the share of sure pixels alone."""
    calibration = Calibration(
        weights=(0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
        scores=(0.0, 1.0),
        jaccard=(0.2, 0.9),
        low=(0.1, 0.8),
        high=(0.5, 1.0),
        flag_below=0.5,
        failure=0.65,
        risk=0.05,
        certainty=0.9,
        unflagged=0.8,
        images=1000,
        inner=0.9,
        outer=0.1,
        within=0.9,
    )
    facts = StyleFacts(asdict(ThresholdSettings()), calibration.to_dict())
    path = tmp_path_factory.mktemp("sure") / "sure.onnx"
    return with_card(path, {"styles": dict.fromkeys(STYLE_IDS, asdict(facts))})


def skin(height: int, width: int) -> NDArray[np.uint8]:
    """Return the picture of a dark blob on light skin, upper left of the middle."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.hypot((y / height - 0.4) * 1.5, x / width - 0.35) < 0.22
    light, dark = np.array([225, 180, 160]), np.array([90, 55, 45])
    return np.where(inside[..., None], dark, light).astype(np.uint8)


@pytest.fixture
def photograph(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of photographs in the folder "in"; `name` may have folders."""

    def make(name: str, height: int = 48, width: int = 64, orientation: int = 1) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(skin(height, width)).save(path, exif=exif)
        return path

    return make


@pytest.fixture
def darkness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model take darkness for the probability, so that what it finds is known."""

    def run(_: object, inputs: dict[str, np.ndarray], __: object) -> Map:
        photographs, *_ = inputs.values()
        return ((255 - photographs.astype(np.float32).mean(3)) / 200).clip(0, 1)

    monkeypatch.setattr(inference, "run", run)
