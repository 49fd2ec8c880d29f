"""The reconstructed CDNN-19: its table, its published count, and how it relates to CDNN-29."""

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

from dermseg.training.networks.cdnn19 import CDNN19, RECONSTRUCTION
from dermseg.training.networks.cdnn29 import CDNN29, TABLE_I
from dermseg.training.networks.layers import Dropout, Layer


def is_convolution(layer: Layer) -> bool:
    return layer.name.startswith(("conv", "decv", "output"))


def kernels(table: Iterable[Layer]) -> list[int]:
    return [layer.kernel for layer in table if is_convolution(layer)]


def receptive_field(table: Iterable[Layer]) -> int:
    """Return the nominal side, in input pixels, of what one output pixel sees."""
    side, step = 1, 1
    for layer in table:
        if layer.name.startswith("ups"):
            step //= layer.kernel
            continue
        side += (layer.kernel - 1) * step
        if layer.name.startswith("pool"):
            step *= layer.kernel
    return side


def count(network: nn.Module) -> int:
    """Count parameters as the paper does: running mean and variance included."""
    running = (b.numel() for name, b in network.named_buffers() if "running" in name)
    return sum(p.numel() for p in network.parameters()) + sum(running)


def test_nineteen_layers_with_the_input() -> None:
    names = [layer.name for layer in RECONSTRUCTION]
    assert len(names) + 1 == 19
    assert sum(is_convolution(layer) for layer in RECONSTRUCTION) == 10
    assert sum(name.startswith("pool") for name in names) == 4
    assert sum(name.startswith("ups") for name in names) == 4


def test_widths_are_mirrored_between_the_paths() -> None:
    widths = [layer.features for layer in RECONSTRUCTION if is_convolution(layer)]
    assert widths == [8, 16, 32, 32, 128, 32, 32, 16, 8, 1]


def test_the_modules_follow_the_table() -> None:
    network = CDNN19(3, 0.5)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    rows = [layer for layer in RECONSTRUCTION if is_convolution(layer)]
    inputs = 3
    for convolution, row in zip(convolutions, rows, strict=True):
        assert convolution.weight.shape == (row.features, inputs, row.kernel, row.kernel)
        assert convolution.bias is not None
        inputs = row.features
    dropouts = [i for i, m in enumerate(network.layers) if isinstance(m, Dropout)]
    names = [name for name, _ in network.layers.named_children()]
    assert [names[i + 1] for i in dropouts] == ["conv-4", "decv-4"]


@pytest.mark.parametrize(("channels", "expected"), [(3, 290_129), (7, 290_929)])
def test_parameter_count(channels: int, expected: int) -> None:
    assert count(CDNN19(channels, 0.5)) == expected


@pytest.mark.parametrize("channels", [3, 7])
def test_output_has_the_shape_of_the_input(channels: int) -> None:
    network = CDNN19(channels, 0.5).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, channels, 48, 64)).shape == (2, 48, 64)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network = CDNN19(3, 0.5)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


def test_each_large_kernel_stands_for_a_pair_of_cdnn29() -> None:
    small = kernels(TABLE_I)
    pairs = [a + b - 1 for a, b in zip(small[::2], small[1::2], strict=True)]
    assert pairs == [5, 5, 6, 5, 5, 5, 6, 5, 5]
    assert kernels(RECONSTRUCTION) == [min(side, 5) for side in pairs] + [1]


def test_receptive_field_is_nearly_that_of_cdnn29() -> None:
    assert receptive_field(RECONSTRUCTION) == 200
    assert receptive_field(TABLE_I) == 208


def blur_response(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the output on `x` when every convolution is a plain mean over its window."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    with torch.inference_mode():
        response: torch.Tensor = network.eval()(x)
    return response[0]


def centred_square() -> torch.Tensor:
    x = torch.zeros(1, 3, 256, 256)
    x[..., 112:144, 112:144] = 1
    return x


def test_a_symmetric_image_gets_a_symmetric_answer() -> None:
    response = blur_response(CDNN19(3, 0.5), centred_square())
    assert response.max() > 0
    for axis in (0, 1):
        torch.testing.assert_close(response, response.flip(axis))
    torch.testing.assert_close(response, response.T)


@pytest.mark.parametrize("build", [CDNN19, CDNN29])
def test_networks_do_not_shift_the_image(build: Callable[[int, float], nn.Module]) -> None:
    """Max pooling behind an even kernel is not quite symmetric, but the half pixels cancel."""
    response = blur_response(build(3, 0.5), centred_square()).double()
    position = torch.arange(256, dtype=torch.float64) - 127.5
    for axis in (0, 1):
        shift = (response.sum(1 - axis) @ position) / response.sum()
        assert abs(shift.item()) < 0.5
