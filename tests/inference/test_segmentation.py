"""What a lesion can do for a program: be compared, pickled, shown, saved."""

import json
import pickle
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import dermseg
from dermseg.errors import ImageError, OutputError, UsageError
from dermseg.formats.annotation import Photographs
from dermseg.formats.conversion import Reading, read_all
from dermseg.imaging.mask_files import read_mask
from dermseg.imaging.overlay import BAND_COLOR
from dermseg.inference.segmentation import Segmentation, drawn_by_hand
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import OVERLAY_SIDE, ThresholdSettings

Make = Callable[..., Path]
EXAMPLE = Path(__file__).parent.parent.parent / "examples/photographs/ISIC_0003582.jpg"


@pytest.fixture(scope="module")
def lesion() -> Segmentation:
    return dermseg.segment(EXAMPLE)


def two_lesions(path: Path) -> Path:
    """Write a photograph with two dark blobs, the left one larger."""
    pixels = np.full((120, 240, 3), (225, 180, 160), np.uint8)
    cv2.circle(pixels, (70, 60), 32, (90, 55, 45), -1)
    cv2.circle(pixels, (185, 60), 22, (90, 55, 45), -1)
    Image.fromarray(pixels).save(path)
    return path


def test_equality_looks_at_what_was_found(lesion: Segmentation) -> None:
    again = dermseg.segment(EXAMPLE.read_bytes())
    assert lesion == again
    assert hash(lesion) == hash(again)
    assert lesion != dermseg.segment(EXAMPLE, style="semi-automatic")
    assert lesion != replace(lesion, flags=("damaged",))
    assert lesion != "a lesion"
    other = lesion.mask.copy()
    other[-1, -1] = True
    assert lesion != replace(lesion, mask=other)


@pytest.mark.parametrize("given", [EXAMPLE, EXAMPLE.read_bytes(), Image.open(EXAMPLE)])
def test_a_lesion_is_pickled_with_all_that_it_can_do(given: object) -> None:
    lesion = dermseg.segment(given)  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(lesion))
    assert again == lesion
    assert again.band is not None
    assert again.lesions == lesion.lesions
    assert np.array_equal(again.overlay(), lesion.overlay())


def test_a_segmenter_is_pickled_as_its_settings() -> None:
    known = Segmenter(
        style="semi-automatic", mirror=True, thresholds=ThresholdSettings(high=0.9, low=0.6)
    )
    again = pickle.loads(pickle.dumps(known))
    assert again.fingerprint == known.fingerprint
    assert again.segment(EXAMPLE) == known.segment(EXAMPLE)


def test_what_is_printed_is_short(lesion: Segmentation) -> None:
    assert re.fullmatch(
        r"<Segmentation: \d+ of 512 x 768 pixels, predicted Jaccard index 0\.\d\d>", repr(lesion)
    )
    empty = drawn_by_hand(np.zeros((4, 5), np.bool_))
    assert repr(empty) == "<Segmentation: 0 of 4 x 5 pixels, empty>"


@pytest.mark.usefixtures("darkness")
class TestLesions:
    def test_each_region_is_what_its_place_chooses(self, tmp_path: Path) -> None:
        path = two_lesions(tmp_path / "two.png")
        found = dermseg.segment(path)
        left, right = found.lesions
        assert left is found
        assert left.bounding_box is not None
        assert right.bounding_box is not None
        assert left.bounding_box[0] < 100 < right.bounding_box[0]
        assert not (left.mask & right.mask).any()
        assert right == dermseg.segment(path, at=found.candidates[0].place)
        assert right.overlay().shape == (120, 240, 3)
        assert right.lesions == (right, left)

    def test_of_one_lesion_there_is_one(self, photograph: Make) -> None:
        found = dermseg.segment(photograph("a.png"))
        assert found.lesions == (found,)

    def test_candidates_are_printed_and_compared_by_their_place(self, tmp_path: Path) -> None:
        candidate = dermseg.segment(two_lesions(tmp_path / "two.png")).candidates[0]
        assert len(repr(candidate)) < 80
        assert candidate == replace(candidate)


