"""Training that starts from a finished model's file: the file's network, ready to be trained on."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from toy import Tiny, tiny_settings, write_data

from dermseg.errors import DataError, ModelError, UsageError
from dermseg.export.exporter import export_model
from dermseg.imaging.images import resize
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.inference.session import open_session
from dermseg.modelfile.graph import member_tensors, put_card, read_model
from dermseg.settings import CHANNEL_COUNT, TrainingSettings
from dermseg.training import checkpoints, fine_tuning, networks
from dermseg.training.color import ColorChannels
from dermseg.training.loop import train
from dermseg.training.run_folder import SAMPLES, WEIGHTS
from dermseg.weights import MODELS, find_model

pytestmark = pytest.mark.slow

Maker = Callable[..., TrainingSettings]
Examples = list[tuple[Path, Path]]


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_becomes_a_network_that_computes_the_same(
    name: str, examples: Examples
) -> None:
    file = find_model(name)
    segmenter = Segmenter(name)
    pixels = np.stack(
        [
            resize(read_photograph(path).pixels, segmenter.height, segmenter.width)
            for path, _ in examples
        ]
    )
    session = open_session(file, "cpu")
    given = {"photographs": pixels, "style": np.array([1])}
    names = [entry.name for entry in session.get_inputs()]
    (expected,) = session.run(None, {name: given[name] for name in names})
    proto, card = read_model(file)
    members = card.members
    for index in sorted({0, len(members) - 1}):
        settings = TrainingSettings.from_dict(members[index]["settings"])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        shown = ColorChannels(settings.channels)(images.float() / 255)
        state = fine_tuning.restore_batch_norms(settings, member_tensors(proto, index), shown)
        network = networks.build(settings.network, CHANNEL_COUNT[settings.channels], 0.5).eval()
        network.load_state_dict(state)
        with torch.inference_mode():
            channels = ColorChannels(settings.channels)(images.float() / 255)
            told = (torch.tensor([1]),) if segmenter.draws_styles else ()
            found = network(channels, *told).sigmoid().numpy()
        # An ensemble's member is near the ensemble, and its own 8 bits are not the network's.
        agreement = ((found > 0.5) & (expected > 0.5)).sum() / (
            (found > 0.5) | (expected > 0.5)
        ).sum()
        assert agreement > (0.95 if len(members) == 1 else 0.9)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and export once; each test has copies, on the same data."""
    folder = tmp_path_factory.mktemp("made")
    data = write_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "tiny", Tiny)
        for fold in (0, 1):
            settings = tiny_settings(epochs=12, learning_rate=0.02, fold=fold)
            train(data, folder / "first" / f"fold-{fold}", settings)
        export_model([folder / "first" / "fold-0"], folder / "first.onnx")
    return folder


def unlist(file: Path) -> None:
    """Make a model file one that does not list its photographs."""
    proto, card = read_model(file)
    members = tuple({k: v for k, v in each.items() if k != "seen"} for each in card.members)
    put_card(proto, replace(card, members=members))
    onnx.save(proto, file)


