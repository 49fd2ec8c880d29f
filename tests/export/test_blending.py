from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dermseg.cli.main import main
from dermseg.errors import DataError, UsageError
from dermseg.export.blending import choose_shares
from dermseg.imaging.images import write_image, write_mask

Maps = NDArray[np.float32]
NAMES = ["a", "b", "c", "d"]


def hold_out(folder: Path, maps: Maps, names: list[str] = NAMES) -> Path:
    """Write `maps`, one for each of `names`, as two folds' predictions."""
    for fold, part in enumerate((slice(0, 2), slice(2, None))):
        run = folder / f"fold-{fold}"
        run.mkdir(parents=True)
        np.savez(run / "held-out.npz", image_ids=np.array(names[part]), probability=maps[part])
    return folder


@pytest.fixture
def truth(tmp_path: Path) -> NDArray[np.bool_]:
    """Return the masks of a data set: lesions in the upper left quarter."""
    masks = np.zeros((4, 16, 16), np.bool_)
    masks[:, :8, :8] = True
    for name, mask in zip(NAMES, masks, strict=True):
        write_mask(tmp_path / "data" / "masks" / f"{name}.png", mask)
        path = tmp_path / "data" / "images" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        write_image(path, np.zeros((16, 16, 3), np.uint8))
    return masks


def test_the_shares_are_those_that_find_the_lesion(
    tmp_path: Path, truth: NDArray[np.bool_]
) -> None:
    """Each model alone sees half too much, surely; what both see is above one half together."""
    one, other = truth * np.float32(0.9), truth * np.float32(0.9)
    one[:, :8, 8:] = 0.7  # wrong with 0.7: gone from a share of 0.7 downwards
    other[:, 8:, :8] = 0.9  # wrong with 0.9: gone from a share of 0.5 downwards
    folders = [hold_out(tmp_path / "one", one), hold_out(tmp_path / "other", other)]
    shares, best, equal = choose_shares(folders, tmp_path / "data")
    assert shares in ([0.5, 0.5], [0.6, 0.4], [0.7, 0.3])
    assert shares == [0.5, 0.5], "the evenest of equals"
    assert best == equal == 1
    other[:, 8:, :8] = 1.0  # one half of it is one half: only lesser shares leave it out
    hold_out(tmp_path / "surer", other)
    shares, best, equal = choose_shares([folders[0], tmp_path / "surer"], tmp_path / "data")
    assert shares == [0.6, 0.4]
    assert (best, equal) == (1, 0.5)


def test_of_three_that_are_equal_each_has_about_a_third(
    tmp_path: Path, truth: NDArray[np.bool_]
) -> None:
    folders = [hold_out(tmp_path / name, truth * np.float32(0.9)) for name in ("a", "b", "c")]
    shares, best, equal = choose_shares(folders, tmp_path / "data")
    assert sorted(shares) == [0.3, 0.3, 0.4]
    assert best == equal == 1


def test_a_useless_model_gets_nothing(tmp_path: Path, truth: NDArray[np.bool_]) -> None:
    good, bad = truth * np.float32(0.51), (~truth).astype(np.float32)
    folders = [hold_out(tmp_path / "bad", bad), hold_out(tmp_path / "good", good)]
    shares, best, _ = choose_shares(folders, tmp_path / "data")
    assert shares == [0.0, 1.0]
    assert best == 1


@pytest.mark.parametrize("names", [["a", "b", "c", "e"], ["a", "b", "c"]])
def test_trainings_with_other_folds_cannot_be_weighed(
    tmp_path: Path, truth: NDArray[np.bool_], names: list[str]
) -> None:
    maps = truth.astype(np.float32)
    folders = [
        hold_out(tmp_path / "one", maps),
        hold_out(tmp_path / "other", maps[: len(names)], names),
    ]
    with pytest.raises(UsageError, match="the same folds"):
        choose_shares(folders, tmp_path / "data")


def test_trainings_on_other_data_cannot_be_weighed(
    tmp_path: Path, truth: NDArray[np.bool_]
) -> None:
    maps = truth.astype(np.float32)
    folders = [hold_out(tmp_path / name, maps, ["a", "b", "c", "x"]) for name in ("one", "other")]
    with pytest.raises(DataError, match="1 predictions are of images that the data lack, as x"):
        choose_shares(folders, tmp_path / "data")


def test_shares_are_given_or_chosen_not_both(
    tmp_path: Path, truth: NDArray[np.bool_], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(hold_out(tmp_path / "one", truth.astype(np.float32)))
    arguments = ["export", folder, "-o", str(tmp_path / "model.onnx"), "--shares", "1"]
    assert main([*arguments, "--weigh-on", str(tmp_path / "data")]) == 2
    assert "exclude each other" in capsys.readouterr().err
