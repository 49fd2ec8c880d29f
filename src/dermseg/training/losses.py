"""The losses that training can minimise."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from dermseg.errors import UsageError
from dermseg.training import plugins


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


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy over all pixels, which the paper's loss is to beat.

    `logits` and `target` are (N, H, W), targets in 0..1. Classes are not weighted (Ronneberger et
    al. 2015 add weight to the gaps between cells, which a single lesion has none of).
    """
    return functional.binary_cross_entropy_with_logits(logits.float(), target.float())


def dice_distance(probability: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Return 1 less the Dice coefficient of each image, averaged over the images.

    Sums are of values, not of squares (Sudre et al. 2017). Shapes and `smooth` are as in
    `jaccard_distance`.
    """
    return tversky_distance(probability, target, 0.5, 0.5, smooth / 2)


def tversky_distance(
    probability: Tensor,
    target: Tensor,
    false_positives: float = 0.3,
    false_negatives: float = 0.7,
    smooth: float = 1.0,
) -> Tensor:
    """Return 1 less the Tversky index of each image, averaged over the images.

    The weights of missed and of surplus pixels are those of Salehi et al. 2017, who let a missed
    pixel count for more. With 0.5 and 0.5 it is the Dice distance. Shapes and `smooth` are as in
    `jaccard_distance`.
    """
    dtype = torch.promote_types(probability.dtype, torch.float32)
    p, t = probability.to(dtype), target.to(dtype)
    common = (t * p).sum((1, 2))
    surplus, missed = ((1 - t) * p).sum((1, 2)), (t * (1 - p)).sum((1, 2))
    weighted = common + false_positives * surplus + false_negatives * missed
    return (1 - (common + smooth) / (weighted + smooth)).mean()


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the mean focal loss over all pixels (Lin et al. 2017), classes not weighted.

    A pixel's cross-entropy counts by (1 - p) ** `gamma`, p being the probability of its own class.
    `logits` and `target` are (N, H, W), targets in 0..1.
    """
    z, t = logits.float(), target.float()
    entropy = functional.binary_cross_entropy_with_logits(z, t, reduction="none")
    p = z.sigmoid()
    return (entropy * (p * (1 - t) + (1 - p) * t) ** gamma).mean()


LossFunction = Callable[[Tensor, Tensor], Tensor]
"""From logits and targets, (N, H, W), to a scalar."""


def _of_probability(distance: LossFunction) -> LossFunction:
    return lambda logits, target: distance(logits.sigmoid(), target)


LOSSES: dict[str, LossFunction] = {
    "jaccard": _of_probability(jaccard_distance),
    "cross-entropy": cross_entropy,
    "dice": _of_probability(dice_distance),
    "tversky": _of_probability(tversky_distance),
    "focal": focal,
}
"""Losses by name."""
BUILT_IN = frozenset(LOSSES)
"""Names that no loss of one's own may have."""


def register_loss(name: str, loss: LossFunction) -> None:
    """Let trainings minimise your own loss, in place of an earlier one that you gave this name.

    Parameters
    ----------
    name
        Its name in `TrainingSettings.loss` and `--loss`, without `+` and `*`, which make sums.
    loss
        A function of logits and targets, both float (N, H, W), targets in 0 to 1, that returns a
        scalar.

    Raises
    ------
    UsageError
        If a loss of dermseg's own has the name, or it has a `+` or a `*`.

    Examples
    --------
    >>> import dermseg
    >>> from torch.nn.functional import mse_loss
    >>> dermseg.register_loss("brier", lambda logits, target: mse_loss(logits.sigmoid(), target))
    """
    if name in BUILT_IN or {"+", "*"} & set(name):
        raise UsageError(
            f"loss {name!r}: the name of a built-in loss, or it has a + or a *; choose another"
        )
    LOSSES[name] = loss
    plugins.REGISTERED.append(name)


def _sum(terms: Sequence[tuple[float, LossFunction]], logits: Tensor, target: Tensor) -> Tensor:
    return torch.stack([factor * loss(logits, target) for factor, loss in terms]).sum()


def find_loss(text: str) -> LossFunction:
    """Return the loss that `text` names, or a weighted sum such as "0.5*dice+0.5*focal".

    Raises UsageError for an unknown name, and for a weight that is not above 0.
    """
    terms = []
    for term in text.split("+"):
        weight, _, name = term.strip().rpartition("*")
        try:
            factor = float(weight) if weight else 1.0
        except ValueError:
            factor = 0.0
        if name.strip() not in LOSSES:
            plugins.load_installed()
        if name.strip() not in LOSSES or not 0 < factor < math.inf:
            raise UsageError(
                f"--loss {text}: choose from {', '.join(sorted(LOSSES))}, or a weighted sum such "
                "as 0.5*dice+0.5*focal"
            )
        terms.append((factor, LOSSES[name.strip()]))
    if terms[1:] or terms[0][0] != 1:
        return partial(_sum, terms)
    return terms[0][1]
