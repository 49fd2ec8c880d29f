"""Random changes to training images: what they do to pixels, and what chance they hang on."""

from math import log, pi

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from dermseg.settings import AugmentationSettings
from dermseg.training.augment import Draws, draw, recolor, sharpen, stretch_contrast, warp

NOTHING = AugmentationSettings(flip=False, rotation=0, scale=0, shift=0, contrast=0, window=0)
HEIGHT, WIDTH = 48, 64


def only(**changes: float) -> AugmentationSettings:
    """Return settings under which nothing but `changes` happens."""
    return AugmentationSettings(**{**vars(NOTHING), **changes})  # type: ignore[arg-type]


def drawn(settings: AugmentationSettings, images: int = 64, seed: int = 0) -> Draws:
    return draw(settings, images, 7, WIDTH / HEIGHT, torch.Generator().manual_seed(seed))


def identity(images: int = 1) -> Tensor:
    return torch.eye(2, 3).expand(images, 2, 3)


def marked(row: int, column: int) -> Tensor:
    """Return an image that is black but for one pixel."""
    image = torch.zeros(1, 1, HEIGHT, WIDTH)
    image[0, 0, row, column] = 1
    return image


def disc(row: float, column: float, radius: float) -> Tensor:
    """Return a soft-edged disc at a position in pixels."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return (radius + 0.5 - torch.hypot(y - row, x - column)).clamp(0, 1)[None, None]


def moments(image: Tensor) -> tuple[float, float, float, float, float, float]:
    """Return an image's area, its centre (row, column), and its spreads (rr, cc, rc)."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    area = image.sum()
    row, column = (image * y).sum() / area, (image * x).sum() / area
    y, x = y - row, x - column
    spreads = [(image * a * b).sum().item() / area.item() for a, b in ((y, y), (x, x), (y, x))]
    return area.item(), row.item(), column.item(), spreads[0], spreads[1], spreads[2]


class TestDrawFeatures:
    def test_nothing_allowed_is_nothing_done(self) -> None:
        draws = drawn(NOTHING)
        torch.testing.assert_close(draws.affine, identity(64).contiguous())
        assert (draws.low == 0).all()
        assert (draws.high == 1).all()

    def test_the_table_has_a_row_an_image_and_a_window_a_channel(self) -> None:
        draws = drawn(AugmentationSettings(), images=9)
        assert draws.affine.shape == (9, 2, 3)
        assert draws.low.shape == draws.high.shape == (9, 7)

    def test_it_hangs_on_the_generators_seed_and_nothing_else(self) -> None:
        torch.manual_seed(1)
        first = drawn(AugmentationSettings(), seed=5)
        torch.manual_seed(2)
        torch.rand(3)
        again = drawn(AugmentationSettings(), seed=5)
        other = drawn(AugmentationSettings(), seed=6)
        for name in ("affine", "low", "high"):
            assert torch.equal(getattr(first, name), getattr(again, name)), name
            assert not torch.equal(getattr(first, name), getattr(other, name)), name

    def test_it_leaves_the_global_generator_alone(self) -> None:
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        drawn(AugmentationSettings())
        assert torch.equal(torch.rand(3), expected)

    def test_images_are_drawn_independently(self) -> None:
        draws = drawn(AugmentationSettings(contrast=1))
        assert len(draws.affine.flatten(1).unique(dim=0)) == 64
        assert len(draws.low.flatten().unique()) > 400

    def test_rows_picks_the_images_in_the_order_asked(self) -> None:
        draws = drawn(AugmentationSettings())
        some = draws.rows(torch.tensor([5, 0, 63, 5]))
        for place, row in enumerate((5, 0, 63, 5)):
            assert torch.equal(some.affine[place], draws.affine[row])
            assert torch.equal(some.low[place], draws.low[row])
            assert torch.equal(some.high[place], draws.high[row])

    def test_flips_are_even_in_both_directions(self) -> None:
        affine = drawn(only(flip=True), images=4000).affine
        for horizontal in (-1, 1):
            for vertical in (-1, 1):
                both = (affine[:, 0, 0] == horizontal) & (affine[:, 1, 1] == vertical)
                assert 0.2 < both.double().mean().item() < 0.3

    def test_angles_fill_their_range(self) -> None:
        affine = drawn(only(rotation=30), images=4000).affine.double()
        degrees = torch.atan2(affine[:, 1, 0] * HEIGHT / WIDTH, affine[:, 1, 1]) * 180 / pi
        assert degrees.abs().max().item() <= 30.001
        assert degrees.min().item() < -29
        assert degrees.max().item() > 29
        assert abs(degrees.mean().item()) < 2

    def test_factors_fill_their_range_evenly_in_the_logarithm(self) -> None:
        factors = torch.linalg.det(drawn(only(scale=0.25), images=4000).affine[:, :, :2]).sqrt()
        assert 1 / 1.25 <= factors.min().item() + 1e-6 < 0.81
        assert 1.24 < factors.max().item() - 1e-6 <= 1.25
        assert abs(factors.log().mean().item()) < 0.02 * log(1.25) * 3

    def test_shifts_are_fractions_of_their_side(self) -> None:
        shifts = drawn(only(shift=0.1), images=4000).affine[:, :, 2] / 2
        for along in shifts.unbind(1):
            assert -0.1 <= along.min().item() < -0.099
            assert 0.099 < along.max().item() <= 0.1
        assert abs(torch.corrcoef(shifts.T)[0, 1].item()) < 0.1

    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_windows_are_drawn_for_their_share_of_channels(self, share: float) -> None:
        draws = drawn(only(contrast=share, window=10), images=2000)
        stretched = (draws.low > 0) | (draws.high < 1)
        assert stretched.double().mean().item() == pytest.approx(share, abs=0.02)
        assert 0 <= draws.low.min().item() <= draws.low.max().item() <= 0.1
        assert 0.9 <= draws.high.min().item() <= draws.high.max().item() <= 1
        if share:
            assert draws.low.max().item() > 0.099
            assert draws.high.min().item() < 0.901

    def test_channels_of_an_image_are_stretched_each_by_itself(self) -> None:
        stretched = drawn(only(contrast=0.5, window=10)).low > 0
        assert (stretched.any(1) & ~stretched.all(1)).double().mean().item() > 0.9


