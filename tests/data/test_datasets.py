"""Data sets on disk: which files pair up, what is refused, and the cache."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dermseg import cores
from dermseg.data import datasets
from dermseg.data.datasets import open_cache, read_signatures
from dermseg.data.folds import near_duplicates
from dermseg.data.layouts import Pair, find_pairs
from dermseg.errors import DataError, OutputError
from dermseg.imaging.orientation import lies_across, turn
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.style import STYLE_NAMES

Picture = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def put(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def make(tmp_path: Path, picture: Callable[..., Picture]) -> Callable[..., Path]:
    """Return a maker of data sets: one pair for each name, 48 x 64 pixels."""

    def make(
        images: str = "images",
        masks: str = "masks",
        names: tuple[str, ...] = ("ISIC_0000002", "ISIC_0000000", "ISIC_0000001"),
        photograph: str = "{}.jpg",
        mask: str = "{}_segmentation.png",
    ) -> Path:
        data = tmp_path / "data"
        for seed, name in enumerate(names):
            pixels, truth = picture(seed, 48, 64)
            put(data / images / photograph.format(name), pixels)
            put(data / masks / mask.format(name), truth)
        return data

    return make


class TestFindPairsFeatures:
    @pytest.mark.parametrize(
        ("images", "masks", "photograph", "mask"),
        [
            (
                "ISIC-2017_Training_Data",
                "ISIC-2017_Training_Part1_GroundTruth",
                "{}.jpg",
                "{}_segmentation.png",
            ),
            (
                "ISBI2016_ISIC_Part1_Training_Data",
                "ISBI2016_ISIC_Part1_Training_GroundTruth",
                "{}.jpg",
                "{}_Segmentation.png",
            ),
            (
                "ISIC2018_Task1-2_Training_Input",
                "ISIC2018_Task1_Training_GroundTruth",
                "{}.jpg",
                "{}_segmentation.png",
            ),
            ("images", "masks", "{}.png", "{}.png"),
            ("images", "masks", "{}.JPG", "{}_segmentation.PNG"),
            ("images", "masks", "{}.tif", "{}.png"),
        ],
        ids=["2017", "2016", "2018", "plain", "capitals", "tiff"],
    )
    def test_every_layout_pairs_up(
        self, make: Callable[..., Path], images: str, masks: str, photograph: str, mask: str
    ) -> None:
        data = make(images, masks, photograph=photograph, mask=mask)
        pairs = find_pairs(data)
        names = ["ISIC_0000000", "ISIC_0000001", "ISIC_0000002"]
        assert [pair.image_id for pair in pairs] == names
        for name, pair in zip(names, pairs, strict=True):
            assert pair.photograph == data / images / photograph.format(name)
            assert pair.mask == data / masks / mask.format(name)

    def test_superpixels_tables_and_other_archives_do_no_harm(
        self, make: Callable[..., Path]
    ) -> None:
        data = make("ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth")
        folder = data / "ISIC-2017_Training_Data"
        put(folder / "ISIC_0000000_superpixels.png", np.zeros((48, 64, 3), np.uint8))
        (folder / "ISIC-2017_Training_Data_metadata.csv").write_text("image_id,age\n")
        (data / "ISIC-2017_Training_Part1_GroundTruth" / "notes.txt").write_text("by hand")
        (data / "ISIC-2017_Training_Part3_GroundTruth.csv").write_text("image_id\n")
        (data / "ISIC-2017_Training_Data.zip").write_bytes(b"")
        (data / "ISIC-2017_Test_v2_Data").mkdir()
        (data / "ISIC-2017_Test_v2_Part1_GroundTruth").mkdir()
        assert len(find_pairs(data)) == 3

    def test_names_with_dots_and_segmentation_within_are_kept_whole(
        self, make: Callable[..., Path]
    ) -> None:
        names = ("a.b", "a.c", "x_segmentation_y")
        assert [p.image_id for p in find_pairs(make(names=names))] == list(names)


def test_ph2_is_read(tmp_path: Path) -> None:
    for name in ("IMD002", "IMD003"):
        folder = tmp_path / "PH2Dataset" / "PH2 Dataset images" / name
        image, mask = picture_of_ph2()
        for path, content in (
            (folder / f"{name}_Dermoscopic_Image" / f"{name}.bmp", image),
            (folder / f"{name}_lesion" / f"{name}_lesion.bmp", mask),
            (folder / f"{name}_roi" / f"{name}_R1_Label3.bmp", mask),
        ):
            path.parent.mkdir(parents=True)
            content.save(path)
    pairs = find_pairs(tmp_path)
    assert [pair.image_id for pair in pairs] == ["IMD002", "IMD003"]
    cache = open_cache(pairs, 16, 32, tmp_path / "cache", allow_resized=False)
    assert cache.masks.max() == 255


def picture_of_ph2() -> tuple[Image.Image, Image.Image]:
    """Return a photograph and a mask of one bit, as in PH2."""
    lesion = Image.new("1", (64, 48))
    lesion.paste(1, (20, 10, 40, 30))
    return Image.new("RGB", (64, 48), "white"), lesion


class TestFindPairsExceptions:
    def test_every_file_without_a_partner_is_named_at_once(
        self, make: Callable[..., Path], picture: Callable[..., Picture]
    ) -> None:
        data = make()
        pixels, truth = picture(9)
        alone = [put(data / "images" / f"alone-{i}.jpg", pixels) for i in range(2)]
        alone += [put(data / "masks" / f"lost-{i}_segmentation.png", truth) for i in range(2)]
        with pytest.raises(DataError) as caught:
            find_pairs(data)
        message = str(caught.value)
        assert all(str(path) in message for path in alone)
        assert message.count("no mask") == message.count("no photograph") == 2
        assert "ISIC_0000000" not in message

    def test_a_long_list_is_told_whole(
        self, make: Callable[..., Path], picture: Callable[..., Picture]
    ) -> None:
        data = make()
        for number in range(30):
            put(data / "images" / f"alone-{number}.jpg", picture(9)[0])
        with pytest.raises(DataError, match="do not pair up") as caught:
            find_pairs(data)
        assert str(caught.value).count("no mask") == 30

    @pytest.mark.parametrize("kind", ["empty", "no masks"])
    def test_a_folder_of_no_known_layout_is_refused(self, tmp_path: Path, kind: str) -> None:
        data = tmp_path / "data"
        data.mkdir()
        if kind == "no masks":
            (data / "images").mkdir()
        with pytest.raises(DataError, match="GroundTruth"):
            find_pairs(data)

    def test_what_is_no_folder_is_said_to_be_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for name in ("gone", "file"):
            with pytest.raises(DataError, match=f"{name}: no such folder"):
                find_pairs(tmp_path / name)

    def test_two_sets_in_one_folder_are_refused(self, make: Callable[..., Path]) -> None:
        make("ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth")
        data = make("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth")
        with pytest.raises(DataError, match="expected one"):
            find_pairs(data)

    def test_empty_folders_are_refused(self, make: Callable[..., Path]) -> None:
        data = make(names=())
        for name in ("images", "masks"):
            (data / name).mkdir(parents=True)
        with pytest.raises(DataError, match="no photographs"):
            find_pairs(data)

    @pytest.mark.parametrize(
        ("folder", "name"), [("images", "ISIC_0000000.png"), ("masks", "ISIC_0000000.png")]
    )
    def test_two_files_of_one_name_are_refused_not_dropped(
        self, make: Callable[..., Path], picture: Callable[..., Picture], folder: str, name: str
    ) -> None:
        data = make()
        put(data / folder / name, picture(9, 48, 64)[0 if folder == "images" else 1])
        with pytest.raises(DataError, match="ISIC_0000000"):
            find_pairs(data)


class TestOpenCacheFeatures:
    def test_it_holds_what_the_files_hold(self, make: Callable[..., Path], tmp_path: Path) -> None:
        pairs = find_pairs(make(photograph="{}.png"))
        cache = open_cache(pairs, 48, 64, tmp_path / "cache", allow_resized=False)
        assert cache.image_ids == ["ISIC_0000000", "ISIC_0000001", "ISIC_0000002"]
        assert (cache.images.shape, cache.images.dtype) == ((3, 3, 48, 64), np.uint8)
        assert (cache.masks.shape, cache.masks.dtype) == ((3, 48, 64), np.uint8)
        for row, pair in enumerate(pairs):
            pixels = np.asarray(Image.open(pair.photograph))
            assert np.array_equal(cache.images[row], pixels.transpose(2, 0, 1))
            assert np.array_equal(cache.masks[row], np.asarray(Image.open(pair.mask)))

    def test_it_holds_the_style_of_each_mask_at_its_full_size(self, tmp_path: Path) -> None:
        y, x = np.mgrid[:400, :600]
        smooth = (x - 300) ** 2 + 2 * (y - 200) ** 2 < 150**2
        steps = smooth[::10, ::10].repeat(10, 0).repeat(10, 1)
        for name, mask in (("a", smooth), ("b", steps), ("c", smooth & (x < 1))):
            put(tmp_path / "data" / "images" / f"{name}.png", np.zeros((400, 600, 3), np.uint8))
            put(tmp_path / "data" / "masks" / f"{name}.png", mask.astype(np.uint8) * 255)
        pairs = find_pairs(tmp_path / "data")
        for _ in range(2):
            cache = open_cache(pairs, 32, 48, tmp_path / "cache", allow_resized=False)
            assert [STYLE_NAMES[style] for style in cache.styles] == [
                "traced",
                "semi-automatic",
                "unclear",
            ]

    def test_it_resizes_bilinearly_with_soft_borders(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        pairs = find_pairs(make(photograph="{}.png"))
        cache = open_cache(pairs, 16, 32, tmp_path / "cache", allow_resized=False)
        for row, pair in enumerate(pairs):
            photograph, mask = (
                np.asarray(Image.open(path).resize((32, 16), Image.Resampling.BILINEAR))
                for path in (pair.photograph, pair.mask)
            )
            assert np.array_equal(cache.images[row], photograph.transpose(2, 0, 1))
            assert np.array_equal(cache.masks[row], mask)
        assert ((cache.masks > 0) & (cache.masks < 255)).any()

    def test_a_portrait_lies_as_the_model_in_use_sees_it(
        self, tmp_path: Path, picture: Callable[..., Picture]
    ) -> None:
        pixels, truth = picture(3, 64, 48)
        photograph = put(tmp_path / "data" / "images" / "a.png", pixels)
        put(tmp_path / "data" / "masks" / "a.png", truth)
        pairs = find_pairs(tmp_path / "data")
        cache = open_cache(pairs, 48, 64, tmp_path / "cache", allow_resized=False)
        assert np.array_equal(cache.masks[0], np.rot90(truth))
        assert cache.turned.tolist() == [True]
        segmenter = Segmenter()
        segmenter.height, segmenter.width = 48, 64
        seen = segmenter.read(photograph).pixels
        assert lies_across(seen.shape[:2], (48, 64))
        assert np.array_equal(cache.images[0].transpose(1, 2, 0), turn(seen))

    def test_a_large_jpeg_read_at_a_reduced_scale_is_still_the_same_picture(
        self, tmp_path: Path, picture: Callable[..., Picture]
    ) -> None:
        pixels, truth = picture(3, 40, 56)
        large = np.asarray(Image.fromarray(pixels).resize((560, 400)))
        put(tmp_path / "data" / "images" / "a.jpg", large)
        put(
            tmp_path / "data" / "masks" / "a.png",
            np.asarray(Image.fromarray(truth).resize((560, 400), 0)),
        )
        pairs = find_pairs(tmp_path / "data")
        cache = open_cache(pairs, 32, 48, tmp_path / "cache", allow_resized=False)
        direct = Image.open(pairs[0].photograph).resize((48, 32), Image.Resampling.BILINEAR)
        apart = cache.images[0].transpose(1, 2, 0).astype(float) - np.asarray(direct)
        assert np.abs(apart).mean() < 4
        assert abs(apart.mean()) < 0.5

    def test_a_second_call_reads_it_and_builds_nothing(
        self, make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pairs = find_pairs(make())
        first = open_cache(pairs, 16, 32, tmp_path / "cache", allow_resized=False)

        def forbidden(*_arguments: object, **_options: object) -> None:
            raise AssertionError("read again")

        monkeypatch.setattr(datasets, "read_photograph", forbidden)
        monkeypatch.setattr(Pair, "read_mask", forbidden)
        again = open_cache(pairs, 16, 32, tmp_path / "cache", allow_resized=False)
        assert np.array_equal(first.images, again.images)
        assert np.array_equal(first.masks, again.masks)
        assert first.digest == again.digest
        assert first.image_ids == again.image_ids

    @pytest.mark.parametrize("folder", ["images", "masks"])
    def test_a_changed_file_rebuilds_it(
        self, make: Callable[..., Path], tmp_path: Path, folder: str
    ) -> None:
        data = make(photograph="{}.png")
        first = open_cache(find_pairs(data), 48, 64, tmp_path / "cache", allow_resized=False)
        path = sorted((data / folder).iterdir())[1]
        changed = 255 - np.asarray(Image.open(path))
        put(path, changed)
        os.utime(path, ns=(1, 1))
        again = open_cache(find_pairs(data), 48, 64, tmp_path / "cache", allow_resized=False)
        found = again.images[1].transpose(1, 2, 0) if folder == "images" else again.masks[1]
        assert np.array_equal(found, changed)
        assert first.digest != again.digest

    def test_other_pairs_and_other_sizes_have_caches_of_their_own(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        pairs = find_pairs(make())
        caches = [
            open_cache(chosen, *size, tmp_path / "cache", allow_resized=False)
            for chosen in (pairs, pairs[1:])
            for size in ((16, 32), (32, 16))
        ]
        assert len({(cache.digest, cache.images.shape) for cache in caches}) == 4
        assert len({cache.digest for cache in caches}) == 2  # the data's, whatever their size
        assert len(list((tmp_path / "cache").iterdir())) == 4

    def test_thumbnails_with_full_size_masks_are_taken_when_allowed(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        data = make(photograph="{}.png")
        path = data / "images" / "ISIC_0000001.png"
        put(path, np.asarray(Image.open(path).resize((32, 24))))
        cache = open_cache(find_pairs(data), 16, 32, tmp_path / "cache", allow_resized=True)
        expected = Image.open(path).resize((32, 16), Image.Resampling.BILINEAR)
        assert np.array_equal(cache.images[1].transpose(1, 2, 0), np.asarray(expected))

    def test_it_cannot_be_written_to_by_accident(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        cache = open_cache(find_pairs(make()), 16, 32, tmp_path / "c", allow_resized=False)
        with pytest.raises(ValueError, match="read-only"):
            cache.images[0] = 0

    def test_what_a_killed_build_of_the_same_process_number_left_is_no_obstacle(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        """In a container every run may have the same process number."""
        pairs = find_pairs(make())
        open_cache(pairs, 16, 32, tmp_path / "cache", allow_resized=False)
        (place,) = (tmp_path / "cache").iterdir()
        place.rename(place.with_name(f"{place.name}.{os.getpid()}.tmp"))
        cache = open_cache(pairs, 16, 32, tmp_path / "cache", allow_resized=False)
        assert len(cache.images) == 3

    def test_two_trainings_may_build_the_same_cache_at_once(
        self, make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pairs = find_pairs(make())
        theirs = open_cache(pairs, 16, 32, tmp_path / "cache", allow_resized=False)
        (place,) = (tmp_path / "cache").iterdir()
        place.rename(tmp_path / "finished first")
        plain_mask = Pair.read_mask

        def slow_mask(pair: Pair) -> NDArray[np.uint8]:
            if (tmp_path / "finished first").exists():
                (tmp_path / "finished first").rename(place)
            return plain_mask(pair)

        monkeypatch.setattr(Pair, "read_mask", slow_mask)
        monkeypatch.setattr(cores, "usable_cores", lambda: 1)
        ours = open_cache(pairs, 16, 32, tmp_path / "cache", allow_resized=False)
        assert np.array_equal(ours.images, theirs.images)
        assert list((tmp_path / "cache").iterdir()) == [place]


class TestOpenCacheExceptions:
    def test_unlike_sizes_are_refused_and_all_named(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        data = make()
        for name in ("ISIC_0000000", "ISIC_0000002"):
            path = data / "images" / f"{name}.jpg"
            put(path, np.asarray(Image.open(path).resize((32, 24))))
        with pytest.raises(DataError, match="2 of 3") as caught:
            open_cache(find_pairs(data), 16, 32, tmp_path / "cache", allow_resized=False)
        message = str(caught.value)
        assert message.count("24 x 32") == message.count("48 x 64") == 2
        assert "ISIC_0000000.jpg" in message
        assert "ISIC_0000002.jpg" in message
        assert "ISIC_0000001" not in message
        assert "--allow-resized" in message

    def test_of_many_the_first_are_named(
        self, make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = make()
        monkeypatch.setattr(datasets, "LISTED", 1)
        for path in sorted((data / "images").iterdir()):
            put(path, np.asarray(Image.open(path).resize((32, 24))))
        with pytest.raises(DataError) as caught:
            open_cache(find_pairs(data), 16, 32, tmp_path / "cache", allow_resized=False)
        title, first, last = str(caught.value).splitlines()
        assert title == "3 of 3 pairs are unusable"
        assert "ISIC_0000000.jpg" in first
        assert last.strip() == "and 2 more; dermseg doctor lists and counts all of them"

    @pytest.mark.parametrize("allow_resized", [False, True])
    def test_unreadable_files_are_all_named(
        self, make: Callable[..., Path], tmp_path: Path, allow_resized: bool
    ) -> None:
        data = make()
        (data / "images" / "ISIC_0000000.jpg").write_bytes(b"not a picture")
        whole = (data / "images" / "ISIC_0000001.jpg").read_bytes()
        (data / "images" / "ISIC_0000001.jpg").write_bytes(whole[: len(whole) // 2])
        (data / "masks" / "ISIC_0000002_segmentation.png").write_bytes(b"")
        with pytest.raises(DataError, match="3 of 3") as caught:
            open_cache(find_pairs(data), 16, 32, tmp_path / "cache", allow_resized=allow_resized)
        for name in ("ISIC_0000000.jpg", "ISIC_0000001.jpg", "ISIC_0000002_segmentation.png"):
            assert name in str(caught.value)

    def test_a_coloured_mask_is_refused(
        self, make: Callable[..., Path], tmp_path: Path, picture: Callable[..., Picture]
    ) -> None:
        data = make()
        put(data / "masks" / "ISIC_0000001_segmentation.png", picture(1, 48, 64)[0])
        with pytest.raises(DataError, match=r"ISIC_0000001_segmentation.*several colours"):
            open_cache(find_pairs(data), 16, 32, tmp_path / "cache", allow_resized=False)

    def test_a_folder_that_cannot_be_is_named(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match=r"file.*: cannot be written"):
            open_cache(find_pairs(make()), 24, 32, tmp_path / "file", allow_resized=False)

    def test_a_build_that_fails_leaves_nothing_and_can_be_repeated(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        data = make()
        path = data / "images" / "ISIC_0000000.jpg"
        whole = path.read_bytes()
        path.write_bytes(b"not a picture")
        with pytest.raises(DataError):
            open_cache(find_pairs(data), 16, 32, tmp_path / "cache", allow_resized=False)
        assert list((tmp_path / "cache").rglob("*")) == []
        path.write_bytes(whole)
        cache = open_cache(find_pairs(data), 16, 32, tmp_path / "cache", allow_resized=False)
        assert len(cache.images) == 3

    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system has none")
    def test_a_full_disk_is_said_before_a_page_is_written(
        self, make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_file: int, _offset: int, length: int) -> None:
            assert length >= 3 * 16 * 32
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OutputError, match="No space left"):
            open_cache(find_pairs(make()), 16, 32, tmp_path / "cache", allow_resized=False)
        assert list((tmp_path / "cache").rglob("*")) == []

    def test_a_link_that_leads_nowhere_is_named(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        data = make()
        path = data / "images" / "ISIC_0000000.jpg"
        path.unlink()
        path.symlink_to(tmp_path / "nowhere.jpg")
        with pytest.raises(DataError, match=r"ISIC_0000000\.jpg: cannot be read"):
            open_cache(find_pairs(data), 16, 32, tmp_path / "cache", allow_resized=False)

    def test_a_build_that_is_interrupted_leaves_nothing(
        self, make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_path: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Pair, "read_mask", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_cache(find_pairs(make()), 16, 32, tmp_path / "cache", allow_resized=False)
        assert list((tmp_path / "cache").rglob("*")) == []


def photographs(pairs: list[Pair]) -> list[Path]:
    return [pair.photograph for pair in pairs]


class TestReadSignatures:
    def test_they_are_the_photographs_shrunk_to_16_by_16(
        self, make: Callable[..., Path], tmp_path: Path
    ) -> None:
        pairs = find_pairs(make(photograph="{}.png"))
        signatures = read_signatures(photographs(pairs), tmp_path / "cache")
        assert (signatures.shape, signatures.dtype) == ((3, 16, 16, 3), np.uint8)
        for pair, signature in zip(pairs, signatures, strict=True):
            pixels = np.asarray(Image.open(pair.photograph)).reshape(16, 3, 16, 4, 3)
            apart = signature - pixels.mean((1, 3))
            assert np.abs(apart).mean() < 10
            assert abs(apart.mean()) < 2

    def test_copies_at_another_size_and_quality_are_found(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        for number in range(4):
            cells = np.random.default_rng(number % 3).uniform(40, 200, (16, 16, 3)).astype(np.uint8)
            scene = Image.fromarray(cells).resize((320, 240), Image.Resampling.BICUBIC)
            smaller = scene.resize((150, 100)) if number == 3 else scene
            path = put(data / "images" / f"{number}.jpg", np.asarray(smaller))
            smaller.save(path, quality=40 if number == 3 else 95)
            put(data / "masks" / f"{number}.png", np.zeros((240, 320), np.uint8))
        groups = near_duplicates(read_signatures(photographs(find_pairs(data)), tmp_path / "cache"))
        assert groups[0] == groups[3]
        assert len(set(groups)) == 3

    def test_they_are_read_once_and_again_when_a_photograph_changes(
        self, make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = make(photograph="{}.png")
        first = read_signatures(photographs(find_pairs(data)), tmp_path / "cache")
        with monkeypatch.context() as patch:
            patch.setattr(datasets, "read_photograph", None)
            again = read_signatures(photographs(find_pairs(data)), tmp_path / "cache")
        assert np.array_equal(first, again)
        path = data / "images" / "ISIC_0000001.png"
        put(path, 255 - np.asarray(Image.open(path)))
        os.utime(path, ns=(1, 1))
        changed = read_signatures(photographs(find_pairs(data)), tmp_path / "cache")
        assert [np.array_equal(a, b) for a, b in zip(first, changed, strict=True)] == [
            True,
            False,
            True,
        ]

    def test_they_depend_on_the_photographs_alone(
        self, make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = make()
        read_signatures(photographs(find_pairs(data)), tmp_path / "cache")
        put(data / "masks" / "ISIC_0000001_segmentation.png", np.zeros((48, 64), np.uint8))
        monkeypatch.setattr(datasets, "read_photograph", None)
        assert len(read_signatures(photographs(find_pairs(data)), tmp_path / "cache")) == 3
