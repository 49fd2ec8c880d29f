"""Dropout and the convolutions that keep an image's size."""

import pytest
import torch
from torch import Tensor, nn

from dermseg.training.networks.layers import Dropout, convolution, initialise


def dropped(probability: float, x: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    result: Tensor = Dropout(probability).train()(x)
    return result


class TestDropoutExceptions:
    @pytest.mark.parametrize("probability", [1.0, 1.5, -0.01, float("nan"), 0.999])
    def test_a_share_that_leaves_nothing_or_is_none_is_refused(self, probability: float) -> None:
        with pytest.raises(ValueError, match="probability"):
            Dropout(probability)


class TestDropoutFeatures:
    @pytest.mark.parametrize(
        ("probability", "share"), [(0.5, 0.5), (0.25, 0.25), (0.75, 0.75), (0.1, 26 / 256)]
    )
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_the_share_is_dropped_and_the_rest_scaled(
        self, probability: float, share: float, layout: torch.memory_format
    ) -> None:
        x = torch.ones(16, 16, 64, 64).contiguous(memory_format=layout)
        y = dropped(probability, x)
        sigma = (share * (1 - share) / x.numel()) ** 0.5
        assert abs((y == 0).double().mean().item() - share) < 5 * sigma
        assert y[y != 0].unique().tolist() == pytest.approx([1 / (1 - share)])
        assert abs(y.double().mean().item() - 1) < 5 * sigma / (1 - share)

    def test_every_place_in_a_random_word_is_used_alike(self) -> None:
        kept = dropped(0.5, torch.ones(2**19)).view(-1, 8) != 0
        sigma = 0.5 / len(kept) ** 0.5
        assert (kept.double().mean(0) - 0.5).abs().max().item() < 5 * sigma

    def test_neighbours_are_dropped_independently(self) -> None:
        kept = (dropped(0.5, torch.ones(2**18)) != 0).double() * 2 - 1
        for distance in (1, 2, 7, 8, 64):
            together = (kept[distance:] * kept[:-distance]).mean().item()
            assert abs(together) < 5 / len(kept) ** 0.5, distance

    def test_channels_and_images_have_masks_of_their_own(self) -> None:
        masks = (dropped(0.5, torch.ones(4, 5, 16, 16)) != 0).flatten(0, 1).flatten(1)
        assert len(masks.unique(dim=0)) == 20

    def test_every_call_draws_again(self) -> None:
        layer, x = Dropout(0.5), torch.ones(1000)
        assert not torch.equal(layer(x), layer(x))

    def test_the_same_seed_drops_the_same(self) -> None:
        x = torch.rand(3, 5, 8, 8)
        assert torch.equal(dropped(0.5, x, seed=7), dropped(0.5, x, seed=7))
        assert not torch.equal(dropped(0.5, x, seed=7), dropped(0.5, x, seed=8))

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_what_is_kept_stays_where_it_was(self, layout: torch.memory_format) -> None:
        x = torch.rand(3, 5, 7, 9).add(1).contiguous(memory_format=layout)
        y = dropped(0.5, x)
        torch.testing.assert_close(y[y != 0], 2 * x[y != 0])

    def test_evaluation_is_the_identity(self) -> None:
        x = torch.rand(3, 5)
        assert torch.equal(Dropout(0.5).eval()(x), x)

    def test_a_share_of_nothing_is_the_identity(self) -> None:
        x = torch.rand(3, 5)
        assert torch.equal(dropped(0.0, x), x)

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_the_memory_layout_is_kept(self, layout: torch.memory_format) -> None:
        x = torch.rand(3, 5, 7, 9).contiguous(memory_format=layout)
        assert dropped(0.5, x).stride() == x.stride()

    def test_bfloat16_stays_bfloat16(self) -> None:
        y = dropped(0.5, torch.ones(64, 64, dtype=torch.bfloat16))
        assert y.dtype == torch.bfloat16
        assert y.unique().tolist() == [0, 2]

    @pytest.mark.parametrize(
        "shape", [(), (0, 3), (5,), (3, 4), (2, 3, 5), (1, 1, 4, 4), (2, 3, 4, 5, 6)], ids=str
    )
    def test_any_shape_is_kept(self, shape: tuple[int, ...]) -> None:
        y = dropped(0.5, torch.ones(shape))
        assert y.shape == shape
        assert set(y.flatten().tolist()) <= {0.0, 2.0}

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_a_slice_of_a_tensor_is_dropped_like_any_other(
        self, layout: torch.memory_format
    ) -> None:
        x = torch.ones(8, 8, 16, 16).contiguous(memory_format=layout)[1:, ::2, 1:, 2:]
        y = dropped(0.5, x)
        assert y.shape == x.shape
        assert y.unique().tolist() == [0, 2]
        assert abs(y.mean().item() - 1) < 5 / x.numel() ** 0.5


class TestDropoutGradient:
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_it_flows_through_what_was_kept_and_nothing_else(
        self, layout: torch.memory_format
    ) -> None:
        x = torch.rand(2, 3, 8, 8).add(1).contiguous(memory_format=layout).requires_grad_()
        y = dropped(0.25, x)
        y.sum().backward()
        assert x.grad is not None
        assert (y == 0).any()
        torch.testing.assert_close(x.grad, (y != 0) / 0.75)


def plain(kernel: int, *, mirrored: bool = False) -> nn.Sequential:
    """Return a convolution that sums over its kernel, in evaluation."""
    block = convolution(1, 1, kernel, mirrored=mirrored).eval()
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
    return block


class TestConvolutionFeatures:
    @pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6])
    @pytest.mark.parametrize("mirrored", [False, True])
    @pytest.mark.parametrize("size", [(16, 16), (7, 10)], ids=str)
    def test_height_and_width_are_kept(
        self, kernel: int, mirrored: bool, size: tuple[int, int]
    ) -> None:
        assert convolution(3, 5, kernel, mirrored=mirrored)(torch.rand(2, 3, *size)).shape == (
            2,
            5,
            *size,
        )

    @pytest.mark.parametrize(
        ("kernel", "mirrored", "first", "last"),
        [
            (3, False, 7, 9),
            (3, True, 7, 9),
            (4, False, 6, 9),
            (4, True, 7, 10),
            (5, False, 6, 10),
            (6, False, 5, 10),
            (6, True, 6, 11),
        ],
    )
    def test_an_even_kernel_leans_one_way_and_mirrored_the_other(
        self, kernel: int, mirrored: bool, first: int, last: int
    ) -> None:
        x = torch.zeros(1, 1, 17, 17)
        x[0, 0, 8, 8] = 1
        lit = plain(kernel, mirrored=mirrored)(x)[0, 0] > 0.5
        expected = torch.zeros(17, 17, dtype=torch.bool)
        expected[first : last + 1, first : last + 1] = True
        assert torch.equal(lit, expected)

    def test_batch_norm_and_relu_follow(self) -> None:
        layers = [m for m in convolution(3, 5, 4).children() if not isinstance(m, nn.ZeroPad2d)]
        assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
        assert layers[0].bias is None

    def test_the_output_is_rectified_and_normalised(self) -> None:
        torch.manual_seed(0)
        y = convolution(3, 5, 3)(torch.rand(8, 3, 16, 16) * 100)
        assert y.min() == 0
        # The positive half of a variable of mean 0 and variance 1 cannot have a mean of over 1/2.
        assert (y.mean((0, 2, 3)) < 0.51).all()
        assert (y.mean((0, 2, 3)) > 0.1).all()


class TestInitialise:
    def test_weights_are_glorot_uniform_and_biases_zero(self) -> None:
        layer = nn.Conv2d(16, 48, 3)
        initialise(nn.Sequential(layer))
        bound = (6 / ((16 + 48) * 9)) ** 0.5
        assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert layer.weight.abs().max().item() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
        assert layer.bias is not None
        assert (layer.bias == 0).all()
