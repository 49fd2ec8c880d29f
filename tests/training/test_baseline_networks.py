"""Networks to compare with: what they take and return, and that they train and are exported."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dermseg.errors import MissingExtraError, UsageError
from dermseg.export.exporter import export_model
from dermseg.settings import TrainingSettings
from dermseg.training import networks
from dermseg.training.loop import train
from dermseg.training.losses import LOSSES, cross_entropy, find_loss
from dermseg.training.networks.multistage import Multistage

pytestmark = pytest.mark.slow

BASELINES = ("cdnn29-crf", "fcrn", "multistage", "unet")


@pytest.mark.parametrize("name", BASELINES)
def test_from_channels_to_logits_with_a_gradient_everywhere(name: str) -> None:
    network = networks.build(name, 7, 0.5)
    x = torch.rand((2, 7, 32, 64), generator=torch.Generator().manual_seed(0))
    logits = network(x)
    assert logits.shape == (2, 32, 64)
    LOSSES["jaccard"](logits, (x[:, 0] > 0.5).float()).backward()
    without = [key for key, p in network.named_parameters() if p.grad is None]
    assert not without


def test_depths_and_weights() -> None:
    """Yu's network has more than 50 layers; U-Net is about the size of CDNN-29."""

    def count(name: str) -> tuple[int, int]:
        network = networks.build(name, 7, 0.5)
        convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
        return convolutions, sum(parameter.numel() for parameter in network.parameters())

    assert count("fcrn") == (56, 23_524_177)
    assert count("unet") == (19, 7_784_577)
    assert count("cdnn29-crf")[1] == count("cdnn29")[1] + 2


def test_the_later_stage_sees_what_the_first_found() -> None:
    network = Multistage(3, 0).eval()
    x = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []
    network.stages[1].register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        logits = network(x)
        first = network.stages[0](x)
        second = network.stages[1](seen[0])
    torch.testing.assert_close(seen[0], torch.cat((x, first.sigmoid()[:, None]), 1))
    torch.testing.assert_close(logits, (first + second) / 2)


def test_sizes_are_checked() -> None:
    networks.check(TrainingSettings(network="unet", height=48, width=48))
    with pytest.raises(UsageError, match="multiples of 32"):
        networks.check(TrainingSettings(network="fcrn", height=48, width=48))


def test_without_monai_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets.basic_unet", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        networks.build("unet", 7, 0.5)


def test_the_crf_inside_is_trained_by_cross_entropy_and_exported(
    toy_data: Path, tmp_path: Path, tiny_run: Callable[..., TrainingSettings]
) -> None:
    """The file is kept only if it equals PyTorch."""
    train(toy_data, tmp_path / "run", tiny_run(network="cdnn29-crf", loss="cross-entropy"))
    assert export_model([tmp_path / "run"], tmp_path / "model.onnx") < 1e-4


@pytest.fixture
def tiny_run() -> Callable[..., TrainingSettings]:
    def make(**changes: object) -> TrainingSettings:
        usual = TrainingSettings(
            height=32, width=32, epochs=1, batch_size=4, fold=0, precision="float32"
        )
        return TrainingSettings(**{**vars(usual), **changes})

    return make


def test_cross_entropy_is_that_of_the_pixels() -> None:
    logits, target = torch.tensor([[[0.0, 2.0]]]), torch.tensor([[[1.0, 0.0]]])
    expected = -(torch.tensor(0.5).log() + (1 - torch.tensor(2.0).sigmoid()).log()) / 2
    torch.testing.assert_close(cross_entropy(logits, target), expected)
    assert cross_entropy(logits.bfloat16(), target).dtype == torch.float32


def test_the_loss_is_chosen_by_name() -> None:
    with pytest.raises(UsageError, match="jaccard"):
        find_loss("hinge")
