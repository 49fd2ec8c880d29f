"""What training minimises."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from dermseg.settings import Loss


def jaccard_distance(probability: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Return the Jaccard distance of the paper (section III-A, from its reference [17]).

    For each image, with sums over its pixels,

        1 - (sum(t p) + s) / (sum(t t) + sum(p p) - sum(t p) + s)

    and then the mean over the images: the challenge's metric is a mean over images too. `smooth`,
    s, is one pixel. It makes the distance of an empty target 0 for an empty prediction, and the
    gradient there pushes the prediction towards empty (the challenge scores such a pair as 1);
    on a lesion it changes nothing that matters.

    `probability` and `target` are (N, H, W) in 0..1; targets may be fractional at the border.
    The sums run in at least float32: bfloat16 cannot count the pixels of one lesion.
    """
    dtype = torch.promote_types(probability.dtype, torch.float32)
    p, t = probability.to(dtype), target.to(dtype)
    common = (t * p).sum((1, 2))
    union = (t * t).sum((1, 2)) + (p * p).sum((1, 2)) - common
    return (1 - (common + smooth) / (union + smooth)).mean()


def _jaccard(logits: Tensor, target: Tensor) -> Tensor:
    return jaccard_distance(logits.sigmoid(), target)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy over all pixels, which the paper's loss is to beat.

    `logits` and `target` are (N, H, W), targets in 0..1. Classes are not weighted (Ronneberger et
    al. 2015 add weight to the gaps between cells, which a single lesion has none of).
    """
    return functional.binary_cross_entropy_with_logits(logits.float(), target.float())


LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "jaccard": _jaccard,
    "cross-entropy": cross_entropy,
}
"""From logits and targets, (N, H, W), to a scalar."""
