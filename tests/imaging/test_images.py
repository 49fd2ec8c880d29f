import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dermseg.imaging.images import resize, write_image

Pixels = NDArray[np.uint8]


@pytest.fixture
def noise() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


class TestResize:
    def test_the_same_size_changes_nothing(self, noise: Pixels) -> None:
        np.testing.assert_array_equal(resize(noise, 30, 40), noise)

    @pytest.mark.parametrize("size", [(1, 1), (7, 90), (60, 80), (30, 41)])
    def test_shapes(self, noise: Pixels, size: tuple[int, int]) -> None:
        assert resize(noise, *size).shape == (*size, 3)
        assert resize(noise[..., 0], *size).shape == size
        assert resize(noise, *size).dtype == np.uint8

    @pytest.mark.parametrize("value", [0, 1, 128, 255])
    def test_a_constant_stays_constant(self, value: int) -> None:
        plain = np.full((50, 30, 3), value, np.uint8)
        for size in ((13, 17), (101, 99)):
            assert (resize(plain, *size) == value).all()

    def test_shrinking_averages_instead_of_picking(self) -> None:
        checks = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
        small = resize(checks.astype(np.uint8), 8, 8)
        assert np.abs(small.astype(int) - 127.5).max() < 12

    def test_the_middle_stays_the_middle(self) -> None:
        half = np.zeros((20, 40), np.uint8)
        half[:, 20:] = 200
        for width in (10, 80):
            scaled = resize(half, 20, width).astype(int)
            np.testing.assert_allclose(scaled + scaled[:, ::-1], 200, atol=1)


@pytest.mark.skipif(sys.platform == "win32", reason="it has no limit to a file's size")
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_disk_that_is_full_leaves_the_old_picture(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"old")
    code = (
        "import resource, sys, numpy; from pathlib import Path\n"
        "from dermseg.errors import OutputError; from dermseg.imaging.images import write_image\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "noise = numpy.random.default_rng(0).integers(0, 256, (90, 90, 3), numpy.uint8)\n"
        "try: write_image(Path(sys.argv[1]), noise)\n"
        "except OutputError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / name}: cannot be written (File too large)\n"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_suffix_in_capitals_is_a_jpegs_too(tmp_path: Path, noise: Pixels) -> None:
    write_image(tmp_path / "a.JPG", noise)
    assert (tmp_path / "a.JPG").read_bytes().startswith(b"\xff\xd8\xff")
