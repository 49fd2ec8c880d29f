"""Calibration on data of which the truth is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from heldout import discs, made_up, traced_disc

from dermseg.data.layouts import Pair
from dermseg.errors import DataError
from dermseg.export import calibration
from dermseg.export.calibration import (
    FAILURE,
    NEVER,
    POINTS,
    RISK,
    border_of,
    fit,
    gather,
    read_along,
    split_of,
)
from dermseg.export.rating import Quality, judge
from dermseg.imaging.images import write_image
from dermseg.imaging.mask_files import write_mask
from dermseg.modelfile.card import ModelCard
from dermseg.training.run_folder import write_held_out

pytestmark = pytest.mark.slow


def test_the_split_is_that_of_the_trainings_where_it_is_of_these_data(tmp_path: Path) -> None:
    for name in "abc":
        for folder in ("images", "masks"):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / folder / f"{name}.png").touch()
    splits = tmp_path / "splits.csv"
    card = ModelCard(({"settings": {"splits": str(splits)}},), 0.0)
    assert len(split_of(card, tmp_path / "data").training) == 3
    splits.write_text("image_id,split\na,train\nb,test\nc,val\n")
    assert [pair.image_id for pair in split_of(card, tmp_path / "data").training] == ["a"]
    splits.write_text("image_id,split\nother,train\n")
    assert len(split_of(card, tmp_path / "data").training) == 3


class TestFit:
    def test_it_finds_what_explains_the_index(self) -> None:
        known = fit(made_up(4000, 0.001))
        assert known.weights == pytest.approx((0.8, 0.05, -0.04, 0.03, 0.0, 0.06), abs=0.01)
        np.testing.assert_allclose(known.scores, known.jaccard, atol=0.02)

    def test_a_surer_mask_is_never_said_to_be_worse(self) -> None:
        known = fit(made_up(1000, 0.2))
        for values in (known.scores, known.jaccard, known.low, known.high):
            assert (np.diff(values) >= 0).all()
        assert (np.array(known.low) <= known.jaccard).all()
        assert (np.array(known.jaccard) <= known.high).all()

    def test_its_intervals_and_its_flag_hold_on_new_images(self) -> None:
        """Over twenty worlds, the promise of the flag may fail in about two."""
        covered, broken = [], 0
        for seed in range(20):
            known = fit(made_up(1500, 0.06, seed))
            new = made_up(20_000, 0.06, 1000 + seed)
            scores, jaccard = known.score(new.evidence), new.jaccard
            low, high = (np.interp(scores, known.scores, v) for v in (known.low, known.high))
            covered.append(((low <= jaccard) & (jaccard <= high)).mean())
            kept = scores >= known.flag_below
            assert 0.3 < kept.mean() < 1
            assert abs(kept.mean() - known.unflagged) < 0.05
            broken += (jaccard[kept] < FAILURE).mean() > RISK
        assert 0.87 < np.mean(covered) < 0.93
        assert broken <= 5

    def test_where_nothing_can_be_promised_everything_is_flagged(self) -> None:
        held = made_up(1000, 0.01)
        known = fit(replace(held, jaccard=np.where(np.arange(1000) % 3, held.jaccard, 0.1)))
        assert (known.flag_below, known.unflagged) == (NEVER, 0)

    def test_where_nothing_fails_nothing_is_flagged(self) -> None:
        held = made_up(1000, 0.01)
        known = fit(replace(held, jaccard=held.jaccard.clip(0.7, 1)))
        assert known.unflagged == 1
        assert known.flag_below <= known.score(held.evidence).min()


class TestBand:
    def test_it_leaves_a_twentieth_of_the_border_on_either_side(self) -> None:
        maps, border = discs(600)
        known = fit(replace(made_up(600, 0.1), maps=maps, border=border))
        assert known.outer < 0.5 < known.inner
        new = [
            read_along(probability.astype(np.float32), places)
            for probability, places in zip(*discs(2000, seed=1), strict=True)
        ]
        assert 0.03 < np.mean(np.array(new) < known.outer) < 0.07
        assert 0.03 < np.mean(np.array(new) > known.inner) < 0.07

    def test_few_images_make_it_wider(self) -> None:
        maps, border = discs(15)
        known = fit(replace(made_up(15, 0.1), maps=maps, border=border))
        values = [read_along(m.astype(np.float32), b) for m, b in zip(maps, border, strict=True)]
        assert known.outer == np.min(values), "a fifteenth more than nothing would be too much"
        assert known.inner == np.max(values)

    def test_without_a_border_it_is_everything(self) -> None:
        known = fit(made_up(300, 0.1))
        assert (known.outer, known.inner) == (0, 1)


class TestBorder:
    def test_it_is_read_in_pixels_of_the_map(self) -> None:
        truth = np.zeros((400, 600), np.bool_)
        truth[100:300, 150:450] = True
        places = border_of(truth, (40, 60))
        assert places.shape == (POINTS, 2)
        assert places.min(0) == pytest.approx((14.55, 9.55))
        assert places.max(0) == pytest.approx((44.45, 29.45))
        ramp = np.tile(np.arange(60, dtype=np.float32), (40, 1))
        np.testing.assert_allclose(read_along(ramp, places), places[:, 0], atol=0.04)

    def test_the_photographs_edge_is_not_one(self) -> None:
        truth = np.zeros((40, 60), np.bool_)
        truth[:, :20] = True
        assert (border_of(truth, (40, 60))[:, 0] == 19).all()

    @pytest.mark.parametrize("whole", [False, True])
    def test_there_may_be_none(self, whole: bool) -> None:
        places = border_of(np.full((40, 60), whole), (40, 60))
        assert np.isnan(places).all()
        assert np.isnan(read_along(np.ones((40, 60), np.float32), places)).all()


def test_predictions_are_taken_from_all_folds(tmp_path: Path) -> None:
    """The blurred are misplaced, and are known by their blur."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    for fold in range(2):
        run = tmp_path / "runs" / f"fold-{fold}"
        run.mkdir(parents=True)
        for name in ("settings.json", "weights.safetensors", "samples.npy"):
            (run / name).touch()
        names = [f"{fold}-{number}" for number in range(120)]
        maps = []
        for name in names:
            centre = chance.uniform(5, 11, 2)
            truth = traced_disc(320, *(20 * (centre + 0.5) - 0.5), 80)
            write_mask(tmp_path / "data" / "masks" / f"{name}.png", truth)
            path = tmp_path / "data" / "images" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, np.zeros((16, 16, 3), np.uint8))
            blur = chance.uniform(0.3, 3)
            off = chance.normal(0, blur / 2, 2)
            seen = np.hypot(y - centre[0] - off[0], x - centre[1] - off[1])
            maps.append(1 / (1 + np.exp((seen - 4) / blur)))
        write_held_out(run, names, np.array(maps, np.float32), np.zeros(len(names), np.bool_))
    (held,) = gather([tmp_path / "runs"], tmp_path / "data").values()
    assert sorted(held.names) == sorted(f"{fold}-{k}" for fold in range(2) for k in range(120))
    assert set(zip(held.fold_of, (name[0] for name in held.names), strict=True)) == {
        ("fold-0", "0"),
        ("fold-1", "1"),
    }
    folders = [tmp_path / "runs", tmp_path / "runs" / "fold-1"]
    (twice,) = gather(folders, tmp_path / "data").values()
    assert sorted(twice.names) == sorted(held.names), "an image counts once"
    quality = Quality.of(judge(held))
    assert fit(held).images == quality.images == 240
    assert quality.rank_correlation > 0.5
    (tmp_path / "data" / "masks" / f"{held.names[0]}.png").unlink()
    (tmp_path / "data" / "images" / f"{held.names[0]}.png").unlink()
    with pytest.raises(DataError, match="1 predictions are of images that the data lack"):
        gather([tmp_path / "runs"], tmp_path / "data")
    assert quality.within == pytest.approx(0.9, abs=0.05)