class TestFromAToyModel:
    @pytest.fixture
    def first(self, made: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(made / "first", tmp_path / "first"))

    @pytest.fixture
    def file(self, made: Path, tmp_path: Path) -> Path:
        return Path(shutil.copy(made / "first.onnx", tmp_path))

    def test_restoring_batch_norms_undoes_export(
        self, first: Path, file: Path, tiny: Maker
    ) -> None:
        proto, _ = read_model(file)
        kept = torch.from_numpy(np.load(first / "fold-0" / SAMPLES)).permute(0, 3, 1, 2)
        shown = ColorChannels("rgb-hsv-l")(kept[:5].float() / 255)
        state = fine_tuning.restore_batch_norms(tiny(), member_tensors(proto, 0), shown)
        trained, _ = checkpoints.load(first / "fold-0" / WEIGHTS)
        assert state.keys() == trained.keys()
        found = []
        for tensors in (state, trained):
            network = networks.build("tiny", 7, 0.5).eval()
            network.load_state_dict(tensors)
            with torch.inference_mode():
                found.append(network(ColorChannels("rgb-hsv-l")(kept.float() / 255)).sigmoid())
        assert np.ptp(found[0].numpy()) > 0.1, "a constant would prove nothing"
        torch.testing.assert_close(found[0], found[1], atol=2e-3, rtol=0)  # half precision

    def test_a_training_begins_where_the_model_ended(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, file: Path
    ) -> None:
        losses = {}
        for name, given in (("again", str(file)), ("new", "")):
            settings = tiny(epochs=1, fine_tune_from=given, learning_rate=1e-9)
            train(toy_data, tmp_path / name, settings)
            _, facts = checkpoints.load(tmp_path / name / WEIGHTS)
            losses[name] = facts["final_loss"]
            if given:
                origin = facts["fine_tuned_from"]
                assert origin["model"] == "first.onnx"
                assert origin["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
                assert origin["epochs"] == 12
                assert origin["apart"] is True  # the same data, and the same fold
                assert origin["newly_initialised"] == []
        assert losses["again"] < 0.8 * losses["new"]

    def test_an_ensembles_member_for_the_same_fold_is_taken(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, first: Path
    ) -> None:
        export_model([first], tmp_path / "both.onnx")
        settings = tiny(
            epochs=1, fold=1, learning_rate=1e-9, fine_tune_from=str(tmp_path / "both.onnx")
        )
        train(toy_data, tmp_path / "run", settings)
        (origin,) = [checkpoints.load(tmp_path / "run" / WEIGHTS)[1]["fine_tuned_from"]]
        assert origin["settings"]["fold"] == 1
        with pytest.raises(ModelError, match="none of its members holds out fold 2"):
            train(toy_data, tmp_path / "other", replace(settings, fold=2))

    def test_a_model_that_saw_what_is_held_out_is_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, file: Path
    ) -> None:
        for changes in ({"fold": 1}, {"fold_seed": 1}):
            settings = tiny(epochs=1, fine_tune_from=str(file), **changes)
            with pytest.raises(DataError, match="trained on 3 of the 3 images"):
                train(toy_data, tmp_path / "run", settings)

    def test_of_other_data_nobody_can_tell_and_it_is_said(
        self,
        toy_data: Path,
        tmp_path: Path,
        tiny: Maker,
        file: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        name = next((toy_data / "images").iterdir()).stem
        for found in list(toy_data.rglob(f"{name}*")):
            found.unlink()
        unlist(file)
        train(toy_data, tmp_path / "run", tiny(epochs=1, batch_size=2, fine_tune_from=str(file)))
        assert "may have been trained on images that are held out" in capsys.readouterr().err
        facts = checkpoints.load(tmp_path / "run" / WEIGHTS)[1]
        assert facts["fine_tuned_from"]["apart"] is False
        again = tiny(epochs=1, batch_size=2, fine_tune_from=str(tmp_path / "run"))
        train(toy_data, tmp_path / "again", again)
        facts = checkpoints.load(tmp_path / "again" / WEIGHTS)[1]
        assert facts["fine_tuned_from"]["apart"] is False, "its weights are of the same origin"

    def test_what_an_origin_saw_is_not_forgotten(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        """A grandparent that saw everything, a parent on other photographs, and a fold again."""
        train(toy_data, tmp_path / "all", tiny(epochs=1, fold=None))
        other = write_data(tmp_path / "others", first=100)
        settings = tiny(epochs=1, fold=None, fine_tune_from=str(tmp_path / "all"))
        train(other, tmp_path / "parent", settings)
        export_model([tmp_path / "parent"], tmp_path / "parent.onnx")
        for name in ("parent", "parent.onnx"):
            settings = tiny(epochs=1, fine_tune_from=str(tmp_path / name))
            with pytest.raises(DataError, match="trained on 3 of the 3 images"):
                train(toy_data, tmp_path / f"of {name}", settings)
        tensors, facts = checkpoints.load(tmp_path / "parent" / WEIGHTS)
        del facts["fine_tuned_from"]["seen"]
        checkpoints.save(tmp_path / "parent" / WEIGHTS, tensors, facts)
        train(toy_data, tmp_path / "child", tiny(epochs=1, fine_tune_from=str(tmp_path / "parent")))
        facts = checkpoints.load(tmp_path / "child" / WEIGHTS)[1]
        assert facts["fine_tuned_from"]["apart"] is False

    @pytest.mark.parametrize("name", ["first.onnx", "first/fold-0"])
    def test_photographs_are_known_under_other_names(
        self, tmp_path: Path, tiny: Maker, made: Path, name: str
    ) -> None:
        """What the first training saw is a validation set, in a data set that has grown."""
        data = write_data(tmp_path / "data", first=100)
        for part in ("images", "masks"):
            (data / part).rename(data / f"train_{part}")
            for file in (made / "data" / part).iterdir():
                (data / f"val_{part}").mkdir(exist_ok=True)
                shutil.copy(file, data / f"val_{part}" / file.name.replace("ISIC", "MINE"))
        settings = tiny(epochs=1, fold=None, fine_tune_from=str(made / name))
        with pytest.raises(DataError, match=r"12 of the 15 images .* out of the validation set"):
            train(data, tmp_path / "run", settings)

    def test_of_a_list_it_is_known_that_photographs_are_new(
        self,
        tmp_path: Path,
        tiny: Maker,
        made: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        data = write_data(tmp_path / "data", first=100)
        for name in ("first.onnx", "first"):
            settings = tiny(epochs=1, fine_tune_from=str(made / name))
            train(data, tmp_path / f"of {name}", settings)
            facts = checkpoints.load(tmp_path / f"of {name}" / WEIGHTS)[1]
            assert facts["fine_tuned_from"]["apart"] is True
        assert "may have been" not in capsys.readouterr().err

    def test_a_file_whose_folds_were_others_is_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, file: Path
    ) -> None:
        """A table of diagnoses moves images between folds, and is not part of the data."""
        images = sorted(path.stem for path in (toy_data / "images").iterdir())
        rows = [f"{image},{number % 2}.0,0.0" for number, image in enumerate(images)]
        table = toy_data / "ISIC-2017_Training_Part3_GroundTruth.csv"
        table.write_text("\n".join(["image_id,melanoma,seborrheic_keratosis", *rows]))
        settings = tiny(epochs=1, fine_tune_from=str(file))
        with pytest.raises(DataError, match=r"trained on \d of the"):
            train(toy_data, tmp_path / "run", settings)

    def test_a_file_that_does_not_say_its_folds_leaves_it_open(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, first: Path
    ) -> None:
        tensors, facts = checkpoints.load(first / "fold-0" / WEIGHTS)
        del facts["folds"], facts["seen"]
        checkpoints.save(first / "fold-0" / WEIGHTS, tensors, facts)
        export_model([first / "fold-0"], tmp_path / "older.onnx")
        train(
            toy_data, tmp_path / "run", tiny(epochs=1, fine_tune_from=str(tmp_path / "older.onnx"))
        )
        facts = checkpoints.load(tmp_path / "run" / WEIGHTS)[1]
        assert facts["fine_tuned_from"]["apart"] is False

    def test_another_networks_model_is_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        with pytest.raises(UsageError, match="another network's"):
            train(toy_data, tmp_path / "run", tiny(fine_tune_from="cdnn29"))

    def test_a_network_that_nobody_registered_is_named(
        self,
        toy_data: Path,
        tmp_path: Path,
        tiny: Maker,
        file: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delitem(networks.NETWORKS, "tiny")
        with pytest.raises(UsageError, match="unknown network 'tiny'"):
            train(toy_data, tmp_path / "run", tiny(network="cdnn19", fine_tune_from=str(file)))

    def test_a_file_that_export_did_not_write_is_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, file: Path
    ) -> None:
        (tmp_path / "noise.onnx").write_bytes(b"no model" * 10)
        proto = onnx.load(file)
        del proto.metadata_props[:]
        onnx.save(proto, tmp_path / "bare.onnx")
        for name, message in (
            ("noise.onnx", "no model that"),
            ("bare.onnx", "no model that"),
            ("absent.onnx", "no such model file"),
        ):
            with pytest.raises(ModelError, match=message):
                train(toy_data, tmp_path / "run", tiny(fine_tune_from=str(tmp_path / name)))

    def test_a_file_that_lacks_weights_is_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, file: Path
    ) -> None:
        proto = onnx.load(file)
        kept = [t for t in proto.graph.initializer if not t.name.endswith("bias")]
        assert len(kept) < len(proto.graph.initializer)
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(kept)
        onnx.save(proto, tmp_path / "less.onnx")
        with pytest.raises(ModelError, match="the file holds no"):
            train(toy_data, tmp_path / "run", tiny(fine_tune_from=str(tmp_path / "less.onnx")))
