import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from toy import Tiny, tiny_settings, write_data

from dermseg.cli.main import main
from dermseg.errors import DermsegError, ModelError, UsageError
from dermseg.export import exporter as module
from dermseg.export import quantize
from dermseg.export.exporter import (
    TOLERANCE,
    TOLERANCE_INT8,
    EndToEnd,
    export_model,
    halve,
    load_run,
)
from dermseg.imaging.images import resize
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.style import STYLE_IDS
from dermseg.modelfile.card import KEY
from dermseg.modelfile.graph import HALVED
from dermseg.settings import (
    CHANNEL_COUNT,
    Arithmetic,
    DataSettings,
    ExportSettings,
    TrainingSettings,
)
from dermseg.training import checkpoints, loop, networks, provenance
from dermseg.training.networks.layers import normed_convolutions
from dermseg.training.run_folder import SAMPLES, WEIGHTS

pytestmark = pytest.mark.slow

SIZE = 32, 48
INT8 = ExportSettings("int8")
KINDS = [("cdnn29", "rgb-hsv-l"), ("cdnn19", "rgb")]
Examples = list[tuple[Path, Path]]
Maker = Callable[..., TrainingSettings]


def make_run(run: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Write what a training leaves: weights, and norms that have seen data."""
    settings = TrainingSettings(**{"height": SIZE[0], "width": SIZE[1], **changes})
    torch.manual_seed(seed)
    network = networks.build(settings.network, CHANNEL_COUNT[settings.channels], 0.5)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 2)
                layer.bias.normal_(0, 0.3)
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.3, 3)
    facts = {"settings": asdict(settings), "data": "0123", "images": 15, "dermseg": "0.0"}
    run.mkdir(parents=True, exist_ok=True)
    checkpoints.save(run / WEIGHTS, network.state_dict(), facts)
    kept = np.random.default_rng(1).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    np.save(run / SAMPLES, kept)
    return run


def model_of(*runs: Path) -> EndToEnd:
    """Return the mean of the runs' networks, as PyTorch computes it."""
    members = [load_run(run) for run in runs]
    for member in members:
        halve(member.network)
    channels = [member.settings.channels for member in members]
    return EndToEnd([member.network for member in members], channels).eval()


@pytest.fixture
def tiny_run(tmp_path: Path, tiny: Callable[..., TrainingSettings]) -> Path:
    return make_run(tmp_path / "run", network="tiny")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return such a run with its model file; no test changes it."""
    run = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "tiny", Tiny)
        make_run(run, network="tiny")
        export_model([run], run / "model.onnx")
    return run


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def of_the_paper(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, examples: Examples
) -> tuple[Path, float]:
    """Return a whole network's run with its file, and its distance from PyTorch."""
    network, channels = request.param
    run = make_run(tmp_path_factory.mktemp(network), network=network, channels=channels)
    photograph, _ = examples[0]
    return run, export_model([run], run / "model.onnx", photographs=[photograph])


def test_the_file_equals_pytorch(of_the_paper: tuple[Path, float], examples: Examples) -> None:
    run, difference = of_the_paper
    assert 0 <= difference <= TOLERANCE
    paths = [photograph for photograph, _ in examples]
    real = [resize(read_photograph(path, at_least=SIZE).pixels, *SIZE) for path in paths]
    random = np.random.default_rng(5).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    samples = np.stack([*real, *random])
    model = model_of(run)
    with torch.inference_mode():
        expected = model(torch.from_numpy(samples)).numpy()
    assert np.ptp(expected) > 0.01, "a constant would prove nothing"
    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    for start, stop in ((0, 1), (0, 3), (3, 6)):
        (found,) = session.run(None, {"photographs": samples[start:stop]})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[start:stop], atol=1e-4, rtol=0)


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_folded_norms_change_nothing(tmp_path: Path, network: str) -> None:
    run = make_run(tmp_path, network=network, height=64, width=64)
    tensors, _ = checkpoints.load(run / WEIGHTS)
    plain = networks.build(network, 7, 0.5)
    plain.load_state_dict(tensors)
    folded = load_run(run).network
    assert not list(normed_convolutions(folded))
    x = torch.rand(2, 7, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = plain.eval()(x)
        torch.testing.assert_close(folded(x), expected, atol=1e-4, rtol=1e-3)
    assert np.ptp(expected.numpy()) > 0.01, "a constant would prove nothing"


class Between(nn.Module):
    """A network whose norm does not follow the convolution that is declared before it."""

    def __init__(self, channels: int, _dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.norm(self.convolution(x).relu()))
        return logits[:, 0]


class Uneven(Between):
    """The same, with a norm of another number of maps declared after the convolution."""

    def __init__(self, channels: int, _dropout: float) -> None:
        nn.Module.__init__(self)
        self.last = nn.Conv2d(4, 1, 1)
        self.convolution = nn.Conv2d(channels, 4, 3, padding=1)
        self.first = nn.BatchNorm2d(channels)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.first(x))


