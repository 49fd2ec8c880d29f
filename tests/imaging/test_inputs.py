"""What may be given as a photograph, and that all of it gives one mask."""

import os
from collections.abc import Callable
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dermseg
from dermseg.errors import ImageError
from dermseg.imaging.inputs import opened
from dermseg.imaging.photographs import Photograph, photograph_of, read_photograph
from dermseg.inference.segmenter import Segmenter


class Named:
    """A path that is no pathlib.Path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


class Pipe(RawIOBase):
    """A stream that is read once."""

    def __init__(self, content: bytes) -> None:
        self.rest = BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return self.rest.read(size)


GIVEN: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "path-like": Named,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memory": lambda path: BytesIO(path.read_bytes()),
    "file": lambda path: path.open("rb"),
    "pipe": lambda path: Pipe(path.read_bytes()),
    "picture": Image.open,
    "pixels": lambda path: np.asarray(Image.open(path)),
    "photograph": read_photograph,
}


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.usefixtures("darkness")
@pytest.mark.parametrize("kind", GIVEN)
def test_all_that_may_be_given_has_one_mask(
    segmenter: Segmenter, photograph: Callable[..., Path], kind: str
) -> None:
    path = photograph("a.png")
    expected = segmenter.segment(path)
    given = GIVEN[kind](path)
    for _ in range(1 if kind == "pipe" else 2):
        assert np.array_equal(segmenter.segment(given).mask, expected.mask)
    assert expected.area > 0


def test_a_file_is_read_from_its_beginning_and_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"content")
    with (tmp_path / "a.jpg").open("rb") as file:
        file.seek(3)
        memory = opened(file)
    assert isinstance(memory, BytesIO)
    assert (memory.getvalue(), memory.name) == (b"content", str(tmp_path / "a.jpg"))


def test_a_file_in_text_mode_is_a_type_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with (tmp_path / "a.txt").open() as file, pytest.raises(TypeError, match="binary mode"):
        opened(file)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [None, 3, ["a.jpg"]])
def test_other_things_are_type_errors(given: Any) -> None:
    with pytest.raises(TypeError, match=r"a photograph is a path, .* not"):
        opened(given)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK", "I;16", "1"])
def test_a_picture_of_any_mode_becomes_rgb(mode: str) -> None:
    picture = Image.new(mode, (5, 4))
    found = photograph_of(picture)
    assert (found.pixels.shape, found.height, found.width) == ((4, 5, 3), 4, 5)


def test_deep_greys_of_a_picture_are_scaled() -> None:
    grey = np.array([[0, 65535], [32768, 257]], np.uint16)
    assert photograph_of(Image.fromarray(grey)).pixels[..., 0].tolist() == [[0, 255], [128, 1]]


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_a_picture_lies_as_pillow_shows_it(photograph: Callable[..., Path], ending: str) -> None:
    """Pillow turns a TIFF upright, and nothing else."""
    path = photograph(f"a.{ending}", orientation=6)
    with Image.open(path) as picture:
        found = photograph_of(picture)
    assert found.orientation == (1 if ending == "tif" else 6)
    assert found.pixels.shape[:2] == ((64, 48) if ending == "tif" else (48, 64))


def test_a_picture_whose_file_ends_early_is_an_image_error(photograph: Callable[..., Path]) -> None:
    content = photograph("a.jpg").read_bytes()[:-90]
    with pytest.raises(ImageError, match="the picture: cannot be read"):
        opened(Image.open(BytesIO(content)))


def test_floating_point_pictures_are_refused() -> None:
    with pytest.raises(ImageError, match="unknown range"):
        opened(Image.new("F", (4, 4)))


def test_what_is_opened_stays_so(photograph: Callable[..., Path]) -> None:
    for given in (photograph("a.png"), BytesIO(b""), Photograph(np.zeros((2, 2, 3), "u1"), 2, 2)):
        assert opened(given) is given


@pytest.mark.parametrize("given", ["gone.jpg", Path("gone.jpg")])
def test_a_file_that_is_not_there_is_a_file_not_found_error(given: str | Path) -> None:
    for read in (dermseg.segment, dermseg.read_photograph, dermseg.read_mask):
        with pytest.raises(FileNotFoundError, match=r"^gone\.jpg: no such file$") as caught:
            read(given)
        assert isinstance(caught.value, dermseg.ImageError)


@pytest.mark.skipif(os.name == "nt", reason="there it is a PermissionError")
def test_a_folder_is_no_photograph(tmp_path: Path) -> None:
    with pytest.raises(dermseg.ImageError, match="read, being a folder; dermseg"):
        dermseg.segment(tmp_path)