def test_each_source_has_the_same_say_in_the_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many images one source has, the threshold does not move to it."""
    monkeypatch.setattr(calibration, "FEWEST", 1)
    write_mask(tmp_path / "truth.png", traced_disc(320, 159.5, 159.5, 80))
    pair = Pair("any", tmp_path / "truth.png", tmp_path / "truth.png")
    y, x = np.mgrid[:64, :64] - 31.5
    away = np.hypot(y, x) / 16

    def chosen(copies: dict[float, int]) -> float:
        """Return the threshold, by how many images have their true border at which probability."""
        sources = [level for level, count in copies.items() for _ in range(count)]
        maps = {
            str(number): (level + 1 - away).clip(0, 1).astype(np.float32)
            for number, level in enumerate(sources)
        }
        fold_of = {str(number): str(level) for number, level in enumerate(sources)}
        (held,) = calibration.sort_by_style(maps, fold_of, dict.fromkeys(maps, pair)).values()
        return held.thresholds.low

    assert chosen({0.3: 1}) == pytest.approx(0.3, abs=0.051)
    assert chosen({0.3: 20, 0.5: 1, 0.55: 1}) == chosen({0.3: 1, 0.5: 1, 0.55: 1}) >= 0.45


def test_too_few_images(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("settings.json", "weights.safetensors", "samples.npy"):
        (run / name).touch()
    write_mask(tmp_path / "data" / "masks" / "a.png", np.ones((4, 4), np.bool_))
    (tmp_path / "data" / "images").mkdir()
    write_image(tmp_path / "data" / "images" / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="0 held-out images are too few"):
        gather([run], tmp_path / "data")
