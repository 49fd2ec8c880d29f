"""CDNN-29 against Table I of the paper, typed here a second time."""

import pytest
import torch
from torch import Tensor, nn

from dermseg.errors import UsageError
from dermseg.settings import TrainingSettings
from dermseg.training import networks
from dermseg.training.networks.cdnn29 import CDNN29
from dermseg.training.networks.layers import Dropout

# Name, kind, side of the filter, maps in, maps out.
TABLE = """
conv-1-1 conv 3   7  16
conv-1-2 conv 3  16  32
pool-1   pool 2  32  32
conv-2-1 conv 3  32  64
conv-2-2 conv 3  64  64
pool-2   pool 2  64  64
conv-3-1 conv 3  64 128
conv-3-2 conv 4 128 128
pool-3   pool 2 128 128
conv-4-1 conv 3 128 256
conv-4-2 conv 3 256 256
pool-4   pool 2 256 256
conv-5   conv 3 256 512
decv-1   conv 3 512 256
ups-1    ups  2 256 256
decv-2-1 conv 3 256 256
decv-2-2 conv 3 256 128
ups-2    ups  2 128 128
decv-3-1 conv 4 128 128
decv-3-2 conv 3 128 128
ups-3    ups  2 128 128
decv-4-1 conv 3 128  64
decv-4-2 conv 3  64  32
ups-4    ups  2  32  32
decv-5-1 conv 3  32  16
output   conv 3  16   1
"""
ROWS = [
    (name, kind, int(side), int(maps), int(features))
    for name, kind, side, maps, features in map(str.split, TABLE.strip().splitlines())
]


@pytest.fixture(scope="module")
def network() -> CDNN29:
    torch.manual_seed(0)
    return CDNN29()


