"""Methods without training: what they find in a drawn lesion, and how they are chosen."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy import Tiny, draw_picture

from dermseg.data.datasets import Cache
from dermseg.data.layouts import find_all_pairs
from dermseg.errors import DataError
from dermseg.evaluation.maps import binariser
from dermseg.experiments import crossfit as module
from dermseg.experiments.baselines import BASELINES, Baseline, dense_crf
from dermseg.experiments.baselines.baseline import Parameters
from dermseg.experiments.crossfit import Images, Method, choices, crossfit, open_images
from dermseg.experiments.registry import Experiment
from dermseg.experiments.scoring import Scorer
from dermseg.experiments.study import Study, Trained
from dermseg.imaging.images import Pixels
from dermseg.masks.metrics import score
from dermseg.masks.postprocess import Probability
from dermseg.settings import DataSettings, ThresholdSettings
from dermseg.training import networks
from dermseg.training.run_folder import read_held_out, write_held_out

NAMES = [f"ISIC_{number:07}" for number in range(8)]


@pytest.mark.parametrize("name", BASELINES)
def test_it_finds_a_dark_disc_on_noisy_skin(name: str) -> None:
    baseline, binarise = BASELINES[name], binariser(ThresholdSettings())
    pictures = [draw_picture(seed, 48, 64) for seed in range(3)]
    best = 0.0
    for parameters in baseline.candidates:
        found = [baseline.segment(pixels, **parameters) for pixels, _ in pictures]
        assert all(each.dtype == np.float32 and each.shape == (48, 64) for each in found)
        assert 0 <= np.min(found) <= np.max(found) <= 1
        scores = [
            score(mask > 0, binarise(each, 48, 64)).jaccard
            for each, (_, mask) in zip(found, pictures, strict=True)
        ]
        best = max(best, float(np.mean(scores)))
    assert best > 0.85


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_of_one_colour_is_no_error(name: str, value: int) -> None:
    pixels = np.full((16, 24, 3), value, np.uint8)
    for parameters in BASELINES[name].candidates[:2]:
        found = BASELINES[name].segment(pixels, **parameters)
        assert np.isfinite(found).all()


def test_the_crf_moves_a_border_to_the_colours_edge() -> None:
    pixels = np.full((32, 32, 3), 200, np.uint8)
    pixels[:, 16:] = 60
    probability = np.full((32, 32), 0.2, np.float32)
    probability[:, 14:] = 0.8
    found = dense_crf.refine(pixels, probability, place=0.3, color=0.05, bilateral=3.0)
    assert found.dtype == np.float32
    wrong = [
        np.count_nonzero((each >= 0.5) != (pixels[..., 0] < 100)) for each in (probability, found)
    ]
    assert wrong[1] < wrong[0] / 2


def draw_images() -> Images:
    pictures = [draw_picture(seed) for seed in range(len(NAMES))]
    pixels = np.stack([picture.transpose(2, 0, 1) for picture, _ in pictures])
    masks = np.stack([mask for _, mask in pictures])
    flags = np.ones(len(NAMES), np.uint8), np.zeros(len(NAMES), np.bool_)
    cache = Cache(NAMES, pixels, masks, "a digest", *flags)
    return Images.of(cache)


def hold_out(run: Path, names: list[str]) -> None:
    count = len(names)
    write_held_out(run, names, np.zeros((count, 32, 32), np.float32), np.zeros(count, np.bool_))


@pytest.fixture
def reference(tmp_path: Path) -> Trained:
    """Return a training whose first fold held out the first five images, the second the others."""
    runs = [tmp_path / "run" / f"fold-{fold}" for fold in range(2)]
    for run, held_out in zip(runs, (NAMES[:5], NAMES[5:]), strict=True):
        hold_out(run, held_out)
    return Trained("net", "a network", {0: runs})


def method(images: Images, right: Callable[[str], str], calls: list[str]) -> Method:
    """Return one that is right about an image if its parameter is what `right` says."""

    def predict(seed: int, image: str, parameters: Parameters) -> Probability:
        calls.append(image)
        truth = images.cache.masks[images.rows[image]] / np.float32(255)
        return truth if parameters["way"] == right(image) else np.zeros_like(truth)

    return Method("m", "a method", "a test", [{"way": "a"}, {"way": "b"}], predict)


def test_a_fold_is_predicted_by_what_was_best_on_the_others(
    tmp_path: Path, reference: Trained
) -> None:
    images = draw_images()
    calls: list[str] = []
    own = method(images, lambda image: "a" if image in NAMES[:5] else "b", calls)
    found = crossfit(own, reference, images, tmp_path / "out")
    assert choices(found) == [{"way": "b"}, {"way": "a"}]
    assert [sorted(read_held_out(run)) for run in found.runs[0]] == [NAMES[:5], NAMES[5:]]
    for run in found.runs[0]:
        for image, probability in read_held_out(run).items():
            assert images.jaccard(image, probability) == 0, "what was best on itself is not used"
    known = json.loads((tmp_path / "out/chosen/m/seed-0/search.json").read_text())
    assert known["mean"] == pytest.approx([5 / 8, 3 / 8])
    # A second time nothing is done; when a fold is missing only that is.
    calls.clear()
    crossfit(own, reference, images, tmp_path / "out")
    assert not calls
    (found.runs[0][1] / module.CHOICE).unlink()
    crossfit(own, reference, images, tmp_path / "out")
    assert calls == NAMES[5:]


def test_other_facts_are_found_again(tmp_path: Path, reference: Trained) -> None:
    images = draw_images()
    calls: list[str] = []
    own = method(images, lambda _: "a", calls)
    crossfit(own, reference, images, tmp_path / "out")
    calls.clear()
    changed = Method(own.name, own.label, own.source, own.candidates, own.predict, {"of": "other"})
    crossfit(changed, reference, images, tmp_path / "out")
    assert len(calls) == 3 * len(NAMES)


def test_a_search_that_is_read_again_makes_the_same_choice(
    tmp_path: Path, reference: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(_seed: int, _image: str, parameters: Parameters) -> Probability:
        return np.full((32, 32), parameters["way"], np.float32)

    monkeypatch.setattr(Images, "jaccard", lambda _, __, found: float(found.mean()))
    nearly = Method("m", "a method", "a test", [{"way": 0.500001}, {"way": 0.500003}], predict)
    found = crossfit(nearly, reference, draw_images(), tmp_path / "out")
    first = choices(found)
    for run in found.runs[0]:
        (run / module.CHOICE).unlink()
    assert choices(crossfit(nearly, reference, draw_images(), tmp_path / "out")) == first


def test_the_halves_of_a_single_fold_choose_for_each_other(
    tmp_path: Path, reference: Trained
) -> None:
    images = draw_images()
    alone = Trained("net", "a network", {0: reference.runs[0][:1]})
    first, second = NAMES[:5:2], NAMES[1:5:2]
    own = method(images, lambda image: "a" if image in first else "b", [])
    found = crossfit(own, alone, images, tmp_path / "out")
    assert choices(found) == [{"way": "b"}, {"way": "a"}]
    assert [sorted(read_held_out(run)) for run in found.runs[0]] == [first, second]


@pytest.mark.parametrize("searched", [4, 3])
def test_each_part_is_searched_on_as_many_images_of_the_others(
    tmp_path: Path, reference: Trained, monkeypatch: pytest.MonkeyPatch, searched: int
) -> None:
    monkeypatch.setattr(module, "SEARCHED", searched)
    images = draw_images()
    own = method(images, lambda _: "a", [])
    for given in (reference, Trained("half", "a network", {0: reference.runs[0][:1]})):
        output = tmp_path / given.name
        found = crossfit(own, given, images, output)
        tried = json.loads((output / "chosen/m/seed-0/search.json").read_text())["images"]
        parts = [set(read_held_out(run)) for run in found.runs[0]]
        assert [len(part.intersection(tried)) for part in parts] == [searched // 2] * 2


def test_a_single_image_leaves_nothing_to_choose_by(tmp_path: Path) -> None:
    images = draw_images()
    hold_out(tmp_path / "fold-0", NAMES[:1])
    alone = Trained("net", "a network", {0: [tmp_path / "fold-0"]})
    with pytest.raises(DataError, match="too few images"):
        crossfit(method(images, lambda _: "a", []), alone, images, tmp_path / "out")


def test_held_out_images_may_lie_in_other_folders(toy_data: Path, tmp_path: Path) -> None:
    (toy_data / "val").mkdir()
    for folder in ("images", "masks"):
        (toy_data / folder).rename(toy_data / "val" / folder)
    pairs = {pair.image_id: pair for pair in find_all_pairs(toy_data)}
    study = Study(
        name="toy",
        experiment=Experiment("a toy"),
        output=tmp_path / "out",
        arms=[],
        scorer=Scorer(tmp_path / "out", pairs, tmp_path / "ledger.csv"),
        scored_set=None,
        data=toy_data,
        data_settings=DataSettings(),
    )
    images = open_images(study, {0: {NAMES[3]: np.zeros((32, 32), np.float32)}})
    assert images.pixels(NAMES[3]).shape == (32, 32, 3)
    assert images.cache.image_ids == [NAMES[3]]


def darkest(pixels: Pixels, *, level: int) -> Probability:
    return (pixels.max(2) < level).astype(np.float32)


@pytest.mark.slow
def test_a_new_baseline_is_one_file_and_one_line(
    experiment: Callable[..., Path], toy_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registered, it is searched, scored, drawn, combined and judged like the others."""
    monkeypatch.setitem(networks.NETWORKS, "cdnn29", Tiny)
    kept = {"otsu": BASELINES["otsu"], "active-contour": BASELINES["active-contour"]}
    for name in BASELINES.keys() - kept.keys():
        monkeypatch.delitem(BASELINES, name)
    monkeypatch.setitem(
        BASELINES, "darkest", Baseline("darkest", "", darkest, {"level": (10, 100)})
    )
    page = experiment("baselines", epochs=1)
    text = page.read_text()
    assert "| darkest | 15 | 1 |" in text
    assert "| CDNN-29 with darkest | 15 | 1 |" in text
    assert "level 100 (2 of 2 parts)" in text
    content = json.loads(page.with_suffix(".json").read_text())
    claims = {verdict["claim"]: verdict["outcome"] for verdict in content["verdicts"]}
    assert claims["darkest beats Otsu's threshold"] in ("supported", "not supported", "undecided")
    assert "a CRF after the network lowers the Jaccard index" in claims
    assert content["beside"] == ["baselines-methods.csv"]
    before = {file: file.read_bytes() for file in page.parent.glob("baselines*")}
    monkeypatch.setattr(module, "_search", None)
    assert experiment("baselines", epochs=1) == page
    assert before == {file: file.read_bytes() for file in page.parent.glob("baselines*")}