class TestWarpFeatures:
    def test_the_identity_returns_the_image(self) -> None:
        images = torch.rand(3, 4, HEIGHT, WIDTH)
        torch.testing.assert_close(
            warp(images, identity(3), HEIGHT, WIDTH), images, atol=1e-5, rtol=0
        )

    def test_nothing_allowed_returns_the_image(self) -> None:
        images = torch.rand(3, 4, HEIGHT, WIDTH)
        warped = warp(images, drawn(NOTHING, images=3).affine, HEIGHT, WIDTH)
        torch.testing.assert_close(warped, images, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("sideways", [-1, 1])
    @pytest.mark.parametrize("upright", [-1, 1])
    def test_flips_mirror_the_image(self, sideways: int, upright: int) -> None:
        images = torch.rand(1, 4, HEIGHT, WIDTH)
        affines = drawn(only(flip=True)).affine
        chosen = (affines[:, 0, 0] == sideways) & (affines[:, 1, 1] == upright)
        axes = ([3] if sideways < 0 else []) + ([2] if upright < 0 else [])
        warped = warp(images, affines[chosen][:1], HEIGHT, WIDTH)
        torch.testing.assert_close(warped, images.flip(axes), atol=1e-5, rtol=0)

    @pytest.mark.parametrize(("down", "right"), [(5, 0), (0, 5), (-3, 7)])
    def test_shifts_move_a_pixel_as_far_as_they_say(self, down: int, right: int) -> None:
        affine = identity().clone()
        affine[0, :, 2] = torch.tensor([-2 * right / WIDTH, -2 * down / HEIGHT])
        warped = warp(marked(20, 30), affine, HEIGHT, WIDTH)
        torch.testing.assert_close(warped, marked(20 + down, 30 + right), atol=1e-4, rtol=0)

    def test_half_a_turn_moves_a_pixel_to_the_opposite_side(self) -> None:
        affine = -identity()
        warped = warp(marked(10, 12), affine, HEIGHT, WIDTH)
        torch.testing.assert_close(
            warped, marked(HEIGHT - 1 - 10, WIDTH - 1 - 12), atol=1e-4, rtol=0
        )

    def test_a_rotated_disc_stays_a_disc_at_its_distance_from_the_centre(self) -> None:
        radius, away = 5.0, 14.0
        image = disc(HEIGHT / 2, WIDTH / 2 + away, radius)
        area, *_ = moments(image)
        affines = drawn(only(rotation=180), images=40).affine
        angles = []
        for affine in affines:
            found = moments(warp(image, affine[None], HEIGHT, WIDTH))
            down, right = found[1] - HEIGHT / 2, found[2] - WIDTH / 2
            assert found[0] == pytest.approx(area, rel=0.02)
            assert np.hypot(down, right) == pytest.approx(away, abs=0.1)
            assert found[3] == pytest.approx(radius**2 / 4, rel=0.07)
            assert found[4] == pytest.approx(radius**2 / 4, rel=0.07)
            assert abs(found[5]) < 0.05 * radius**2 / 4
            # The content turns against the map, which leads from output to input.
            turned = torch.atan2(affine[0, 1] * WIDTH / HEIGHT, affine[1, 1]).item()
            assert np.exp(1j * np.arctan2(down, right)) == pytest.approx(
                np.exp(1j * turned), abs=0.02
            )
            angles.append(turned)
        assert max(angles) - min(angles) > pi

    def test_a_scaled_disc_grows_alike_in_both_directions(self) -> None:
        image = disc(HEIGHT / 2, WIDTH / 2, 10)
        area, *_ = moments(image)
        for affine in drawn(only(scale=0.25), images=20).affine:
            found = moments(warp(image, affine[None], HEIGHT, WIDTH))
            factor = 1 / affine[0, 0].item()
            assert found[0] == pytest.approx(area * factor**2, rel=0.03)
            assert found[3] == pytest.approx(found[4], rel=0.03)
            assert found[1:3] == pytest.approx((HEIGHT / 2, WIDTH / 2), abs=0.05)

    def test_flips_and_rotations_together_shear_nothing(self) -> None:
        true_scale = torch.diag(torch.tensor([WIDTH / HEIGHT, 1.0]))
        affine = drawn(AugmentationSettings()).affine[:, :, :2]
        turned = true_scale @ affine @ true_scale.inverse()
        gram = turned.mT @ turned
        torch.testing.assert_close(gram[:, 0, 0], gram[:, 1, 1])
        torch.testing.assert_close(gram[:, 0, 1], torch.zeros(64), atol=1e-5, rtol=0)

    def test_outside_is_the_mirror_image(self) -> None:
        image = torch.rand(1, 2, HEIGHT, WIDTH)
        affine = identity().clone()
        affine[0, 0, 2] = 2 * 6 / WIDTH
        warped = warp(image, affine, HEIGHT, WIDTH)
        expected = torch.cat((image[..., 6:], image[..., -6:].flip(-1)), -1)
        torch.testing.assert_close(warped, expected, atol=1e-4, rtol=0)

    def test_all_channels_and_only_the_own_image_take_part(self) -> None:
        image = torch.rand(2, 1, HEIGHT, WIDTH)
        affine = drawn(AugmentationSettings(), images=2).affine
        both = warp(image.expand(-1, 4, -1, -1), affine, HEIGHT, WIDTH)
        for channel in range(4):
            assert torch.equal(both[:, channel], both[:, 0])
        alone = warp(image[1:], affine[1:], HEIGHT, WIDTH)
        torch.testing.assert_close(both[1:, :1], alone, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("divisor", [1, 2])
    def test_a_smaller_output_stays_aligned(self, divisor: int) -> None:
        def ramps(height: int, width: int) -> Tensor:
            y = (torch.arange(height) + 0.5)[:, None].expand(height, width) / height
            x = (torch.arange(width) + 0.5)[None].expand(height, width) / width
            return torch.stack((y, x))[None]

        height, width = HEIGHT // divisor, WIDTH // divisor
        warped = warp(ramps(HEIGHT, WIDTH), identity(), height, width)
        torch.testing.assert_close(warped, ramps(height, width), atol=1e-5, rtol=0)

    def test_half_the_size_averages_four_pixels(self) -> None:
        image = torch.rand(1, 2, HEIGHT, WIDTH)
        warped = warp(image, identity(), HEIGHT // 2, WIDTH // 2)
        torch.testing.assert_close(
            warped, torch.nn.functional.avg_pool2d(image, 2), atol=1e-5, rtol=0
        )

    @pytest.mark.parametrize("seed", range(3))
    def test_values_stay_within_those_of_the_image(self, seed: int) -> None:
        image = torch.rand(8, 2, HEIGHT, WIDTH).round()
        affine = drawn(AugmentationSettings(shift=1.5, scale=3), images=8, seed=seed).affine
        warped = warp(image, affine, HEIGHT, WIDTH)
        assert warped.isfinite().all()
        assert warped.min() >= -1e-5
        assert warped.max() <= 1 + 1e-5


def windows(channels: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    return torch.full(channels.shape[:2], low), torch.full(channels.shape[:2], high)


class TestStretchContrastFeatures:
    def test_the_whole_window_changes_nothing(self) -> None:
        channels = torch.rand(2, 7, HEIGHT, WIDTH) * 0.5 + 0.2
        assert torch.equal(stretch_contrast(channels, *windows(channels, 0, 1)), channels)

    @pytest.mark.parametrize(("low", "high"), [(0.05, 0.95), (0.1, 1.0), (0.0, 0.9), (0.2, 0.7)])
    def test_percentiles_become_0_and_1(self, low: float, high: float) -> None:
        generator = torch.Generator().manual_seed(0)
        channels = torch.rand(2, 3, 192, 256, generator=generator) ** 2 * 0.6 + 0.2
        stretched = stretch_contrast(channels, *windows(channels, low, high))
        for before, after in zip(channels.flatten(0, 1), stretched.flatten(0, 1), strict=True):
            assert (after == 0).double().mean().item() == pytest.approx(low, abs=0.03)
            assert (after == 1).double().mean().item() == pytest.approx(1 - high, abs=0.03)
            floor, ceiling = np.quantile(before.numpy(), [low, high])
            inside = (after > 0) & (after < 1)
            expected = (before - floor) / (ceiling - floor)
            torch.testing.assert_close(after[inside], expected[inside], atol=0.06, rtol=0)

    def test_a_channel_without_contrast_stays_as_it_is(self) -> None:
        channels = torch.full((1, 3, 16, 16), 0.3)
        channels[0, 1] = 0
        channels[0, 2] = 1
        assert torch.equal(stretch_contrast(channels, *windows(channels, 0.05, 0.95)), channels)

    def test_each_channel_of_each_image_has_its_own_window(self) -> None:
        channels = torch.rand(2, 2, 32, 32) * 0.5 + 0.25
        low = torch.tensor([[0.0, 0.1], [0.2, 0.0]])
        high = torch.tensor([[1.0, 0.9], [1.0, 1.0]])
        stretched = stretch_contrast(channels, low, high)
        for image in range(2):
            for channel in range(2):
                alone = stretch_contrast(
                    channels[image : image + 1, channel : channel + 1],
                    low[image : image + 1, channel : channel + 1],
                    high[image : image + 1, channel : channel + 1],
                )
                assert torch.equal(stretched[image, channel], alone[0, 0])
        assert torch.equal(stretched[0, 0], channels[0, 0])
        assert not torch.equal(stretched[1, 0], channels[1, 0])

    def test_its_input_is_left_alone(self) -> None:
        channels = torch.rand(1, 2, 16, 16)
        before = channels.clone()
        stretch_contrast(channels, *windows(channels, 0.1, 0.9))
        assert torch.equal(channels, before)

    @settings(max_examples=150, deadline=None)
    @given(
        channels=arrays(
            np.float32, (1, 2, 9, 6), elements=st.floats(0, 1, width=32, allow_subnormal=True)
        ),
        low=st.floats(0, 0.625, width=32),
        high=st.floats(0.375, 1, width=32),
    )
    def test_the_result_is_always_within_0_and_1(
        self, channels: NDArray[np.float32], low: float, high: float
    ) -> None:
        x = torch.from_numpy(channels)
        stretched = stretch_contrast(x, *windows(x, low, high))
        assert stretched.shape == x.shape
        assert stretched.isfinite().all()
        assert stretched.min() >= 0
        assert stretched.max() <= 1
        # Order is kept, so that no edge is turned inside out.
        for before, after in zip(x.flatten(2)[0], stretched.flatten(2)[0], strict=True):
            assert (after[before.argsort()].diff() >= 0).all()


class TestRecolorFeatures:
    def test_no_color_no_map(self) -> None:
        assert drawn(NOTHING).color is None
        assert drawn(only(color=0.5)).color is not None

    def test_what_else_happens_does_not_hang_on_it(self) -> None:
        plain, colored = drawn(AugmentationSettings()), drawn(AugmentationSettings(color=1))
        for name in ("affine", "low", "high"):
            assert torch.equal(getattr(plain, name), getattr(colored, name))

    def test_brightness_stays_in_its_range_and_fills_it(self) -> None:
        color = drawn(only(color=0.5), 4000).color
        assert color is not None
        gains = color[:, :, :3].sum(2).log()  # what grey is multiplied with
        reach = log(1.5)
        assert gains.abs().max() <= reach * 4 / 3 + 1e-5
        together = gains.mean(1)
        assert together.min() < -0.8 * reach
        assert together.max() > 0.8 * reach
        own = (gains - together[:, None]).abs().max()
        assert 0.2 * reach < own <= reach * 4 / 9 + 1e-5, "each channel's own, about their mean"
        assert color[:, 0, 3].abs().max() <= reach / 4

    def test_each_image_has_its_own(self) -> None:
        color = drawn(only(color=0.5)).color
        assert color is not None
        assert len(color.flatten(1).unique(dim=0)) == 64

    def test_saturation_moves_colours_along_their_grey(self) -> None:
        color = drawn(only(color=0.5), 1).color
        assert color is not None
        mixing = color[0, :, :3] / color[0, :, :3].sum(1, keepdim=True)
        saturation = 1 - 3 * mixing[0, 1]
        expected = saturation * torch.eye(3) + (1 - saturation) / 3
        torch.testing.assert_close(mixing, expected)
        assert 1 / 1.5 <= saturation <= 1.5

    def test_pixels_are_mapped_and_clipped(self) -> None:
        rgb = torch.tensor([0.2, 0.4, 0.9]).reshape(1, 3, 1, 1).expand(2, 3, 4, 5)
        swap = torch.tensor([[0.0, 1, 0, 0.1], [1, 0, 0, 0], [0, 0, 2, 0]])
        maps = torch.stack((torch.eye(3, 4), swap))
        found = recolor(rgb, maps)
        torch.testing.assert_close(found[0], rgb[0])
        torch.testing.assert_close(found[1, :, 2, 2], torch.tensor([0.5, 0.2, 1.0]))


class TestSharpenFeatures:
    def test_none_unless_asked_for(self) -> None:
        assert drawn(NOTHING).sharpness is None
        drew = drawn(only(sharpness=1), 1000).sharpness
        assert drew is not None
        assert -1 <= drew.min() < -0.9
        assert 0.9 < drew.max() <= 1

    def test_zero_leaves_the_image_and_plain_areas_stay(self) -> None:
        image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(sharpen(image, torch.zeros(1)), image)
        plain = torch.full((2, 3, 8, 8), 0.3)
        torch.testing.assert_close(sharpen(plain, torch.tensor([-1.0, 1.0])), plain)

    def test_negative_blurs_and_positive_sharpens(self) -> None:
        edge = torch.full((2, 1, 6, 6), 0.4)
        edge[..., 3:] = 0.6
        found = sharpen(edge, torch.tensor([-1.0, 1.0]))
        step = found[..., 3] - found[..., 2]
        assert (step[0] < 0.19).all()
        assert (step[1] > 0.21).all()
        torch.testing.assert_close(found[0, 0, 3, 2], torch.tensor((2 * 0.4 + 0.6) / 3))