class TestOverlay:
    def test_sizes(self, tmp_path: Path) -> None:
        with Image.open(EXAMPLE) as picture:
            picture.resize((1536, 1024)).save(tmp_path / "large.jpg")
        lesion = dermseg.segment(tmp_path / "large.jpg")
        assert max(lesion.overlay().shape) == OVERLAY_SIDE
        assert lesion.overlay(None).shape == (1024, 1536, 3)
        assert lesion.overlay(300).shape == (200, 300, 3)

    def test_the_band_is_optional(self, lesion: Segmentation) -> None:
        def blue(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bool:
            return bool((np.abs(picture.astype(int) - BAND_COLOR).max(2) < 30).any())

        assert blue(lesion.overlay())
        assert not blue(lesion.overlay(band=False))

    def test_it_is_upright_and_the_mask_as_stored(self, photograph: Make) -> None:
        lesion = dermseg.segment(photograph("a.jpg", orientation=6))
        assert (lesion.mask.shape, lesion.overlay().shape) == ((48, 64), (64, 48, 3))

    def test_of_a_thumbnail_it_has_the_masks_size(self, segmenter: Segmenter) -> None:
        assert segmenter.segment(EXAMPLE, size=(256, 384)).overlay().shape == (256, 384, 3)

    def test_without_a_photograph(self, photograph: Make) -> None:
        with pytest.raises(UsageError, match="no photograph is known"):
            drawn_by_hand(np.ones((4, 5), np.bool_)).overlay()
        path = photograph("a.jpg")
        lesion = dermseg.segment(path)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=r"a\.jpg: no such file"):
            lesion.overlay()


class TestNotebook:
    def picture(self, lesion: Segmentation) -> Image.Image:
        text = lesion._repr_html_()
        assert len(text) < 60_000
        found = re.search(r'src="data:image/jpeg;base64,([^"]+)"', text)
        assert found
        return Image.open(BytesIO(b64decode(found[1])))

    def test_it_shows_the_outline_and_the_facts(self, lesion: Segmentation) -> None:
        assert self.picture(lesion).size == (320, 213)
        assert "predicted Jaccard index" in lesion._repr_html_()

    def test_without_its_photograph_it_shows_the_mask(self, photograph: Make) -> None:
        mask = np.zeros((600, 800), np.bool_)
        mask[:, :400] = True
        shown = np.asarray(self.picture(drawn_by_hand(mask)))
        assert shown.shape == (240, 320)
        assert (shown[:, :150] > 200).all()
        path = photograph("a.jpg")
        lesion = dermseg.segment(path)
        path.unlink()
        assert self.picture(lesion).size == (64, 48)