@pytest.mark.parametrize("network", [Between, Uneven])
def test_norms_that_do_not_follow_a_convolution_are_not_folded_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: type[Between]
) -> None:
    monkeypatch.setitem(networks.NETWORKS, "own", network)
    run = make_run(tmp_path, network="own")
    plain = network(7, 0.5).eval()
    plain.load_state_dict(checkpoints.load(run / WEIGHTS)[0])
    x = torch.rand(2, 7, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(load_run(run).network(x), plain(x))


def test_large_statistics_are_rounded_as_the_file_stores_them() -> None:
    norm = nn.BatchNorm2d(HALVED)
    assert norm.running_mean is not None
    norm.running_mean.fill_(0.1)
    halve(norm)
    assert norm.running_mean[0] == torch.tensor(0.1).half().float()


def test_a_norm_without_statistics_of_its_own_is_not_folded() -> None:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    network = nn.Sequential(nn.Conv2d(7, 4, 3), norm).eval()
    settings = TrainingSettings(height=SIZE[0], width=SIZE[1])
    assert module._folded(network, settings) is network


def test_a_network_that_cannot_be_copied_is_not_folded() -> None:
    convolution = nn.Conv2d(7, 4, 3)
    convolution.scaled = convolution.weight * 2  # as torch.nn.utils.weight_norm keeps it
    network = nn.Sequential(convolution, nn.BatchNorm2d(4)).eval()
    settings = TrainingSettings(height=SIZE[0], width=SIZE[1])
    assert module._folded(network, settings) is network


def test_the_graph_is_the_contract(exported: Path) -> None:
    file = exported / "model.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (given,), (returned,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type) == ("photographs", "tensor(uint8)")
    assert (returned.name, returned.type) == ("probability", "tensor(float)")
    assert isinstance(given.shape[0], str)
    assert given.shape[1:] == [*SIZE, 3]
    assert returned.shape[1:] == [*SIZE]
    assert not [t for t in onnx.load(file).graph.initializer if t.external_data]
    assert sorted(p.name for p in exported.iterdir()) == sorted(["model.onnx", SAMPLES, WEIGHTS])


def test_the_card_travels_in_the_file(exported: Path) -> None:
    _, facts = checkpoints.load(exported / WEIGHTS)
    segmenter = Segmenter(exported / "model.onnx")
    (member,) = segmenter.card.members
    assert member == facts
    assert TrainingSettings.from_dict(member["settings"]).network == "tiny"
    metadata = {p.key: p.value for p in onnx.load(exported / "model.onnx").metadata_props}
    assert json.loads(metadata[KEY]) == segmenter.card.to_dict()


class Styled(Tiny):
    """The small network, which adds a number for each style to its logits."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__(channels, dropout)
        self.styles = nn.Embedding(1 + len(STYLE_IDS), 1)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        logits: Tensor = super().forward(x)
        return logits if style is None else logits + self.styles(style)[:, :, None]


@pytest.mark.parametrize(("network", "arithmetic"), [("styled", "float32"), ("lite0", "int8")])
def test_a_network_that_knows_styles_is_asked_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, arithmetic: Arithmetic
) -> None:
    monkeypatch.setitem(networks.NETWORKS, "styled", Styled)
    monkeypatch.setattr(networks, "STYLED", {"styled", "lite0"})
    run = make_run(tmp_path, network=network, channels="rgb", height=64, width=64)
    tensors, facts = checkpoints.load(run / WEIGHTS)
    for name, tensor in tensors.items():
        if name.startswith("styles."):
            tensor.normal_(0, 1, generator=torch.Generator().manual_seed(1))
    checkpoints.save(run / WEIGHTS, tensors, facts)
    kept = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    np.save(run / SAMPLES, kept)
    export_model([run], run / "model.onnx", ExportSettings(arithmetic))
    segmenter = Segmenter(run / "model.onnx")
    assert segmenter.draws_styles
    found = [segmenter.probability(kept[0], style=style) for style in STYLE_IDS]
    assert np.abs(found[0] - found[1]).max() > 0.01
    model = model_of(run)
    for style, probability in zip(STYLE_IDS.values(), found, strict=True):
        with torch.inference_mode():
            expected = model(torch.from_numpy(kept[:1]), torch.tensor([style]))[0].numpy()
        atol = TOLERANCE if arithmetic == "float32" else 0.3
        np.testing.assert_allclose(probability, expected, atol=atol)


def test_a_card_of_another_format_is_refused(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported / "model.onnx")
    (entry,) = (entry for entry in model.metadata_props if entry.key == KEY)
    values = json.loads(entry.value)
    for card, message in (
        ({**values, "format": 1}, "format 1, and this version reads 2; export the model again"),
        ({key: values[key] for key in values if key != "format"}, "format 1"),
        ({**values, "members": []}, "damaged"),
        ([], "damaged"),
    ):
        entry.value = json.dumps(card)
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(ModelError, match=message):
            Segmenter(tmp_path / "other.onnx")


@pytest.mark.usefixtures("tiny")
def test_the_file_segments_photographs(exported: Path, examples: Examples) -> None:
    segmenter = Segmenter(exported / "model.onnx")
    assert (segmenter.height, segmenter.width) == SIZE
    photograph = read_photograph(examples[0][0])
    found = segmenter.segment(photograph)
    assert found.mask.shape == (photograph.height, photograph.width)
    model = model_of(exported)
    with torch.inference_mode():
        pixels = torch.from_numpy(resize(photograph.pixels, *SIZE)[np.newaxis].copy())
        np.testing.assert_allclose(found.probability, model(pixels)[0].numpy(), atol=1e-4)


def test_a_file_that_differs_is_refused_and_leaves_nothing(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.to_onnx

    class Other(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, photographs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.model(photographs) * 0.9
            return found

    made: list[onnx.ModelProto] = []

    def other(model: nn.Module, example: np.ndarray, *, styled: bool) -> onnx.ModelProto:
        if not made:  # both files are of the same run
            made.append(real(Other(model).eval(), example, styled=styled))
        proto = onnx.ModelProto()
        proto.CopyFrom(made[0])
        return proto

    monkeypatch.setattr(module, "to_onnx", other)
    (tiny_run / "old.onnx").write_bytes(b"old")
    for name in ("new.onnx", "old.onnx"):
        with pytest.raises(ModelError, match=rf"{name}: not written, since it differs"):
            export_model([tiny_run], tiny_run / name)
    assert sorted(p.name for p in tiny_run.iterdir()) == sorted(["old.onnx", SAMPLES, WEIGHTS])
    assert (tiny_run / "old.onnx").read_bytes() == b"old"


def test_a_name_that_no_segmenter_would_load_is_refused(tiny_run: Path) -> None:
    for name in ("model", "model.json", "model.pt"):
        with pytest.raises(DermsegError, match="onnx"):
            export_model([tiny_run], tiny_run / name)


def test_a_run_without_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="holds no finished training"):
        export_model([tmp_path], tmp_path / "model.onnx")
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "model.onnx")]) == 1
    assert "holds no finished training" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_without_its_samples(tiny_run: Path) -> None:
    (tiny_run / SAMPLES).unlink()
    with pytest.raises(ModelError, match=SAMPLES):
        export_model([tiny_run], tiny_run / "model.onnx")


def test_weights_that_are_none(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"garbage")
    (tmp_path / SAMPLES).write_bytes(b"garbage")
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        export_model([tmp_path], tmp_path / "model.onnx")


def test_the_loaded_model_is_ready_for_use(tiny_run: Path) -> None:
    member = load_run(tiny_run)
    assert not any(layer.training for layer in member.network.modules())
    assert (member.settings.height, member.settings.width) == SIZE
    assert member.facts["images"] == 15


@pytest.fixture
def protocol(tmp_path: Path, tiny: Callable[..., TrainingSettings]) -> Path:
    """Return a protocol's folder with three members, which differ."""
    for seed, name in enumerate(("fold-0", "fold-1", "all")):
        make_run(tmp_path / "protocol" / name, seed=seed, network="tiny")
        (tmp_path / "protocol" / name / "settings.json").write_text("{}")
    return tmp_path / "protocol"


def test_a_protocol_becomes_an_ensemble(protocol: Path, tmp_path: Path, examples: Examples) -> None:
    file = tmp_path / "model.onnx"
    assert export_model([protocol], file) <= TOLERANCE
    members = [protocol / name for name in ("fold-0", "fold-1", "all")]
    pixels = resize(read_photograph(examples[0][0]).pixels, *SIZE)
    with torch.inference_mode():
        given = torch.from_numpy(pixels[np.newaxis].copy())
        each = [model_of(run)(given)[0].numpy() for run in members]
    assert min(np.abs(each[0] - each[1]).max(), np.abs(each[0] - each[2]).max()) > 0.01
    segmenter = Segmenter(file)
    np.testing.assert_allclose(segmenter.probability(pixels), np.mean(each, 0), atol=1e-4)
    assert len(segmenter.card.members) == 3
    assert segmenter.card.arithmetic == "float32"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("arithmetic", get_args(Arithmetic))
def test_mirror_averaging_is_the_mean_of_the_mirror_images(
    exported: Path, tmp_path: Path, arithmetic: Arithmetic
) -> None:
    plain, mirrored = exported / "model.onnx", tmp_path / "mirrored.onnx"
    export_model([exported], mirrored, ExportSettings(arithmetic, mirror=True))
    pixels = np.random.default_rng(3).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    one, four = Segmenter(plain), Segmenter(mirrored)
    parts = [
        one.probability(np.ascontiguousarray(pixels[::up, ::left]))[::up, ::left]
        for up in (1, -1)
        for left in (1, -1)
    ]
    assert np.ptp(parts, 0).max() > 0.01, "or the average would prove nothing"
    found = four.probability(pixels)
    exact = arithmetic == "float32"
    np.testing.assert_allclose(found, np.mean(parts, 0), atol=TOLERANCE if exact else 0.05)
    over = four.probability(np.ascontiguousarray(pixels[::-1]))
    np.testing.assert_allclose(over[::-1], found, atol=1e-5)
    assert (four.mirror, one.mirror) == (True, False)
    assert not Segmenter(mirrored, mirror=False).mirror
    assert Segmenter(plain, mirror=True).mirror


def test_eight_bits_equal_nothing_that_photographs_could_show(tiny_run: Path) -> None:
    with pytest.raises(UsageError, match="int8"):
        export_model([tiny_run], tiny_run / "a.onnx", INT8, photographs=[tiny_run / "a.jpg"])


@pytest.mark.parametrize(
    ("folds", "missing"), [(2, ""), (5, "fold-2, fold-3, fold-4: not trained yet")]
)
def test_an_ensemble_without_all_members_of_the_protocol_says_so(
    protocol: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], folds: int, missing: str
) -> None:
    for run in protocol.iterdir():
        tensors, facts = checkpoints.load(run / WEIGHTS)
        facts["settings"]["folds"] = folds
        checkpoints.save(run / WEIGHTS, tensors, facts)
    export_model([protocol], tmp_path / "model.onnx")
    said = capsys.readouterr().err
    assert missing in said if missing else "not trained" not in said
    export_model([protocol / "fold-0"], tmp_path / "model.onnx")  # one run was asked for
    assert "not trained" not in capsys.readouterr().err


