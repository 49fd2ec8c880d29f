import os
import platform
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from cards import with_card
from numpy.typing import NDArray
from PIL import Image

from dermseg.errors import DermsegError, ImageError, ModelError, UsageError
from dermseg.imaging.mask_files import read_mask
from dermseg.imaging.photographs import Photograph, read_photograph
from dermseg.inference import segmenter as module
from dermseg.inference.segmentation import Segmentation
from dermseg.inference.segmenter import Segmenter, segment
from dermseg.inference.session import X86, asks_for_exact_sums, open_session
from dermseg.masks.metrics import score
from dermseg.masks.style import STYLE_IDS
from dermseg.modelfile.card import KEY, ModelCard, StyleFacts
from dermseg.settings import DEFAULT_MODEL, ThresholdSettings
from dermseg.weights import find_model

Map = NDArray[np.float32]
Examples = list[tuple[Path, Path]]


def stub(monkeypatch: pytest.MonkeyPatch, probability: Map) -> None:
    monkeypatch.setattr(module, "run", lambda *_: probability[np.newaxis])


def tiny_onnx(path: Path, card: str | None, dimensions: tuple[Any, ...] = ("N", 4, 4, 3)) -> Path:
    """Write a graph that returns each pixel's mean, with `card` in its metadata."""
    onnx = pytest.importorskip("onnx")
    kinds, make = onnx.TensorProto, onnx.helper
    nodes = [
        make.make_node("Cast", ["photographs"], ["real"], to=kinds.FLOAT),
        make.make_node("ReduceMean", ["real", "axes"], ["sum"], keepdims=0),
        make.make_node("Div", ["sum", "white"], ["probability"]),
    ]
    graph = make.make_graph(
        nodes,
        "mean",
        [make.make_tensor_value_info("photographs", kinds.UINT8, dimensions)],
        [make.make_tensor_value_info("probability", kinds.FLOAT, dimensions[:3])],
        [
            make.make_tensor("axes", kinds.INT64, [1], [3]),
            make.make_tensor("white", kinds.FLOAT, [], [255.0]),
        ],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    if card is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = KEY, card
    onnx.save_model(model, path)
    return path


class TestModel:
    def test_the_default_model_has_a_card_and_a_size(self, segmenter: Segmenter) -> None:
        settings = segmenter.card.members[0]["settings"]
        assert settings["network"]
        assert segmenter.card.members[0]["dermseg"]
        assert (settings["height"], settings["width"]) == (
            segmenter.height,
            segmenter.width,
        )

    def test_a_model_of_ones_own(self, tmp_path: Path) -> None:
        path = tiny_onnx(tmp_path / "mine.onnx", ModelCard(({"network": "mean"},), 0.5).to_json())
        mine = Segmenter(path)
        assert (mine.height, mine.width, mine.name) == (4, 4, str(path))
        assert mine.card == ModelCard(({"network": "mean"},), 0.5)
        found = mine.segment(np.full((8, 10, 3), 204, np.uint8))
        assert found.probability == pytest.approx(np.full((4, 4), 0.8))
        assert found.mask.all()

    @pytest.mark.parametrize("model", ["cdnn30", "", "model.pt", "CDNN29", Path("cdnn28")])
    def test_an_unknown_model_is_not_the_default_one(self, model: str | Path) -> None:
        with pytest.raises(ModelError, match=r"unknown model.*cdnn29"):
            Segmenter(model)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"gone\.onnx: no such model file"):
            Segmenter(tmp_path / "gone.onnx")

    @pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"\x08\x07", b"\x00"])
    def test_a_file_that_is_no_model(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(ModelError, match=r"bad\.onnx"):
            Segmenter(tmp_path / "bad.onnx")

    def test_a_folder_is_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "bad.onnx").mkdir()
        with pytest.raises(ModelError, match=r"bad\.onnx"):
            Segmenter(tmp_path / "bad.onnx")

    def test_a_model_without_a_card_is_not_ours(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"other\.onnx.*dermseg export"):
            Segmenter(tiny_onnx(tmp_path / "other.onnx", None))

    def test_a_card_that_is_no_card(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"other\.onnx"):
            Segmenter(tiny_onnx(tmp_path / "other.onnx", "{nonsense"))

    def test_a_model_without_a_size_is_not_ours(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"other\.onnx"):
            Segmenter(tiny_onnx(tmp_path / "other.onnx", "{}", ("N", "H", "W", 3)))

    def test_an_unknown_device(self) -> None:
        with pytest.raises(UsageError, match=r"tpu.*cpu or cuda"):
            Segmenter(device="tpu")

    def test_cuda_without_it_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"]
        )
        with pytest.raises(UsageError, match="--device cuda"):
            Segmenter(device="cuda")

    def test_cuda_that_fails_to_start_is_no_silent_fallback(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """onnxruntime-gpu without a working GPU goes on with the processor, and says it there."""
        real = onnxruntime.InferenceSession
        available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
        monkeypatch.setattr(
            onnxruntime,
            "InferenceSession",
            lambda path, *_, **__: real(path, providers=["CPUExecutionProvider"]),
        )
        with pytest.raises(UsageError, match="--device cuda"):
            Segmenter(device="cuda")


@pytest.mark.skipif(platform.machine().lower() not in X86, reason="an x86 processor's own affair")
@pytest.mark.parametrize("features", [{"avx512_vnni"}, {"avx2", "avx_vnni"}, {"avx2"}, set()])
def test_eight_bit_sums_may_not_overflow(
    features: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processors without VNNI compute other masks, unless they are asked for exact sums."""
    overflows = asks_for_exact_sums()  # this very processor
    monkeypatch.setattr("dermseg.inference.session.processor_features", lambda: frozenset(features))
    segmenter = Segmenter()
    options = open_session(find_model(DEFAULT_MODEL), "cpu").get_session_options()
    exact = any(feature.endswith("vnni") for feature in features)
    assert segmenter.description.startswith(f"{DEFAULT_MODEL} on cpu, in 8 bits")
    assert ("no VNNI" in segmenter.description) is not exact
    if exact:
        with pytest.raises(RuntimeError):
            options.get_session_config_entry("session.x64quantprecision")
    else:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"
    pixels = np.random.default_rng(0).integers(0, 256, (192, 256, 3), dtype=np.uint8)
    monkeypatch.undo()
    same = np.allclose(segmenter.probability(pixels), Segmenter().probability(pixels), atol=1e-6)
    assert same is not (overflows and exact)


def test_a_model_that_is_exported_again_is_loaded_again(
    tmp_path: Path, uncalibrated: Path, calibrated: Path, examples: Examples
) -> None:
    (photograph, _), file = examples[0], tmp_path / "mine.onnx"
    shutil.copyfile(uncalibrated, file)
    assert segment(photograph, model=file).confidence is None
    shutil.copyfile(calibrated, file)
    os.utime(file, ns=(0, 0))
    assert segment(photograph, model=file).confidence is not None


class TestInputs:
    def test_every_kind_of_photograph_gives_the_same(
        self, segmenter: Segmenter, examples: Examples
    ) -> None:
        path = examples[0][0]
        read = read_photograph(path, at_least=(segmenter.height, segmenter.width))
        first = segmenter.segment(path)
        for other in (str(path), read):
            again = segmenter.segment(other)
            np.testing.assert_array_equal(again.mask, first.mask)
            np.testing.assert_array_equal(again.outline, first.outline)
        whole = read_photograph(path)
        from_pixels = segmenter.segment(whole.pixels)
        assert from_pixels.mask.shape == (whole.height, whole.width)
        np.testing.assert_array_equal(from_pixels.mask, segmenter.segment(whole).mask)

    def test_the_mask_has_the_photographs_size(
        self, segmenter: Segmenter, examples: Examples
    ) -> None:
        for photograph, mask in examples:
            assert segmenter.segment(photograph).mask.shape == read_mask(mask).shape

    def test_a_reduced_photographs_mask_has_the_files_size(self, segmenter: Segmenter) -> None:
        reduced = Photograph(np.full((60, 80, 3), 120, np.uint8), 603, 801)
        assert segmenter.segment(reduced).mask.shape == (603, 801)

    @pytest.mark.parametrize("size", [(5, 7), (333, 222), (1, 1)])
    def test_another_size_can_be_asked_for(
        self, segmenter: Segmenter, examples: Examples, size: tuple[int, int]
    ) -> None:
        assert segmenter.segment(examples[0][0], size=size).mask.shape == size

    @pytest.mark.parametrize("size", [(0, 0), (0, 5), (-3, 4)])
    def test_a_size_that_makes_no_sense_is_refused(
        self, segmenter: Segmenter, size: tuple[int, int]
    ) -> None:
        with pytest.raises((DermsegError, ValueError)):
            segmenter.segment(np.zeros((8, 8, 3), np.uint8), size=size)

    @pytest.mark.parametrize(
        "pixels",
        [
            np.zeros((8, 8, 3), np.float32),
            np.zeros((8, 8, 3), np.int64),
            np.zeros((8, 8, 3), np.bool_),
            np.zeros((8, 8), np.uint8),
            np.zeros((8, 8, 4), np.uint8),
            np.zeros((3, 8, 8), np.uint8),
            np.zeros((1, 8, 8, 3), np.uint8),
            np.zeros((0, 8, 3), np.uint8),
            np.zeros((8, 0, 3), np.uint8),
        ],
        ids=lambda pixels: f"{pixels.dtype}{pixels.shape}",
    )
    def test_other_arrays_are_refused(self, segmenter: Segmenter, pixels: Any) -> None:
        with pytest.raises(ImageError, match="uint8 array of shape"):
            segmenter.segment(pixels)

    @pytest.mark.parametrize("shape", [(1, 1, 3), (1, 900, 3), (700, 2, 3), (17, 31, 3)])
    def test_photographs_of_any_shape(
        self, segmenter: Segmenter, shape: tuple[int, int, int]
    ) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        assert segmenter.segment(pixels).mask.shape == shape[:2]

    def test_a_view_is_segmented_as_it_looks(
        self, segmenter: Segmenter, examples: Examples
    ) -> None:
        turned = read_photograph(examples[0][0]).pixels[::-1, ::-1]
        expected = segmenter.segment(np.ascontiguousarray(turned))
        np.testing.assert_array_equal(segmenter.segment(turned).mask, expected.mask)

    def test_a_missing_photograph(self, segmenter: Segmenter, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"gone\.jpg"):
            segmenter.segment(tmp_path / "gone.jpg")


class TestResults:
    def test_the_probability_is_the_networks(
        self, segmenter: Segmenter, examples: Examples
    ) -> None:
        for photograph, _ in examples:
            probability = segmenter.segment(photograph).probability
            assert probability.dtype == np.float32
            assert probability.shape == (segmenter.height, segmenter.width)
            assert 0 <= probability.min() < probability.max() <= 1

    def test_the_measures_are_those_of_the_mask(
        self, segmenter: Segmenter, examples: Examples
    ) -> None:
        for photograph, _ in examples:
            found = segmenter.segment(photograph)
            rows, columns = np.nonzero(found.mask)
            assert found.area == len(rows) > 0
            assert found.bounding_box == (
                columns.min(),
                rows.min(),
                np.ptp(columns) + 1,
                np.ptp(rows) + 1,
            )
            assert found.centroid == pytest.approx((columns.mean(), rows.mean()), abs=1e-6)
            assert all(found.mask[y, x] for x, y in found.outline)

    def test_one_pixel_has_measures_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        probability = np.zeros((6, 8), np.float32)
        probability[2, 5] = 1
        stub(monkeypatch, probability)
        found = Segmenter().segment(np.zeros((6, 8, 3), np.uint8))
        assert (found.area, found.bounding_box, found.centroid) == (1, (5, 2, 1, 1), (5, 2))

    def test_an_empty_mask_has_no_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stub(monkeypatch, np.full((6, 8), 0.2, np.float32))
        found = Segmenter().segment(np.zeros((30, 40, 3), np.uint8))
        assert found.flags == ("unlike-training", "empty", "low-confidence")
        assert (found.area, found.bounding_box, found.centroid) == (0, None, None)
        assert found.mask.shape == (30, 40)

    @pytest.mark.parametrize(
        ("rows", "columns", "flags"),
        [
            (slice(10, 20), slice(10, 20), ()),
            (slice(0, 20), slice(10, 20), ("touches-border",)),
            (slice(10, 40), slice(10, 20), ("touches-border",)),
            (slice(10, 20), slice(0, 20), ("touches-border",)),
            (slice(10, 20), slice(30, 60), ("touches-border",)),
            (slice(1, 39), slice(1, 59), ()),
        ],
    )
    def test_flags(
        self,
        monkeypatch: pytest.MonkeyPatch,
        rows: slice,
        columns: slice,
        flags: tuple[str, ...],
    ) -> None:
        probability = np.zeros((40, 60), np.float32)
        probability[rows, columns] = 0.9
        stub(monkeypatch, probability)
        found = Segmenter().segment(np.zeros((80, 120, 3), np.uint8))
        # The calibration decides the one, and a black picture is the other.
        assert set(found.flags) - {"low-confidence", "unlike-training"} == set(flags)

    def test_several_candidates_are_flagged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        probability = np.zeros((40, 60), np.float32)
        probability[10:20, 10:20] = probability[25:30, 40:45] = 0.9
        stub(monkeypatch, probability)
        for rule in ("complete", "paper"):
            chosen = Segmenter(thresholds=ThresholdSettings(rule=rule))
            flags = chosen.segment(np.zeros((40, 60, 3), np.uint8)).flags
            assert flags == ("unlike-training", "several-candidates")

    def test_thresholds_are_obeyed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ramp = np.tile(np.linspace(0, 1, 101, dtype=np.float32), (10, 1))
        stub(monkeypatch, ramp)
        for low in (0.305, 0.505, 0.705):
            chosen = Segmenter(thresholds=ThresholdSettings(low=low))
            found = chosen.segment(np.zeros((10, 101, 3), np.uint8))
            assert found.mask[5].sum() == 100 - int(low * 100)

    def test_threads_can_share_a_segmenter(self, segmenter: Segmenter, examples: Examples) -> None:
        paths = [photograph for photograph, _ in examples[:2]] * 2
        alone = [segmenter.segment(path) for path in paths]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(segmenter.segment, paths))
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one.probability, other.probability)
            np.testing.assert_array_equal(one.mask, other.mask)

    def test_an_image_does_not_depend_on_its_batch(
        self, segmenter: Segmenter, examples: Examples
    ) -> None:
        session = open_session(segmenter.path, "cpu")
        size = segmenter.height, segmenter.width
        batch = np.stack(
            [
                module.resize(read_photograph(path, at_least=size).pixels, *size)
                for path, _ in examples
            ]
        )
        (together,) = session.run(None, {"photographs": batch, "style": np.array([1])})
        for pixels, expected in zip(batch, together, strict=True):
            np.testing.assert_allclose(segmenter.probability(pixels), expected, atol=1e-5)

    def test_the_default_model_finds_the_lesion_in_the_examples(
        self, segmenter: Segmenter, examples: Examples
    ) -> None:
        # This is about the weights that are shipped, not about the code.
        jaccard = [
            score(read_mask(mask) > 128, segmenter.segment(photograph).mask).jaccard
            for photograph, mask in examples
        ]
        assert np.mean(jaccard) >= 0.6


def test_segment_uses_the_default_model_and_loads_it_once(
    segmenter: Segmenter, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Segmenter] = []

    def load(*_: Any, **__: Any) -> Segmenter:
        loaded.append(segmenter)
        return segmenter

    module._loaded.cache_clear()
    monkeypatch.setattr(module, "Segmenter", load)
    for photograph, _ in examples[:2]:
        found = segment(photograph)
        np.testing.assert_array_equal(found.mask, segmenter.segment(photograph).mask)
    assert len(loaded) == 1
    module._loaded.cache_clear()


def test_a_segmentation_is_frozen(darkness: None, photograph: Callable[..., Path]) -> None:
    found: Any = Segmenter().segment(photograph("a.png"))
    assert isinstance(found, Segmentation)
    with pytest.raises(AttributeError):
        found.mask = None


def test_rotated_photographs_are_segmented_as_stored(
    darkness: None, photograph: Callable[..., Path]
) -> None:
    plain = Segmenter().segment(photograph("plain.png"))
    turned = Segmenter().segment(photograph("turned.png", orientation=6))
    np.testing.assert_array_equal(turned.mask, plain.mask)
    with Image.open(photograph("turned.png", orientation=6)) as image:
        assert turned.mask.shape == (image.height, image.width)


def test_a_portrait_is_the_landscape_turned(
    segmenter: Segmenter, examples: list[tuple[Path, Path]]
) -> None:
    for path, _ in examples:
        pixels = read_photograph(path).pixels
        level = segmenter.segment(pixels)
        upright = segmenter.segment(np.ascontiguousarray(np.rot90(pixels, -1)))
        np.testing.assert_array_equal(np.rot90(upright.probability), level.probability)
        common = (np.rot90(upright.mask) & level.mask).sum()
        assert common / (np.rot90(upright.mask) | level.mask).sum() > 0.999


def test_a_portrait_file_is_decoded_large_enough(segmenter: Segmenter, tmp_path: Path) -> None:
    height, width = segmenter.width * 8, segmenter.height * 8
    Image.new("RGB", (width, height), "white").save(tmp_path / "a.jpg")
    found = segmenter.segment(tmp_path / "a.jpg")
    assert found.mask.shape == (height, width)
    assert found.probability.shape == (segmenter.width, segmenter.height)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems have no such names")
def test_a_model_in_a_folder_whose_name_is_no_utf_8(tmp_path: Path, segmenter: Segmenter) -> None:
    folder = tmp_path / os.fsdecode(b"mod\xe4l")
    folder.mkdir()
    shutil.copy(segmenter.path, folder / "mine.onnx")
    found, pixels = Segmenter(folder / "mine.onnx"), np.full((32, 32, 3), 80, np.uint8)
    np.testing.assert_array_equal(found.probability(pixels), segmenter.probability(pixels))
    assert found.sha256 == segmenter.sha256
    assert found.fingerprint == segmenter.fingerprint


def test_mirror_averaging_is_the_mean_of_what_lite0_sees_in_mirrors(examples: Examples) -> None:
    once, often = Segmenter("lite0"), Segmenter("lite0", mirror=True)
    pixels = read_photograph(examples[0][0]).pixels
    expected = np.zeros((once.height, once.width))
    for axes in ((), (0,), (1,), (0, 1)):
        expected += np.flip(once.probability(np.flip(pixels, axes).copy()), axes) / 4
    found = often.probability(pixels)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - once.probability(pixels)).max() > 0.01
    assert once.fingerprint != often.fingerprint
    assert Segmenter("lite0-ensemble").mirror
    assert not once.mirror


class TestStyles:
    def with_thresholds(self, path: Path) -> Path:
        styles = {
            "traced": StyleFacts({"rule": "complete", "high": 0.8, "low": 0.3}),
            "semi-automatic": StyleFacts({"rule": "complete", "high": 0.8, "low": 0.6}),
        }
        return tiny_onnx(path, ModelCard(({"network": "mean"},), 0.5, styles=styles).to_json())

    def test_a_network_without_styles_takes_the_cards_thresholds(self, tmp_path: Path) -> None:
        path = self.with_thresholds(tmp_path / "mine.onnx")
        assert Segmenter(path).thresholds.low == 0.3, "traced is the default"
        other = Segmenter(path, style="semi-automatic")
        assert other.thresholds.low == 0.6
        assert not other.draws_styles
        given = ThresholdSettings(low=0.5)
        assert Segmenter(path, thresholds=given).thresholds_for("semi-automatic") == given
        grey = np.full((8, 8, 3), int(0.45 * 255), np.uint8)
        assert Segmenter(path).segment(grey).mask.all()
        assert not Segmenter(path).segment(grey, style="semi-automatic").mask.any()

    def test_a_fingerprint_depends_on_the_style(self, tmp_path: Path) -> None:
        path = self.with_thresholds(tmp_path / "mine.onnx")
        both = [Segmenter(path, style=style).fingerprint for style in STYLE_IDS]
        assert both[0] != both[1]

    def test_the_default_model_draws_generously_or_tightly(
        self, segmenter: Segmenter, examples: Examples
    ) -> None:
        assert segmenter.style == "traced"
        for path, _ in examples:
            traced = segmenter.segment(path).area
            assert traced > segmenter.segment(path, style="semi-automatic").area > 0.5 * traced

    def test_an_unknown_style(self) -> None:
        with pytest.raises(UsageError, match="choose traced or semi-automatic"):
            Segmenter(style="neat")  # type: ignore[arg-type]


class TestConfidence:
    def test_a_mask_comes_with_its_predicted_index(
        self, calibrated: Path, examples: Examples, tmp_path: Path
    ) -> None:
        known = Segmenter(calibrated)
        found = known.segment(examples[0][0])
        assert found.confidence is not None
        assert 0.2 < found.confidence.low < found.confidence.jaccard < found.confidence.high <= 1
        assert "low-confidence" not in found.flags
        styles = known.card.to_dict()["styles"]
        styles[known.style]["calibration"]["flag_below"] = 2.0
        strict = Segmenter(with_card(tmp_path / "strict.onnx", {"styles": styles}))
        doubtful = strict.segment(examples[0][0])
        assert doubtful.confidence == replace(found.confidence, low_confidence=True)
        assert "low-confidence" in doubtful.flags
        assert np.array_equal(found.mask, doubtful.mask)

    def test_without_a_calibration_nothing_is_said(
        self, uncalibrated: Path, examples: Examples
    ) -> None:
        plain = Segmenter(uncalibrated)
        found = plain.segment(examples[0][0])
        assert (found.confidence, found.band, found.band_contours) == (None, None, ())
        assert not plain.says_how_sure

    def test_with_other_thresholds_or_another_choice_only_the_band_is_said(
        self, calibrated: Path, examples: Examples
    ) -> None:
        known, path = Segmenter(calibrated), examples[0][0]
        assert known.says_how_sure
        lower = ThresholdSettings(low=0.4)
        assert not Segmenter(calibrated, thresholds=lower).says_how_sure
        for found in (known.segment(path, thresholds=lower), known.segment(path, at=(10, 10))):
            assert found.confidence is None
            assert found.band is not None

    def test_the_outline_lies_between_the_bands_contours(
        self, calibrated: Path, examples: Examples
    ) -> None:
        found = Segmenter(calibrated).segment(examples[0][0])
        assert found.band is not None
        assert len(found.band_contours) == len(found.band.outer) + len(found.band.inner) >= 2
        outline = found.outline[:: max(1, len(found.outline) // 50)].astype(float).tolist()
        (outer,) = found.band.outer
        for point in outline:
            assert cv2.pointPolygonTest(outer, point, True) > -2
            assert all(cv2.pointPolygonTest(each, point, True) < 2 for each in found.band.inner)


class TestFiles:
    def test_an_open_file_gives_what_its_path_gives(
        self, segmenter: Segmenter, examples: Examples
    ) -> None:
        path = examples[0][0]
        with path.open("rb") as file:
            np.testing.assert_array_equal(
                segmenter.segment(file).mask, segmenter.segment(path).mask
            )

    def test_what_is_wrong_with_an_open_file_is_said(self, segmenter: Segmenter) -> None:
        with pytest.raises(ImageError, match="the image: not an image"):
            segmenter.segment(BytesIO(b"nothing"))
        named = BytesIO(b"nothing")
        named.name = "a.jpg"
        with pytest.raises(ImageError, match=r"^a\.jpg: not an image"):
            segmenter.segment(named)


class TestChoices:
    def two(self) -> Map:
        probability = np.zeros((40, 80), np.float32)
        probability[5:35, 5:35] = 0.9
        probability[15:25, 60:70] = 0.6
        return probability

    def test_a_place_is_in_the_photographs_pixels(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stub(monkeypatch, self.two())
        pixels = np.zeros((400, 800, 3), np.uint8)
        assert segmenter.segment(pixels).mask[200, 200]
        chosen = segmenter.segment(pixels, at=(650, 200))
        assert chosen.mask[200, 650]
        assert not chosen.mask[200, 200]
        assert chosen.flags == ("unlike-training", "several-candidates")

    def test_candidates_are_the_other_regions(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stub(monkeypatch, self.two())
        pixels = np.zeros((400, 800, 3), np.uint8)
        (other,) = segmenter.segment(pixels).candidates
        chosen = segmenter.segment(pixels, at=other.place)
        assert chosen.mask[200, 650]
        assert other.outline.tolist() == chosen.outline.tolist()
        assert chosen.candidates[0].outline.tolist() == segmenter.segment(pixels).outline.tolist()

    def test_a_candidates_place_is_in_it_though_the_photograph_is_small(
        self, segmenter: Segmenter
    ) -> None:
        probability = np.zeros((192, 256), np.float32)
        probability[20:80, 20:120] = 1
        probability[100:102, 196:208] = 1
        find = partial(segmenter.find, probability, (48, 64), thresholds=ThresholdSettings(low=0.4))
        (other,) = find().candidates
        assert find(at=other.place).outline.tolist() == other.outline.tolist()

    def test_a_click_into_the_models_own_choice_changes_nothing(
        self, calibrated: Path, examples: Examples
    ) -> None:
        known, path = Segmenter(calibrated), examples[0][0]
        own = known.segment(path)
        assert own.centroid is not None
        clicked = known.segment(path, at=own.centroid)
        assert clicked.confidence == own.confidence is not None
        np.testing.assert_array_equal(clicked.mask, own.mask)

    @pytest.mark.usefixtures("darkness")
    def test_a_click_elsewhere_lets_the_network_look_closer(self) -> None:
        pixels = np.full((400, 800, 3), 245, np.uint8)
        pixels[100:300, 100:300] = 20
        pixels[180:220, 600:640] = 190  # faint: a probability of 0.33
        model = Segmenter()
        own, faint = model.segment(pixels), model.segment(pixels, at=(620, 200))
        assert own.mask[200, 200]
        assert not faint.mask[200, 200]
        assert faint.area == pytest.approx(1600, rel=0.1)
        assert faint.bounding_box == pytest.approx((600, 180, 40, 40), abs=2)
        assert faint.confidence is None
        nothing = model.segment(pixels, at=(700, 50))
        assert (nothing.area, nothing.flags) == (0, ("unlike-training", "empty"))

    @pytest.mark.parametrize("at", [(-1, 5), (80, 5), (5, 40), (5, -0.1), (float("nan"), 5)])
    def test_a_place_outside_the_mask_is_refused(
        self, segmenter: Segmenter, at: tuple[float, float]
    ) -> None:
        with pytest.raises(UsageError, match="outside the mask of 80 x 40"):
            segmenter.segment(np.zeros((40, 80, 3), np.uint8), at=at)

    def test_thresholds_of_one_call_stand_in_for_the_segmenters_own(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stub(monkeypatch, self.two())
        pixels = np.zeros((40, 80, 3), np.uint8)
        chosen = segmenter.segment(pixels, thresholds=ThresholdSettings(high=0.9, low=0.7))
        assert chosen.flags == ("unlike-training",)
        assert "several-candidates" in segmenter.segment(pixels).flags
