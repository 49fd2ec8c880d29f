from pathlib import Path

import cv2
import numpy as np
import pytest

from dermseg.data.layouts import Pair
from dermseg.evaluation.maps import evaluate_maps, score_thresholds
from dermseg.imaging.mask_files import write_mask
from dermseg.settings import Rule, ThresholdSettings


@pytest.mark.parametrize("rule", ["complete", "paper"])
def test_many_thresholds_score_as_each_does_alone(tmp_path: Path, rule: Rule) -> None:
    """Though a mask that several pairs agree on is made once."""
    chance = np.random.default_rng(0)
    maps = {}
    for name in "abcdef":
        noise = cv2.GaussianBlur(chance.random((24, 32)), (0, 0), 2.5).astype(np.float32)
        maps[name] = (noise - noise.min()) / np.ptp(noise)
    masks = {}
    for number, name in enumerate(maps):
        path = tmp_path / f"{name}.png"
        write_mask(path, np.random.default_rng(number).random((48, 64)) < 0.4)
        masks[name] = Pair(name, path, path)
    choices = [
        ThresholdSettings(rule, high, low)
        for high in (0.6, 0.75, 0.9, 1.0)
        for low in (0.3, 0.5, 0.6)
    ]
    found = score_thresholds(maps, masks, choices)
    assert list(found) == list(maps)
    for column, thresholds in enumerate(choices):
        alone = evaluate_maps(maps, masks, thresholds).images
        assert {name: scores[column] for name, scores in found.items()} == alone
    assert len({scores[0] for scores in found.values()}) == 6
    for scores in found.values():
        assert len(set(scores)) > 2


def test_a_portraits_map_lies_as_its_mask(tmp_path: Path) -> None:
    truth = np.zeros((64, 48), np.bool_)
    truth[5:30, 10:20] = True
    write_mask(tmp_path / "a.png", truth)
    maps = {"a": truth.astype(np.float32)}
    pair = Pair("a", tmp_path / "a.png", tmp_path / "a.png")
    found = evaluate_maps(maps, {"a": pair}, ThresholdSettings())
    assert found.images["a"].jaccard > 0.9