def leaves(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the network's layers in order, each with the name of the row that it belongs to."""
    return [
        (name.split(".")[1], module)
        for name, module in network.named_modules()
        if not list(module.children())
    ]


def convolutions(network: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [(name, m) for name, m in leaves(network) if isinstance(m, nn.Conv2d)]


def count(network: nn.Module) -> int:
    """Return the number of weights and running statistics, as Lasagne counts parameters."""
    return sum(
        tensor.numel()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )


class TestSmoke:
    @pytest.mark.parametrize("size", [(192, 256), (16, 16), (96, 128), (48, 80)], ids=str)
    def test_the_output_is_as_large_as_the_input(
        self, network: CDNN29, size: tuple[int, int]
    ) -> None:
        with torch.inference_mode():
            assert network.eval()(torch.rand(1, 7, *size)).shape == (1, *size)

    def test_three_channels_will_do(self) -> None:
        rgb = CDNN29(3)
        assert count(rgb) == 5_042_589 - 4 * (16 * 9 + 4)
        assert rgb(torch.rand(2, 3, 32, 48)).shape == (2, 32, 48)

    def test_it_is_built_by_name(self) -> None:
        built = networks.build("cdnn29", 3, 0.25)
        assert isinstance(built, CDNN29)
        assert [m.dropped / 256 for m in built.modules() if isinstance(m, Dropout)] == [0.25] * 2


class TestExceptions:
    def test_an_unknown_name_is_refused_and_the_known_ones_listed(self) -> None:
        with pytest.raises(UsageError, match=r"cdnn30.*cdnn29"):
            networks.check(TrainingSettings(network="cdnn30"))

    def test_other_channels_than_it_was_built_for_are_refused(self, network: CDNN29) -> None:
        with pytest.raises(RuntimeError):
            network(torch.rand(2, 3, 32, 32))


class TestFeatures:
    def test_it_has_the_published_number_of_parameters(self, network: CDNN29) -> None:
        trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
        running = sum(
            b.numel() for n, b in network.named_buffers() if not n.endswith("batches_tracked")
        )
        assert (trainable, running) == (5_037_327, 5_262)
        assert count(network) == 5_042_589

    def test_it_has_29_layers(self, network: CDNN29) -> None:
        kinds = (nn.Conv2d, nn.MaxPool2d, nn.Upsample, Dropout)
        counts = [sum(isinstance(m, kind) for m in network.modules()) for kind in kinds]
        assert counts == [18, 4, 4, 2]  # and the input

    def test_layers_are_those_of_table_i(self, network: CDNN29) -> None:
        built: list[tuple[str, str, int, int, int]] = []
        maps = 7
        for name, layer in leaves(network):
            if isinstance(layer, nn.Conv2d):
                assert layer.kernel_size[0] == layer.kernel_size[1]
                built.append(
                    (name, "conv", layer.kernel_size[0], layer.in_channels, layer.out_channels)
                )
                maps = layer.out_channels
            elif isinstance(layer, nn.MaxPool2d):
                assert layer.stride == layer.kernel_size
                built.append((name, "pool", int(layer.kernel_size), maps, maps))
            elif isinstance(layer, nn.Upsample):
                assert layer.mode == "nearest"
                built.append((name, "ups", int(layer.scale_factor), maps, maps))
        assert built == ROWS

    def test_the_rows_produce_the_maps_of_table_i(self, network: CDNN29) -> None:
        """What flows, not what the constructors were told."""
        shapes: dict[str, tuple[int, ...]] = {}
        hooks = [
            layer.register_forward_hook(
                lambda _m, _i, out, name=name: shapes.__setitem__(name, tuple(out.shape[1:]))
            )
            for name, layer in leaves(network)
        ]
        with torch.inference_mode():
            network.eval()(torch.rand(1, 7, 48, 64))
        for hook in hooks:
            hook.remove()
        divisor = 1
        for name, kind, _, _, features in ROWS:
            divisor = {"pool": divisor * 2, "ups": divisor // 2}.get(kind, divisor)
            assert shapes[name] == (features, 48 // divisor, 64 // divisor), name

    def test_convolutions_are_plain(self, network: CDNN29) -> None:
        for name, layer in convolutions(network):
            assert (layer.stride, layer.dilation, layer.groups) == ((1, 1), (1, 1), 1), name

    def test_only_the_output_has_a_bias(self, network: CDNN29) -> None:
        assert [name for name, c in convolutions(network) if c.bias is not None] == ["output"]

    def test_batch_norm_and_relu_follow_every_convolution_but_the_last(
        self, network: CDNN29
    ) -> None:
        layers = leaves(network)
        positions = [i for i, (_, m) in enumerate(layers) if isinstance(m, nn.Conv2d)]
        for i in positions[:-1]:
            (name, convolution), (_, norm), (_, relu) = layers[i : i + 3]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d), name
            assert norm.num_features == convolution.out_channels, name
            assert isinstance(relu, nn.ReLU), name
        assert positions[-1] == len(layers) - 1
        assert sum(isinstance(m, nn.ReLU) for _, m in layers) == 17
        assert sum(isinstance(m, nn.BatchNorm2d) for _, m in layers) == 17 + 1 + 2

    def test_batch_norm_comes_first(self, network: CDNN29) -> None:
        first = leaves(network)[0][1]
        assert isinstance(first, nn.BatchNorm2d)
        assert first.num_features == 7

    def test_dropout_and_batch_norm_precede_conv_4_1_and_decv_5_1(self, network: CDNN29) -> None:
        layers = leaves(network)
        found = {}
        for i, (_, layer) in enumerate(layers):
            if isinstance(layer, Dropout):
                norm, (following, convolution) = layers[i + 1][1], layers[i + 2]
                assert isinstance(norm, nn.BatchNorm2d)
                assert isinstance(convolution, nn.Conv2d)
                assert norm.num_features == convolution.in_channels
                found[following] = (layers[i - 1][0], norm.num_features, layer.dropped / 256)
        assert found == {"conv-4-1": ("pool-3", 128, 0.5), "decv-5-1": ("ups-4", 32, 0.5)}

    def test_dropout_works_in_training_only(self, network: CDNN29) -> None:
        x = torch.rand(2, 7, 32, 32)
        with torch.no_grad():
            assert torch.equal(network.eval()(x), network.eval()(x))
            assert not torch.equal(network.train()(x), network.train()(x))

    @pytest.mark.parametrize("upright", [False, True])
    def test_it_shifts_nothing(self, upright: bool) -> None:
        """A rising and a falling ramp tell where the network looks.

        Made of averages alone the network returns a ramp as a ramp, raised a little by the
        maxima of the poolings. A shift raises one ramp and lowers the other.
        """
        network = CDNN29(1).eval().double()  # processors add up float32 in different orders
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            elif isinstance(module, nn.BatchNorm2d):
                module.eps = 0
        ramp = torch.arange(272.0).double().expand(272, 272)[None, None]
        rising = ramp.mT if upright else ramp
        with torch.inference_mode():
            up, down = network(rising)[0], network(271 - rising)[0]
        middle = slice(128, 144)  # one period of the poolings, out of reach of the border's zeros
        shift = (up - down - (2 * rising[0, 0] - 271))[middle, middle].mean().item() / 2
        assert abs(shift) < 1e-3

    def test_an_image_is_judged_without_its_neighbours(self, network: CDNN29) -> None:
        x = torch.rand(3, 7, 32, 32)
        with torch.inference_mode():
            together, alone = network.eval()(x)[1:2], network.eval()(x[1:2])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    def test_the_output_is_logits_not_probabilities(self) -> None:
        network = CDNN29(3).eval()
        output = convolutions(network)[-1][1]
        assert output.bias is not None
        nn.init.constant_(output.bias, -30.0)
        with torch.inference_mode():
            assert network(torch.rand(1, 3, 16, 16)).max() < -1

    def test_weights_start_glorot_uniform(self, network: CDNN29) -> None:
        for name, layer in convolutions(network):
            area = layer.kernel_size[0] ** 2
            bound = (6 / (area * (layer.in_channels + layer.out_channels))) ** 0.5
            largest = layer.weight.abs().max().item()
            assert 0.95 * bound < largest <= bound, name
            tolerance = 3 / layer.weight.numel() ** 0.5
            assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=tolerance), name
        output = convolutions(network)[-1][1]
        assert output.bias is not None
        assert output.bias.item() == 0

    def test_the_seed_decides_the_first_weights(self) -> None:
        def first_weights(seed: int) -> Tensor:
            torch.manual_seed(seed)
            return convolutions(CDNN29())[0][1].weight

        assert torch.equal(first_weights(5), first_weights(5))
        assert not torch.equal(first_weights(5), first_weights(6))


class TestGradient:
    def test_it_reaches_every_weight(self) -> None:
        torch.manual_seed(0)
        network = CDNN29()
        network(torch.rand(4, 7, 32, 32)).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert (parameter.grad != 0).any(), name
