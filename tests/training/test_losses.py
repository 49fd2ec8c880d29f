"""The Jaccard distance: its value, its gradient, and sums that do not lose pixels."""

import pytest
import torch
from monai.losses import DiceLoss
from torch import Tensor

from dermseg.training.losses import jaccard_distance


def random_pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    probability = torch.rand(shape, generator=generator, dtype=torch.float64)
    target = torch.rand(shape, generator=generator, dtype=torch.float64).mul(3).sub(1).clamp(0, 1)
    return probability, target


class TestFeatures:
    @pytest.mark.parametrize("smooth", [1.0, 0.25])
    def test_it_is_the_published_formula_image_by_image(self, smooth: float) -> None:
        probability, target = random_pair(3, 4, 5)
        distances = []
        for p, t in zip(probability.tolist(), target.tolist(), strict=True):
            pixels = [(a, b) for x, y in zip(p, t, strict=True) for a, b in zip(x, y, strict=True)]
            common = sum(a * b for a, b in pixels)
            union = sum(a * a + b * b for a, b in pixels) - common
            distances.append(1 - (common + smooth) / (union + smooth))
        found = jaccard_distance(probability, target, smooth)
        assert found.item() == pytest.approx(sum(distances) / 3, abs=1e-12)

    def test_it_is_monais(self) -> None:
        probability, target = random_pair(4, 16, 24)
        # MONAI doubles numerator and denominator, so that one pixel for us is two for it.
        monai = DiceLoss(jaccard=True, squared_pred=True, sigmoid=False, smooth_nr=2, smooth_dr=2)
        theirs = monai(probability[:, None], target[:, None])
        torch.testing.assert_close(jaccard_distance(probability, target), theirs)

    def test_half_an_overlap(self) -> None:
        probability, target = torch.zeros(1, 10, 15), torch.zeros(1, 10, 15)
        probability[:, :, :10], target[:, :, 5:] = 1, 1
        assert jaccard_distance(probability, target).item() == pytest.approx(1 - 51 / 151)

    def test_a_batch_is_the_mean_of_its_images(self) -> None:
        probability, target = random_pair(5, 8, 8)
        target[0] = 0  # unlike images, so that pooled sums would differ
        target[1, 1:] = 0
        alone = [
            jaccard_distance(p[None], t[None]) for p, t in zip(probability, target, strict=True)
        ]
        together = jaccard_distance(probability, target)
        torch.testing.assert_close(together, torch.stack(alone).mean())

    def test_a_perfect_prediction_is_no_distance_away(self) -> None:
        target = (random_pair(3, 12, 12)[1] > 0.5).double()
        assert 0 < target.mean() < 1
        assert jaccard_distance(target, target).item() == pytest.approx(0, abs=1e-12)

    def test_the_opposite_prediction_is_almost_1_away(self) -> None:
        target = (random_pair(3, 40, 40)[1] > 0.5).double()
        assert 0.999 < jaccard_distance(1 - target, target).item() < 1

    def test_nothing_found_where_nothing_is_costs_nothing(self) -> None:
        nothing = torch.zeros(2, 6, 6)
        assert jaccard_distance(nothing, nothing).item() == 0

    def test_anything_found_where_nothing_is_costs_by_its_size(self) -> None:
        nothing = torch.zeros(1, 6, 6)
        little, much = nothing.clone(), nothing.clone()
        little[0, 0, 0] = 1
        much[:] = 1
        assert jaccard_distance(little, nothing).item() == pytest.approx(1 - 1 / 2)
        assert jaccard_distance(much, nothing).item() == pytest.approx(1 - 1 / 37)

    def test_bfloat16_is_summed_in_float32(self) -> None:
        target = torch.zeros(1, 192, 256).bfloat16()
        target.view(-1)[:10_001] = 1  # bfloat16 takes this for 9,984
        probability = target * 0.9 + 0.05
        exact = jaccard_distance(probability.double(), target.double()).item()

        common = (target * probability).sum((1, 2))
        union = (target * target).sum((1, 2)) + (probability * probability).sum((1, 2)) - common
        rounded = (1 - (common + 1) / (union + 1)).mean()
        assert rounded.dtype == torch.bfloat16

        found = jaccard_distance(probability, target)
        assert found.dtype == torch.float32
        assert abs(found.item() - exact) < 1e-5
        assert abs(rounded.item() - exact) > 0.01

    def test_float64_stays_float64(self) -> None:
        assert jaccard_distance(*random_pair(1, 4, 4)).dtype == torch.float64


class TestGradient:
    def test_it_is_the_numerical_one(self) -> None:
        probability, target = random_pair(2, 4, 5)
        assert torch.autograd.gradcheck(
            lambda p: jaccard_distance(p, target), probability.requires_grad_()
        )

    def test_it_pushes_towards_empty_where_the_target_is_empty(self) -> None:
        probability = random_pair(1, 5, 5)[0].requires_grad_()
        jaccard_distance(probability, torch.zeros(1, 5, 5)).backward()
        assert probability.grad is not None
        assert (probability.grad > 0).all()

    def test_it_pulls_up_inside_the_lesion_and_pushes_down_outside(self) -> None:
        target = torch.zeros(1, 8, 8)
        target[:, :4] = 1
        probability = torch.full((1, 8, 8), 0.5, requires_grad=True)
        jaccard_distance(probability, target).backward()
        assert probability.grad is not None
        assert (probability.grad[target == 1] < 0).all()
        assert (probability.grad[target == 0] > 0).all()

    def test_it_reaches_bfloat16_predictions(self) -> None:
        probability = torch.full((1, 8, 8), 0.5, dtype=torch.bfloat16, requires_grad=True)
        jaccard_distance(probability, torch.ones(1, 8, 8)).backward()
        assert probability.grad is not None
        assert (probability.grad < 0).all()