class TestSave:
    def test_the_mask(self, lesion: Segmentation, tmp_path: Path) -> None:
        lesion.save(str(tmp_path / "new" / "a.PNG"))
        assert np.array_equal(read_mask(tmp_path / "new" / "a.PNG") > 128, lesion.mask)

    @pytest.mark.parametrize("ending", ["json", "xml", "geojson"])
    @pytest.mark.parametrize("orientation", [1, 6])
    def test_outlines_are_read_back(
        self, photograph: Make, tmp_path: Path, ending: str, orientation: int
    ) -> None:
        path = photograph("a.jpg", orientation=orientation)
        lesion = dermseg.segment(path)
        target = tmp_path / f"lesion.{ending}"
        lesion.save(target)
        reading = Reading(target, photographs=Photographs(path.parent))
        if ending == "geojson":  # whose photograph is the file's namesake
            target.rename(tmp_path / "a.geojson")
            reading = Reading(tmp_path / "a.geojson", photographs=reading.photographs)
        (entry,) = read_all(reading)
        found = entry.load()
        assert found.photograph == "a.jpg"
        assert np.array_equal(found.mask, lesion.mask)

    def test_of_pixels_the_file_names_the_photograph(self, tmp_path: Path) -> None:
        lesion = drawn_by_hand(np.eye(5, dtype=np.bool_))
        lesion.save(tmp_path / "mole_segmentation.json")
        images = json.loads((tmp_path / "mole_segmentation.json").read_text())["images"]
        assert [image["file_name"] for image in images] == ["mole.jpg"]

    def test_geojson_is_what_the_object_says(self, lesion: Segmentation, tmp_path: Path) -> None:
        lesion.save(tmp_path / "a.geojson")
        assert json.loads((tmp_path / "a.geojson").read_text()) == json.loads(
            json.dumps(lesion.to_geojson())
        )
        assert lesion.to_geojson()["photograph"] == EXAMPLE.name
        assert dermseg.segment(EXAMPLE.read_bytes()).to_geojson()["photograph"] == "photograph.jpg"

    def test_outlines_outlive_their_photograph(self, photograph: Make, tmp_path: Path) -> None:
        path = photograph("a.jpg")
        lesion = dermseg.segment(path)
        path.unlink()
        for ending in ("png", "geojson", "json", "svg"):
            lesion.save(tmp_path / f"a.{ending}")
        assert lesion.to_geojson()["photograph"] == "a.jpg"

    def test_pictures(self, lesion: Segmentation, tmp_path: Path) -> None:
        lesion.save(tmp_path / "a.jpg")
        with Image.open(tmp_path / "a.jpg") as picture:
            assert (picture.format, picture.size) == ("JPEG", (768, 512))
        lesion.save(tmp_path / "a.svg")
        assert "<polygon" in (tmp_path / "a.svg").read_text()

    @pytest.mark.parametrize("name", ["a", "a.bmp", "a.dcm"])
    def test_another_suffix_is_refused(
        self, lesion: Segmentation, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(UsageError, match=r"a lesion is written as \.png, \.jpg, \.geojson"):
            lesion.save(tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_made(self, lesion: Segmentation, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for name in ("a.png", "a.svg", "a.json", "a.geojson", "a.jpg"):
            with pytest.raises(OutputError):
                lesion.save(tmp_path / "file" / name)


class TestSegment:
    def test_its_options_are_those_of_a_segmenter(self) -> None:
        thresholds = ThresholdSettings(low=0.4)
        for model, style, mirror in (("lite0", "traced", True), ("cdnn29", "semi-automatic", None)):
            segmenter = Segmenter(model, style=style, mirror=mirror)  # type: ignore[arg-type]
            found = dermseg.segment(
                EXAMPLE,
                model=model,
                style=style,  # type: ignore[arg-type]
                mirror=mirror,
                thresholds=thresholds,
                at=(300, 250),
            )
            assert found == segmenter.segment(EXAMPLE, thresholds=thresholds, at=(300, 250))

    def test_a_style_that_there_is_not(self, segmenter: Segmenter) -> None:
        for segment in (dermseg.segment, segmenter.segment):
            with pytest.raises(UsageError, match="style 'round': choose traced or semi-automatic"):
                segment(EXAMPLE, style="round")  # type: ignore[arg-type]

    def test_thresholds_of_another_type(self, segmenter: Segmenter) -> None:
        for segment in (dermseg.segment, segmenter.segment):
            with pytest.raises(TypeError, match=r"ThresholdSettings\(high=0\.8, low=0\.4\), not t"):
                segment(EXAMPLE, thresholds=(0.8, 0.4))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not dict"):
            Segmenter(thresholds={"low": 0.4})  # type: ignore[arg-type]

    def test_options_are_named(self) -> None:
        with pytest.raises(TypeError, match="positional"):
            dermseg.segment(EXAMPLE, "lite0")  # type: ignore[misc]

    def test_a_photograph_that_is_damaged(self) -> None:
        with pytest.raises(ImageError):
            dermseg.segment(EXAMPLE.read_bytes()[:300])


class TestGeometry:
    def test_of_a_rectangle(self) -> None:
        mask = np.zeros((50, 60), np.bool_)
        mask[10:21, 20:31] = True
        lesion = drawn_by_hand(mask)
        assert (lesion.area, lesion.perimeter, lesion.flags) == (121, 40, ())
        assert lesion.diameter == pytest.approx(10 * 2**0.5)
        assert lesion.bounding_box == (20, 10, 11, 11)
        assert lesion.centroid == (25, 15)

    def test_of_two_pieces_and_a_hole(self) -> None:
        mask = np.zeros((50, 90), np.bool_)
        mask[10:21, 10:21] = mask[10:21, 60:71] = True
        mask[14:17, 14:17] = False
        lesion = drawn_by_hand(mask)
        assert (lesion.area, lesion.flags) == (233, ("several-candidates",))
        assert (len(lesion.outlines.pieces), len(lesion.outlines.holes)) == (2, 1)
        assert lesion.perimeter == pytest.approx(40 + 40 + 4 * 2 + 4 * 2**0.5)
        assert lesion.diameter == pytest.approx(np.hypot(60, 10))

    def test_of_nothing(self) -> None:
        lesion = drawn_by_hand(np.zeros((5, 6), np.bool_))
        assert (lesion.perimeter, lesion.diameter, lesion.flags) == (0, 0, ("empty",))

    def test_a_mask_by_hand_stays_as_it_was_drawn(self) -> None:
        mask = np.zeros((50, 60), np.bool_)
        mask[10:40, 10:40] = True
        mask[20:30, 20:30] = False
        mask[45:, 55:] = True
        lesion = drawn_by_hand(mask)
        np.testing.assert_array_equal(lesion.mask, mask)
        assert lesion.outline.max() == 39
        assert lesion.flags == ("touches-border", "several-candidates")
        assert (lesion.area, lesion.bounding_box) == (825, (10, 10, 50, 40))
        rows, columns = np.nonzero(mask)
        assert lesion.centroid == pytest.approx((columns.mean(), rows.mean()))
