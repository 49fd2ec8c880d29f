"""Every default, once. The command line, the library and the trainer read them from here.

Standard library only, so that `dermseg --help` stays quick.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from dermseg.errors import UsageError

Channels = Literal["rgb-hsv-l", "rgb"]
Schedule = Literal["constant", "one-cycle"]
Precision = Literal["auto", "float32", "bfloat16"]
Rule = Literal["complete", "paper"]

CHANNEL_COUNT: dict[Channels, int] = {"rgb-hsv-l": 7, "rgb": 3}


@dataclass(frozen=True)
class AugmentationSettings:
    """Ranges of the random changes made to each training image (paper, section III-B).

    The paper names the kinds of change but not their ranges; these are ours.
    """

    flip: bool = True
    """Mirror left-right and top-bottom, each for half of the images."""
    rotation: float = 180.0
    """Largest rotation, in degrees, either way."""
    scale: float = 0.25
    """Largest enlargement: 0.25 draws factors between 1/1.25 and 1.25, evenly in the logarithm."""
    shift: float = 0.1
    """Largest shift along each axis, as a fraction of that side."""
    contrast: float = 0.5
    """Share of channels whose contrast is stretched to a random percentile window."""
    window: float = 10.0
    """Widest cut at either end of a percentile window, in percent."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained. The defaults are the paper's (section III)."""

    network: str = "cdnn29"
    """cdnn29, or its predecessor cdnn19."""
    channels: Channels = "rgb-hsv-l"
    """What the network sees: all seven channels, or red, green and blue alone (Table IV)."""
    height: int = 192
    """Height of the network's input, in pixels; a multiple of 16."""
    width: int = 256
    """Width of the network's input, in pixels; a multiple of 16."""
    passes: int = 600
    """Passes over the training images."""
    batch_size: int = 18
    """Images in a step."""
    learning_rate: float = 0.003
    """Adam's learning rate; with "one-cycle" its peak."""
    schedule: Schedule = "constant"
    """With "one-cycle" the rate warms up over the first tenth and falls to zero along a cosine."""
    average_passes: float = 0.0
    """Passes over which the weights are averaged (exponentially); 0 keeps the last weights."""
    early_height: int = 0
    """Height of the images during the first `early_passes`; 0 trains at full size throughout."""
    early_width: int = 0
    """Width of the images during the first `early_passes`."""
    early_passes: int = 0
    """Passes at the early size."""
    dropout: float = 0.5
    """Probability of dropping a value in each of the network's dropouts."""
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    folds: int = 5
    """Folds of the cross-validation; near-duplicate images share one."""
    fold: int | None = None
    """The fold held out, counted from 0; None trains on everything."""
    seed: int = 0
    """Decides the folds, the first weights and every random change."""
    precision: Precision = "auto"
    """bfloat16 arithmetic where the hardware has it ("auto"), always, or never ("float32")."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainingSettings":
        """Return the settings that `dataclasses.asdict` turned into `values`."""
        augmentation = AugmentationSettings(**values["augmentation"])
        return cls(**{**values, "augmentation": augmentation})


@dataclass(frozen=True)
class ThresholdSettings:
    """How a mask is cut from the probability (paper, section III-A: dual thresholds)."""

    rule: Rule = "complete"
    """"paper" does what the paper says and no more; "complete" also says what happens where the
    paper is silent (see `dermseg.postprocess`)."""
    high: float = 0.8
    """Probability that marks the lesion's core, which decides where the lesion is."""
    low: float = 0.5
    """Probability at the lesion's border, which decides how far it reaches."""

    def __post_init__(self) -> None:
        """Raise UsageError for a rule or a threshold that there cannot be."""
        if self.rule not in get_args(Rule):
            raise UsageError(f"rule {self.rule!r}: choose {' or '.join(get_args(Rule))}")
        for name in ("high", "low"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name)}: must be above 0 and at most 1")
        if self.low > self.high:
            raise UsageError(f"low {self.low}: must not be above high, {self.high}")


DEFAULT_MODEL = "cdnn29"
OVERLAY_SIDE = 1024
"""Longest side of an overlay picture, in pixels."""