def test_networks_of_unlike_sizes_make_no_ensemble(protocol: Path, tmp_path: Path) -> None:
    settings = {"height": 64, "width": 64}
    tensors, facts = checkpoints.load(protocol / "all" / WEIGHTS)
    facts["settings"].update(settings)
    checkpoints.save(protocol / "all" / WEIGHTS, tensors, facts)
    with pytest.raises(ModelError, match="32 x 48, 64 x 64"):
        export_model([protocol], tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_an_unfinished_member_is_named(protocol: Path, tmp_path: Path) -> None:
    (protocol / "fold-1" / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="fold-1: holds no finished training"):
        export_model([protocol], tmp_path / "model.onnx")


@pytest.fixture(scope="module")
def toy_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of 15 pairs of 32 x 32 pixels; no test changes it."""
    return write_data(tmp_path_factory.mktemp("toy") / "data")


@pytest.fixture(scope="module")
def trained(toy_set: Path) -> Path:
    """Return a run that learnt something; no test changes it."""
    settings = tiny_settings(fold=None, epochs=12, learning_rate=0.02, dropout=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "tiny", Tiny)
        loop.train(toy_set, toy_set.with_name("run"), settings, DataSettings(device="cpu"))
    return toy_set.with_name("run")


@pytest.fixture(scope="module")
def in_eight_bits(trained: Path) -> tuple[Path, float]:
    """Return that run's file in 8 bits, which no test changes, and its distance from PyTorch."""
    file = trained.with_name("int8.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "tiny", Tiny)
        return file, export_model([trained], file, INT8)


@pytest.mark.usefixtures("tiny")
class TestInt8:
    """8-bit arithmetic on a network that learnt something: noise would saturate any range."""

    def test_masks_stay(
        self, toy_set: Path, trained: Path, in_eight_bits: tuple[Path, float], tmp_path: Path
    ) -> None:
        file, difference = in_eight_bits
        exactly = export_model([trained], tmp_path / "float32.onnx")
        assert exactly <= TOLERANCE < difference <= TOLERANCE_INT8
        exact, small = Segmenter(tmp_path / "float32.onnx"), Segmenter(file)
        assert small.card.arithmetic == "int8"
        for photograph in sorted((toy_set / "images").iterdir()):
            one, other = exact.segment(photograph).mask, small.segment(photograph).mask
            assert (one & other).sum() >= 0.8 * (one | other).sum()

    def test_convolutions_compute_in_eight_bits_and_colour_does_not(
        self, in_eight_bits: tuple[Path, float]
    ) -> None:
        graph = onnx.load(in_eight_bits[0]).graph
        made_by = {output: node.op_type for node in graph.node for output in node.output}
        for node in graph.node:
            if node.op_type == "Conv":
                assert [made_by[name] for name in node.input[:2]] == ["DequantizeLinear"] * 2
            if node.op_type in ("Sigmoid", "BatchNormalization", "Concat", "Where"):
                assert "QuantizeLinear" not in [made_by.get(name) for name in node.input]

    def test_weights_use_all_eight_bits(self, in_eight_bits: tuple[Path, float]) -> None:
        tensors = onnx.load(in_eight_bits[0]).graph.initializer
        weights = [onnx.numpy_helper.to_array(t) for t in tensors if len(t.dims) == 4]
        whole = [array for array in weights if array.dtype == np.int8]
        assert len(whole) == 3
        assert {int(np.abs(array.astype(int)).max()) for array in whole} == {127}

    def test_coarse_weights_keep_four_bits_in_large_layers(
        self,
        trained: Path,
        in_eight_bits: tuple[Path, float],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(quantize, "COARSE_FROM", 500)
        export_model([trained], tmp_path / "coarse.onnx", ExportSettings("int8", coarse=True))
        sizes = []
        for file, coarse in ((in_eight_bits[0], False), (tmp_path / "coarse.onnx", True)):
            tensors = onnx.load(file).graph.initializer
            arrays = [onnx.numpy_helper.to_array(tensor) for tensor in tensors]
            weights = [a.astype(int) for a in arrays if a.dtype == np.int8 and a.ndim == 4]
            sizes.append([len(np.unique(array)) for array in weights])
            assert Segmenter(file).card.coarse is coarse
        large = [array.size >= 500 for array in weights]
        assert True in large
        assert False in large
        for before, after, is_large in zip(*sizes, large, strict=True):
            assert after <= 17 < before if is_large else after == before

    def test_only_eight_bits_can_be_coarse(self, trained: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="coarse"):
            export_model([trained], tmp_path / "model.onnx", ExportSettings(coarse=True))

    def test_a_file_that_differs_too_much_is_refused(
        self, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "TOLERANCE_INT8", 1e-9)
        with pytest.raises(ModelError, match="not written, since it differs"):
            export_model([trained], tmp_path / "model.onnx", INT8)
        assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("arguments", [("init", "-q"), ("version",)])
def test_the_commit_of_a_tree(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Without a repository, or with one that this file is not part of, there is no commit."""
    provenance_copy = tmp_path / "dermseg" / "training" / "provenance.py"
    provenance_copy.parent.mkdir(parents=True)
    provenance_copy.write_text(Path(provenance.__file__).read_text(encoding="utf-8"))
    git(tmp_path, *arguments)
    assert commit_of(provenance_copy) is None


def test_the_commit_says_whether_the_tree_was_changed(tmp_path: Path) -> None:
    source = tmp_path / "dermseg" / "training" / "provenance.py"
    source.parent.mkdir(parents=True)
    source.write_text(Path(provenance.__file__).read_text(encoding="utf-8"))
    (tmp_path / "README").write_text("about")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert len(head) == 40
    assert commit_of(source) == head
    (tmp_path / "README").write_text("elsewhere")
    assert commit_of(source) == head
    source.write_text(source.read_text() + "\n")
    assert commit_of(source) == f"{head}+"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit() is None
    (tmp_path / "git").write_text("no program")
    assert provenance.commit() is None


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit_of(source: Path) -> str | None:
    """Return what a copy of the module, lying elsewhere, says."""
    names: dict[str, Any] = {"__file__": str(source), "__name__": "copy"}
    exec(compile(source.read_text(encoding="utf-8"), str(source), "exec"), names)
    found: str | None = names["commit"]()
    return found


def test_a_model_that_computes_no_numbers_is_refused(tiny_run: Path) -> None:
    tensors, facts = checkpoints.load(tiny_run / WEIGHTS)
    tensors = {n: torch.full_like(t, torch.nan) if t.dim() == 4 else t for n, t in tensors.items()}
    checkpoints.save(tiny_run / WEIGHTS, tensors, facts)
    with pytest.raises(ModelError, match="differs from PyTorch by nan"):
        export_model([tiny_run], tiny_run / "model.onnx")
    assert not (tiny_run / "model.onnx").exists()


def test_norms_are_folded_into_convolutions_and_change_nothing(
    of_the_paper: tuple[Path, float],
) -> None:
    run, _ = of_the_paper
    tensors, _ = checkpoints.load(run / WEIGHTS)
    folded = load_run(run)
    network, count = folded.settings.network, CHANNEL_COUNT[folded.settings.channels]
    plain = networks.build(network, count, 0.5).eval()
    plain.load_state_dict(tensors)
    inputs = torch.rand(2, count, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        difference = (plain(inputs).sigmoid() - folded.network(inputs).sigmoid()).abs().max()
    assert difference < 2e-3, "what rounding to half precision does"
    operators = [node.op_type for node in onnx.load(run / "model.onnx").graph.node]
    # CDNN-29 keeps those of its input and dropouts; in CDNN-19 a ReLU stands before each.
    assert operators.count("BatchNormalization") == {"cdnn29": 3, "cdnn19": 9}[network]
