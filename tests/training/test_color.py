"""Colour channels against scikit-image, which defines them here."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2hsv, rgb2lab
from torch import Tensor

from dermseg.training.color import ColorChannels, hsv, lightness

EDGES = torch.tensor(
    [
        (0, 0, 0),
        (255, 255, 255),
        (1, 1, 1),
        (128, 128, 128),
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 0),
        (255, 0, 255),
        (0, 255, 255),
        (200, 200, 10),
        (200, 10, 200),
        (10, 200, 200),
        (255, 0, 1),
        (255, 1, 0),
        (255, 254, 254),
        (255, 253, 254),
        (0, 0, 1),
        (1, 0, 0),
        (10, 10, 11),
        (11, 11, 10),
    ],
    dtype=torch.float64,
).div(255)


def as_image(colours: Tensor) -> Tensor:
    """Return a list of colours (n, 3) as an image (1, 3, 1, n)."""
    return colours.T[None, :, None, :]


def as_list(image: Tensor) -> Tensor:
    """Return an image (1, c, 1, n) as a list (n, c)."""
    return image[0, :, 0].T


def random_colours(count: int = 5000) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def turn_apart(one: Tensor, other: Tensor) -> Tensor:
    """Return the distance of hues, on the circle."""
    apart = (one - other).abs()
    return torch.minimum(apart, 1 - apart)


def grid() -> Tensor:
    """Return 636,056 of the 8-bit colours as an image: every third value of each channel."""
    values = torch.arange(0, 256, 3) / 255
    return as_image(torch.cartesian_prod(values, values, values))


class TestFeatures:
    @pytest.mark.parametrize("colours", [EDGES, random_colours()], ids=["edges", "random"])
    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str
    )
    def test_hsv_is_that_of_scikit_image(
        self, colours: Tensor, dtype: torch.dtype, tolerance: float
    ) -> None:
        ours = as_list(hsv(as_image(colours.to(dtype)))).double()
        theirs = torch.from_numpy(rgb2hsv(colours.numpy()))
        near_grey = theirs[:, 1] < 1e-3  # the hue of float32 noise
        assert turn_apart(ours[:, 0], theirs[:, 0])[~near_grey].max() < tolerance
        torch.testing.assert_close(ours[:, 1:], theirs[:, 1:], atol=tolerance, rtol=0)

    @pytest.mark.parametrize("colours", [EDGES, random_colours()], ids=["edges", "random"])
    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str
    )
    def test_lightness_is_that_of_scikit_image(
        self, colours: Tensor, dtype: torch.dtype, tolerance: float
    ) -> None:
        ours = as_list(lightness(as_image(colours.to(dtype))))[:, 0].double()
        theirs = torch.from_numpy(rgb2lab(colours.numpy())[:, 0]) / 100
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)

    def test_dark_colours_take_the_straight_part_of_both_curves(self) -> None:
        dark = random_colours() * 0.1
        assert (as_list(lightness(as_image(dark))) < 0.08).any()
        theirs = torch.from_numpy(rgb2lab(dark.numpy())[:, 0]) / 100
        ours = as_list(lightness(as_image(dark)))[:, 0]
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)

    @pytest.mark.parametrize(
        ("colour", "hue"),
        [
            ((1, 0, 0), 0),
            ((1, 1, 0), 1 / 6),
            ((0, 1, 0), 1 / 3),
            ((0, 1, 1), 1 / 2),
            ((0, 0, 1), 2 / 3),
            ((1, 0, 1), 5 / 6),
        ],
    )
    def test_pure_hues_are_sixths_of_a_turn(self, colour: tuple[int, int, int], hue: float) -> None:
        found = hsv(torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)).flatten()
        assert found.tolist() == pytest.approx([hue, 1, 1], abs=1e-6)

    def test_greys_have_neither_hue_nor_saturation(self) -> None:
        greys = (torch.arange(256) / 255)[:, None].expand(-1, 3)
        assert (as_list(hsv(as_image(greys)))[:, :2] == 0).all()

    def test_every_channel_of_every_colour_is_within_0_and_1(self) -> None:
        channels = ColorChannels("rgb-hsv-l")(grid())
        assert channels.min() == 0
        assert channels.max() == 1
        assert channels.isfinite().all()
        for channel in as_list(channels).unbind(1):
            assert channel.min() == pytest.approx(0, abs=1e-6)
            assert channel.max() > 0.99

    def test_the_seven_channels_come_in_the_documented_order(self) -> None:
        rgb = torch.rand(2, 3, 5, 4)
        channels = ColorChannels("rgb-hsv-l")(rgb)
        assert torch.equal(channels[:, :3], rgb)
        pixels = rgb.movedim(1, -1).numpy()
        assert np.allclose(channels[:, 3:6].movedim(1, -1), rgb2hsv(pixels), atol=1e-4)
        assert np.allclose(channels[:, 6], rgb2lab(pixels)[..., 0] / 100, atol=1e-5)

    def test_rgb_passes_through(self) -> None:
        rgb = torch.rand(2, 3, 5, 4)
        assert torch.equal(ColorChannels("rgb")(rgb), rgb)

    def test_pixels_do_not_influence_each_other(self) -> None:
        rgb = torch.rand(2, 3, 6, 4)
        whole = ColorChannels("rgb-hsv-l")(rgb)
        part = ColorChannels("rgb-hsv-l")(rgb[1:, :, 2:5, 1:])
        torch.testing.assert_close(whole[1:, :, 2:5, 1:], part)


class TestGradient:
    def test_it_is_finite_even_for_greys_black_and_white(self) -> None:
        rgb = as_image(EDGES).float().requires_grad_()
        ColorChannels("rgb-hsv-l")(rgb).sum().backward()
        assert rgb.grad is not None
        assert rgb.grad.isfinite().all()
