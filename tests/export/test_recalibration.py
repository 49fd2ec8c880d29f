"""A finished model calibrated again: by its members out of fold, or on other data."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heldout import traced_disc
from numpy.typing import NDArray
from toy import Tiny, tiny_settings

from dermseg.cli.main import main
from dermseg.errors import DataError, UsageError
from dermseg.export import calibration, recalibration
from dermseg.export.exporter import export_model
from dermseg.export.recalibration import calibrate
from dermseg.imaging.images import write_image
from dermseg.imaging.mask_files import write_mask
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.modelfile.card import ModelCard, StyleFacts
from dermseg.modelfile.graph import member_model, member_tensors, put_card, read_model
from dermseg.training import networks
from dermseg.training.loop import train
from dermseg.training.protocol import train_protocol
from dermseg.training.run_folder import read_held_out

COUNT = 24


def photograph(chance: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    mask = traced_disc(200, *chance.uniform(80, 120, 2), 55)
    skin = chance.integers(150, 250, (200, 200, 3))
    return np.where(mask[..., None], skin // 3, skin).astype(np.uint8), mask


def write_data(folder: Path, seed: int) -> Path:
    chance = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(COUNT):
        pixels, mask = photograph(chance)
        write_image(folder / "images" / f"{number}.png", pixels)
        write_mask(folder / "masks" / f"{number}_segmentation.png", mask)
    return folder


def unseen_maps(
    model: Path, data: Path, folder: Path
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Return what a model predicts of the images that it has not seen, and by which network."""
    found: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recalibration, "sort_by_style", lambda *given: found.extend(given))
        recalibration.predict_unseen(model, data, cache=folder / "cache")
    return found[0], found[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and export once: an ensemble of two folds and a member that held nothing out."""
    folder = tmp_path_factory.mktemp("made")
    settings = tiny_settings(fold=None, folds=2, epochs=12, learning_rate=0.02, dropout=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "tiny", Tiny)
        train_protocol(write_data(folder / "data", 0), folder / "runs", settings)
        export_model([folder / "runs"], folder / "model.onnx")
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(calibration, "FEWEST", 10)
    return Path(shutil.copytree(made / "data", tmp_path / "data"))


@pytest.fixture
def model(made: Path, data: Path, tmp_path: Path) -> Path:
    """Return the ensemble's file, with `runs` and `data` beside it."""
    assert data.is_dir()
    shutil.copytree(made / "runs", tmp_path / "runs")
    return Path(shutil.copy(made / "model.onnx", tmp_path))


@pytest.mark.slow
def test_each_member_predicts_what_it_held_out(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    real = calibration.sort_by_style

    def remember(maps: dict[str, NDArray[np.float32]], *others: object) -> object:
        seen.update(maps)
        return real(maps, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("dermseg.export.recalibration.sort_by_style", remember)
    new = tmp_path / "new.onnx"
    card = calibrate(str(model), data, new, cache=tmp_path / "cache")
    held_out = read_held_out(tmp_path / "runs")
    assert seen.keys() == held_out.keys()
    for name, probability in held_out.items():
        np.testing.assert_allclose(seen[name], probability, atol=2e-3)  # kept in half precision
    assert Segmenter(new).card.to_json() == card.to_json()
    assert [facts.calibration is not None for facts in card.styles.values()] == [True]
    before, after = read_model(model), read_model(new)
    assert before[0].graph == after[0].graph
    assert before[1].members == after[1].members


@pytest.mark.slow
def test_on_other_data_the_whole_model_predicts(model: Path, tmp_path: Path) -> None:
    other = write_data(tmp_path / "other", 1)
    card = calibrate(model, other, tmp_path / "new.onnx", cache=tmp_path / "cache")
    (facts,) = card.styles.values()
    assert facts.confidence is not None
    assert facts.confidence["images"] == COUNT
    found = Segmenter(tmp_path / "new.onnx").segment(other / "images" / "0.png")
    whole = Segmenter(model).segment(other / "images" / "0.png")
    np.testing.assert_array_equal(found.probability, whole.probability)


@pytest.mark.slow
def test_a_style_that_the_data_do_not_teach_keeps_its_facts(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx

    proto, card = read_model(model)
    known = StyleFacts({"low": 0.35})
    put_card(proto, replace(card, styles={"semi-automatic": known}, note="By hand."))
    onnx.save_model(proto, model)
    other, new = write_data(tmp_path / "other", 1), tmp_path / "new.onnx"
    assert main(["calibrate", str(model), str(other), "-o", str(new)]) == 0
    found = read_model(new)[1]
    assert list(found.styles) == ["semi-automatic", "traced"]
    assert found.styles["semi-automatic"] == known
    assert found.note.startswith("By hand. semi-automatic: as before the last calibration")
    said = capsys.readouterr().err
    assert "semi-automatic: threshold at the border 0.35\n" in said
    assert found.note in said


@pytest.mark.slow
def test_other_trainings_held_out_images_count(model: Path, data: Path, tmp_path: Path) -> None:
    own = calibrate(model, data, tmp_path / "own.onnx", cache=tmp_path / "cache")
    runs = [tmp_path / "runs" / "fold-1"]
    card = calibrate(model, data, tmp_path / "new.onnx", cache=tmp_path / "cache", held_out_by=runs)
    (facts,), (others,) = card.styles.values(), own.styles.values()
    assert facts.confidence is not None
    assert others.confidence is not None
    held_out = read_held_out(tmp_path / "runs" / "fold-1")
    assert facts.confidence["images"] == len(held_out) < others.confidence["images"]
    assert read_model(model)[0].graph == read_model(tmp_path / "new.onnx")[0].graph


def changed(model: Path, splits: str = "", *, listed: bool = True) -> ModelCard:
    """Write `model` as if trained with --splits, or by a dermseg that lists no photographs."""
    import onnx

    proto, card = read_model(model)
    for member in card.members:
        member["settings"]["splits"] = splits
        if not listed:
            del member["seen"]
    put_card(proto, card)
    onnx.save_model(proto, model)
    return card


@pytest.mark.slow
@pytest.mark.parametrize("listed", [True, False])
def test_a_split_of_ones_own_says_what_members_have_seen(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    own = calibrate(model, data, tmp_path / "own.onnx", cache=tmp_path / "cache")
    splits, new = tmp_path / "splits.csv", tmp_path / "new.onnx"
    members = changed(model, str(splits), listed=listed).members
    expected = replace(own, members=members).to_json()
    if listed:  # the list says it, wherever the split is now
        assert calibrate(model, data, new, cache=tmp_path / "cache").to_json() == expected
    else:
        with pytest.raises(DataError, match=r"splits\.csv, which is not there; .* --held-out-by"):
            calibrate(model, data, new, cache=tmp_path / "cache")
    rows = [
        f"{name},{fold}"
        for fold in range(2)
        for name in read_held_out(tmp_path / "runs" / f"fold-{fold}")
    ]
    splits.write_text("\n".join(["image_id,fold", *rows]))
    assert calibrate(model, data, new, cache=tmp_path / "cache").to_json() == expected
    rows = [f"{number},{'train' if number < 12 else 'test'}" for number in range(COUNT)]
    splits.write_text("\n".join(["image_id,split", *rows]))
    if not listed:
        with pytest.raises(DataError, match="before they changed, and its file does not list"):
            calibrate(model, data, new, cache=tmp_path / "cache")
        return
    described: list[int] = []
    monkeypatch.setattr(
        "dermseg.export.recalibration.learn_appearance",
        lambda pairs, _: described.append(len(pairs)),
    )
    tested = calibrate(model, data, new, cache=tmp_path / "cache")
    (facts,) = tested.styles.values()
    assert facts.confidence is not None
    assert facts.confidence["images"] == 12
    assert described == [12]


@pytest.mark.slow
def test_of_data_that_have_grown_only_what_is_new_is_new(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_data(tmp_path / "other", 1)
    for number in range(3):
        for kind, ending in (("images", ""), ("masks", "_segmentation")):
            shutil.copy(
                other / kind / f"{number}{ending}.png", data / kind / f"new-{number}{ending}.png"
            )
    for kind, ending in (("images", ""), ("masks", "_segmentation")):  # a name hides nothing
        (data / kind / f"0{ending}.png").rename(data / kind / f"renamed{ending}.png")
    maps, fold_of = unseen_maps(model, data, tmp_path)
    assert {name for name, fold in fold_of.items() if fold == "whole"} == {
        f"new-{number}" for number in range(3)
    }
    held_out = read_held_out(tmp_path / "runs" / "fold-1")
    names = {"renamed" if name == "0" else name for name in held_out}
    assert {name for name, fold in fold_of.items() if fold == "fold-1"} == names
    assert len(maps) == COUNT + 3
    line = (
        "of 27 images, 3 count as new to the model, 24 were held out by a member, and 0 were seen"
    )
    assert line in capsys.readouterr().err


@pytest.mark.slow
def test_what_every_member_has_seen_does_not_count(
    model: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(networks.NETWORKS, "tiny", Tiny)
    export_model([tmp_path / "runs" / "all"], model)
    with pytest.raises(DataError, match="0 held-out images are too few"):
        calibrate(model, data, tmp_path / "new.onnx", cache=tmp_path / "cache")
    assert "24 were seen by all and do not count\n" in capsys.readouterr().err
    settings = tiny_settings(fold=None, epochs=1, fine_tune_from=str(tmp_path / "runs" / "all"))
    train(write_data(tmp_path / "other", 1), tmp_path / "tuned", settings)
    export_model([tmp_path / "tuned"], tmp_path / "tuned.onnx")
    assert unseen_maps(tmp_path / "tuned.onnx", data, tmp_path)[0] == {}
    said = capsys.readouterr().err
    assert "0 were held out by a member, and 24 were seen by all and do not count\n" in said
    _, card = read_model(tmp_path / "tuned.onnx")
    del card.members[0]["fine_tuned_from"]["seen"]
    line = recalibration.describe_unseen(np.ones((1, 3), np.bool_), card)
    assert line.endswith("; its file does not list all photographs that it may have seen")


@pytest.mark.slow
def test_a_model_that_lists_no_photographs_says_so(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(model, listed=False)
    other = write_data(tmp_path / "other", 1)
    assert set(unseen_maps(model, other, tmp_path)[1].values()) == {"whole"}
    said = capsys.readouterr().err
    assert "24 count as new to the model" in said
    assert "; its file does not list all photographs that it may have seen\n" in said
    assert set(unseen_maps(model, data, tmp_path)[1].values()) == {"fold-0", "fold-1"}
    assert "count as new" not in capsys.readouterr().err


@pytest.mark.slow
def test_members_of_an_ensemble_average_to_it(model: Path, data: Path, tmp_path: Path) -> None:
    import onnx

    proto, card = read_model(model)
    pixels = read_photograph(data / "images" / "3.png").pixels
    parts = []
    for index in range(len(card.members)):
        onnx.save_model(member_model(proto, index), tmp_path / "alone.onnx")
        parts.append(Segmenter(tmp_path / "alone.onnx").probability(pixels))
    whole = Segmenter(model).probability(pixels)
    assert np.abs(parts[0] - parts[1]).max() > 0.01
    np.testing.assert_allclose(np.mean(parts, 0), whole, atol=1e-5)


def test_a_networks_own_scale_is_one_of_its_weights() -> None:
    from onnx import helper, numpy_helper

    stored = {
        "layer_scale": np.full(3, 0.5, np.float32),
        "w_quantized": np.array([[2], [4]], np.int8),
        "w_scale": np.array([0.5, 0.25], np.float32),
        "w_zero_point": np.zeros(2, np.int8),
        "b_quantized": np.array([8, 16], np.int32),
        "b_quantized_scale": np.array([0.5, 0.25], np.float32),
        "b_quantized_zero_point": np.zeros(2, np.int32),
    }
    weights = [numpy_helper.from_array(a, f"networks.0.{name}") for name, a in stored.items()]
    proto = helper.make_model(helper.make_graph([], "a network", [], [], weights))
    found = {name: array.tolist() for name, array in member_tensors(proto, 0).items()}
    assert found == {"layer_scale": [0.5] * 3, "w": [[1.0], [1.0]], "b": [4.0, 4.0]}


def test_a_network_with_sigmoids_inside_is_taken_whole() -> None:
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = [], []
    for n in range(2):
        weights.append(numpy_helper.from_array(np.ones(1, np.float32), f"networks.{n}.weight"))
        nodes += [
            helper.make_node("Mul", ["x", f"networks.{n}.weight"], [f"a{n}"]),
            helper.make_node("Sigmoid", [f"a{n}"], [f"gate{n}"]),
            helper.make_node("Mul", [f"gate{n}", f"a{n}"], [f"b{n}"]),
            helper.make_node("Sigmoid", [f"b{n}"], [f"p{n}"]),
        ]
    nodes.append(helper.make_node("Add", ["p0", "p1"], ["y"]))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    proto = helper.make_model(helper.make_graph(nodes, "an ensemble", [x], [y], weights))
    for n in range(2):
        found = member_model(proto, n).graph
        outputs = [node.output[0] for node in found.node]
        assert outputs == [f"a{n}", f"gate{n}", f"b{n}", f"p{n}", "y"]
        assert [each.name for each in found.initializer] == [f"networks.{n}.weight"]


def test_too_few_photographs_and_a_wrong_name(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", 0)
    with pytest.raises(DataError, match="24 held-out images are too few"):
        calibrate("cdnn29", data, tmp_path / "new.onnx", cache=tmp_path / "cache")
    assert not (tmp_path / "new.onnx").exists()
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        calibrate("cdnn29", data, tmp_path / "new", cache=tmp_path / "cache")
