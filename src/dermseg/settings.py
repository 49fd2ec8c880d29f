"""Every default, once. The command line, the library and the trainer read them from here.

Standard library only, so that `dermseg --help` stays quick.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from dermseg.errors import UsageError

Channels = Literal["rgb-hsv-l", "rgb"]
Schedule = Literal["constant", "one-cycle"]
Keep = Literal["last", "best"]
Precision = Literal["auto", "float32", "bfloat16"]
FoldsBy = Literal["image", "source"]
Rule = Literal["complete", "paper"]
Arithmetic = Literal["float32", "int8"]
Sampler = Literal["grid", "tpe"]
MaskFrame = Literal["stored", "upright"]
"""How masks lie: along the pixels of their photographs as stored, or as EXIF shows them."""
Style = Literal["traced", "semi-automatic"]
"""How a lesion is outlined (see `dermseg.masks.style`)."""
Form = Literal["coco", "yolo", "geojson", "label-studio", "cvat", "labelme", "masks"]
"""How outlines are filed (see `dermseg.formats`)."""
Written = Literal[Form, "dicom-seg"]
"""How `dermseg segment` files outlines: also beside a DICOM photograph (see
`dermseg.formats.dicom_seg`)."""
One = Literal["largest", "union"]
"""What becomes of several pieces: the largest stays alone, or bridges join them into one ring."""

CHOICES = {
    "channels": Channels,
    "schedule": Schedule,
    "keep": Keep,
    "precision": Precision,
    "folds_by": FoldsBy,
}
"""Settings of a training that are one of a few words."""
CHANNEL_COUNT: dict[Channels, int] = {"rgb-hsv-l": 7, "rgb": 3}
STRIDE = 16
"""Every network halves its input at least four times."""
LARGEST_DROPOUT = 255.5 / 256
"""Probabilities from here on would round to 1, and drop everything."""


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
    """Fraction of channels whose contrast is stretched to a random percentile window."""
    window: float = 10.0
    """Widest cut at either end of a percentile window, in percent."""
    color: float = 0.0
    """Largest change of brightness and of saturation: 0.5 draws factors between 1/1.5 and 1.5. Red,
    green and blue each also change by up to a third of that. Not in the paper."""
    sharpness: float = 0.0
    """Largest change of sharpness: 1 draws from blurred over 3 x 3 pixels to twice as sharp. Not in
    the paper."""

    def __post_init__(self) -> None:
        """Raise UsageError for a range that there cannot be."""
        if min(self.scale, self.shift, self.rotation) < 0:
            raise UsageError("--augmentation: scale, shift and rotation cannot be negative")
        if not 0 <= self.contrast <= 1 or not 0 <= self.window < 50:
            raise UsageError("--augmentation: contrast is 0 to 1, window 0 to 50 percent")
        if min(self.color, self.sharpness) < 0:
            raise UsageError("--augmentation: color and sharpness cannot be negative")


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained. The defaults are the paper's (section III)."""

    network: str = "cdnn29"
    """cdnn29, its predecessor cdnn19, or lite0, which starts from ImageNet weights; for comparison
    also unet, fcrn, multistage and cdnn29-crf."""
    channels: Channels = "rgb-hsv-l"
    """The network's input: all seven channels, or only red, green and blue (Table IV)."""
    height: int = 192
    """Height of the network's input, in pixels; a multiple of 16, for lite0 and fcrn of 32."""
    width: int = 256
    """Width of the network's input, in pixels; a multiple of 16, for lite0 and fcrn of 32."""
    epochs: int = 600
    """Epochs over the training images."""
    batch_size: int = 18
    """Images in a step; with torchrun, of all processes together."""
    learning_rate: float = 0.003
    """Adam's learning rate; with "one-cycle" its peak."""
    schedule: Schedule = "constant"
    """With "one-cycle" the rate warms up over the first tenth and falls to zero along a cosine."""
    ema_epochs: float = 0.0
    """Epochs over which the weights are averaged (exponential moving average); 0 keeps the last
    weights."""
    early_height: int = 0
    """Height of the images during the first `early_epochs`; 0 trains at full size throughout."""
    early_width: int = 0
    """Width of the images during the first `early_epochs`."""
    early_epochs: int = 0
    """Epochs at the early size."""
    weight_decay: float = 0.0
    """AdamW's weight decay: each step takes this times the learning rate from the weights."""
    loss: str = "jaccard"
    """The loss: jaccard, as in the paper; dice, tversky, focal or cross-entropy; or a weighted sum
    such as `0.5*dice+0.5*focal`."""
    keep: Keep = "last"
    """Keep the weights of the last epoch, or of the epoch with the best score on the held-out fold
    or the validation set; the scores there are then a little too high."""
    dropout: float = 0.5
    """Probability of dropping a value in each of the network's dropouts."""
    style_dropout: float = 0.15
    """Probability that a network with styles is not told the style of a training mask, so that it
    also works without one."""
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    folds: int = 5
    """Folds of the cross-validation; near-duplicate images are in the same fold."""
    folds_by: FoldsBy = "image"
    """How folds are made: of single images, as in the paper, or of whole sources, so that a fold
    has other cameras than the training. Photographs of one stored size count as one source."""
    fold: int | None = None
    """The fold to hold out, counted from 0; by default the training uses all training images."""
    fold_seed: int = 0
    """The seed that assigns images to folds; independent of `seed`."""
    splits: str = ""
    """A split of your own: a CSV file with a column split (training, validation, test) or fold,
    or nnU-Net's splits_final.json. Such columns in the tables beside the data also count, and so
    do folders called training, validation or test."""
    group: str = ""
    """A column of the tables beside the data: images with the same value are in the same fold, as
    are those of one patient_id or lesion_id."""
    fine_tune_from: str = ""
    """Start from these weights: a shipped model's name, a model file, or the folder of a finished
    training or protocol. By default weights are random, or for lite0 those of ImageNet."""
    seed: int = 0
    """The seed of the first weights and of every random change."""
    precision: Precision = "auto"
    """float32, bfloat16, or "auto": the faster of the two on this machine, by a few timed steps.
    float32 gives the same result on every processor of the same type."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainingSettings":
        """Return the settings that `dataclasses.asdict` turned into `values`."""
        augmentation = AugmentationSettings(**values["augmentation"])
        return cls(**{**values, "augmentation": augmentation})

    def __post_init__(self) -> None:
        """Raise UsageError for a value that there cannot be."""
        for name in ("splits", "fine_tune_from"):  # from Python it may be a Path
            object.__setattr__(self, name, str(getattr(self, name)))
        sizes = [(self.height, self.width)]
        if self.early_epochs:
            if not self.early_height or not self.early_width:
                raise UsageError("--early-epochs needs --early-height and --early-width")
            sizes.append((self.early_height, self.early_width))
        for height, width in sizes:
            if height <= 0 or width <= 0 or height % STRIDE or width % STRIDE:
                raise UsageError(f"size {height} x {width}: both must be multiples of {STRIDE}")
        for name in ("epochs", "batch_size", "folds"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1")
        if self.early_epochs >= self.epochs:
            raise UsageError(
                f"--early-epochs {self.early_epochs}: must be fewer than --epochs {self.epochs}"
            )
        for name, kind in CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                option, choices = f"--{name.replace('_', '-')}", " or ".join(get_args(kind))
                raise UsageError(f"{option} {getattr(self, name)}: choose {choices}")
        if not 0 <= self.dropout < LARGEST_DROPOUT:
            raise UsageError(f"--dropout {self.dropout}: must be at least 0 and below 0.998")
        if not 0 <= self.style_dropout <= 1:
            raise UsageError(f"--style-dropout {self.style_dropout}: must be from 0 to 1")
        if not 0 < self.learning_rate < math.inf:
            raise UsageError(f"--learning-rate {self.learning_rate}: must be above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"--weight-decay {self.weight_decay}: cannot be negative")
        if min(self.early_epochs, self.ema_epochs) < 0:
            raise UsageError("--early-epochs and --ema-epochs cannot be negative")
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise UsageError(f"--fold {self.fold}: choose from 0 to {self.folds - 1}")


def changed_options(given: TrainingSettings, usual: TrainingSettings) -> dict[str, Any]:
    """Return what `given` sets otherwise than `usual`: option of `dermseg train` to value."""
    changed = {}
    for prefix, ours, theirs in (
        ("--", given, usual),
        ("--augmentation.", given.augmentation, usual.augmentation),
    ):
        for each in fields(ours):
            value = getattr(ours, each.name)
            if each.name != "augmentation" and value != getattr(theirs, each.name):
                changed[prefix + each.name.replace("_", "-")] = value
    return changed


@dataclass(frozen=True, kw_only=True)
class OutlineSettings:
    """How outlines are written in a tool's format."""

    label: str | None = None
    """The lesion's label: the one to read from SOURCE, if it has several, and the one to write to
    OUTPUT, "lesion" by default."""
    rle: bool = False
    """Write run lengths instead of polygons, where the format has both."""
    tolerance: float = 0.0
    """How far a polygon's line may lie from the mask's edge, in pixels; 0 is exact."""
    one: One | None = None
    """Turn several pieces into one: "largest" keeps the largest piece, "union" joins all by bridges
    without width. By default all pieces stay as they are."""

    def __post_init__(self) -> None:
        """Raise UsageError for a tolerance or a label that there cannot be."""
        if self.tolerance < 0:
            raise UsageError(f"--tolerance {self.tolerance:g}: must not be negative")
        if not self.tolerance <= 10**6:  # nor what is no number
            raise UsageError(f"--tolerance {self.tolerance:g}: a million pixels are the most")
        if self.label and any("\ud800" <= letter <= "\udfff" for letter in self.label):
            raise UsageError(f"--label {self.label!a}: is not valid UTF-8")

    @property
    def name(self) -> str:
        """What a lesion is called where it is written."""
        return self.label or "lesion"


Protocol = Literal["paper", "short", "pretrained"]

PROTOCOLS: dict[Protocol, TrainingSettings] = {
    "paper": TrainingSettings(precision="float32"),
    "short": TrainingSettings(
        channels="rgb",
        height=96,
        width=128,
        epochs=46,
        schedule="one-cycle",
        ema_epochs=1.0,
    ),
    "pretrained": TrainingSettings(
        network="lite0",
        channels="rgb",
        epochs=22,
        early_height=128,
        early_width=160,
        early_epochs=12,
        learning_rate=0.001,
        schedule="one-cycle",
        ema_epochs=1.0,
        augmentation=AugmentationSettings(color=0.2, sharpness=0.5),
    ),
}
"""Settings of a whole protocol's members: the paper's, and what two cores do in three hours.

The paper's are the defaults. The short one takes a quarter of the pixels and 46 epochs in place
of 600; its rate falls to zero, which makes up for part of that, and it sees red, green and blue
alone: after so few epochs they are better without HSV and L (0.008 after 12, in three seeds on two
folds). The pretrained one starts from ImageNet weights, and gets further in 22 epochs.
"""


@dataclass(frozen=True)
class ThresholdSettings:
    """How a mask is made of the probability (paper, section III-A: dual thresholds).

    Raises UsageError for an unknown rule, for a threshold that is not above 0 and at most 1, and
    for a low one above the high one.

    Examples
    --------
    >>> dermseg.ThresholdSettings(low=0.4)
    ThresholdSettings(rule='complete', high=0.8, low=0.4)
    """

    rule: Rule = "complete"
    """"paper" does only what the paper says; "complete" also decides the cases that it leaves open
    (see `dermseg.masks.postprocess`)."""
    high: float = 0.8
    """Threshold of the lesion's core: it decides which region is the lesion."""
    low: float = 0.5
    """Threshold at the lesion's border: it decides how far the lesion reaches."""

    def __post_init__(self) -> None:
        """Raise UsageError for a rule or a threshold that there cannot be."""
        if self.rule not in get_args(Rule):
            raise UsageError(f"rule {self.rule!r}: choose {' or '.join(get_args(Rule))}")
        for name in ("high", "low"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(
                    f"{name} {getattr(self, name)}: must be above 0 and at most 1, such as 0.5"
                )
        if self.low > self.high:
            raise UsageError(
                f"low {self.low}: must not be above high, {self.high}; set the other one too"
            )


@dataclass(frozen=True)
class ScoringSettings:
    """How a training's predictions become the masks that are scored, and which are scored."""

    thresholds: ThresholdSettings = ThresholdSettings()
    style: Style | None = None
    """The style of outline whose masks are scored; all unless given."""


@dataclass(frozen=True)
class ExportSettings:
    """What a model file computes in, and how it is used."""

    arithmetic: Arithmetic = "float32"
    """The model's arithmetic: float32, or int8, which is several times faster on a CPU and half the
    size, but shifts borders a little."""
    coarse: bool = False
    """Round the int8 weights of large layers, so that a compressed file, or a package, is half as
    large."""
    mirror: bool = False
    """Let the model average over mirror images by default: a little better, at four times the
    network's work. --no-mirror turns it off."""

    def __post_init__(self) -> None:
        """Raise UsageError for coarse weights of float32."""
        if self.coarse and self.arithmetic != "int8":
            raise UsageError("--coarse needs --arithmetic int8")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where a command that trains computes, and how it reads its data."""

    device: str = "auto"
    """auto, cpu or cuda."""
    allow_resized: bool = False
    """Accept photographs whose size is not their mask's (thumbnails of the official ones)."""
    mask_frame: MaskFrame | None = None
    """How masks lie on photographs that EXIF turns: along the pixels as stored, or upright."""
    cache: Path | None = None
    """Folder for the decoded images, to share between trainings; OUTPUT/cache by default, or a
    temporary folder where there is no OUTPUT."""

    def __post_init__(self) -> None:
        """Take the text of a path for the path."""
        if self.cache is not None:
            object.__setattr__(self, "cache", Path(self.cache))

    def cache_below(self, folder: str | Path) -> Path:
        """Return the folder for the decoded images of what is trained in `folder`."""
        return self.cache or Path(folder) / "cache"


@dataclass(frozen=True)
class TuningSettings:
    """What a search tries. Every list is part of the grid.

    The paper chose "a few hyper-parameters" by grid search (section III-B) and names neither them
    nor their values; these are ours, around the values that it gives.
    """

    learning_rates: tuple[float, ...] = (0.001, 0.003, 0.01)
    """Learning rates."""
    dropouts: tuple[float, ...] = (0.25, 0.5)
    """Probabilities of dropping a value."""
    windows: tuple[float, ...] = (5.0, 10.0)
    """Widest cuts at either end of the contrast's percentile window, in percent."""
    highs: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9)
    """High thresholds; they and the low ones are tried on each trial's probabilities."""
    lows: tuple[float, ...] = (0.4, 0.5, 0.6)
    """Low thresholds; pairs in which the low one is above the high one are left out."""
    rule: Rule = "complete"
    """How a mask is made: "complete" or "paper" (see `dermseg.masks.postprocess`)."""
    style: Style | None = None
    """Choose by the masks of this style only; by default, by all masks."""
    folds_used: int | None = None
    """How many folds each trial trains, the first ones; by default, all."""
    sampler: Sampler = "grid"
    """"grid" tries every combination; "tpe" (Bergstra et al. 2011) draws learning rate, dropout
    and window between the least and the greatest value listed: ten times at random, then more often
    where trials did well."""
    trials: int | None = None
    """How many trials "tpe" makes; by default, as many as the grid has. "grid" makes all."""

    def __post_init__(self) -> None:
        """Raise UsageError for a search that there cannot be."""
        for name in ("learning_rates", "dropouts", "windows", "highs", "lows"):
            values, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if not values:
                raise UsageError(f"{option}: name at least one value")
            if len(set(values)) < len(values):
                raise UsageError(f"{option}: a value is named twice")
        for rate in self.learning_rates:
            TrainingSettings(learning_rate=rate)
        for dropout in self.dropouts:
            TrainingSettings(dropout=dropout)
        for window in self.windows:
            AugmentationSettings(window=window)
        for high in self.highs:
            ThresholdSettings(self.rule, high, high)
        for low in self.lows:
            ThresholdSettings(self.rule, low, low)
        if not self.thresholds:
            raise UsageError("--lows: all are above all of --highs")
        if self.sampler not in get_args(Sampler):
            raise UsageError(f"--sampler {self.sampler}: choose {' or '.join(get_args(Sampler))}")
        if self.folds_used is not None and self.folds_used < 1:
            raise UsageError("--folds-used must be at least 1")
        if self.trials is not None and (self.sampler == "grid" or self.trials < 1):
            raise UsageError("--trials is for --sampler tpe, and at least 1; grid makes all")
        if self.sampler == "tpe" and self.grid_size == 1:
            raise UsageError("--sampler tpe: the lists leave nothing to draw")

    @property
    def thresholds(self) -> list[ThresholdSettings]:
        """Every pair of thresholds that there can be."""
        return [
            ThresholdSettings(self.rule, high, low)
            for high in self.highs
            for low in self.lows
            if low <= high
        ]

    @property
    def grid_size(self) -> int:
        """The number of combinations to train; thresholds need no training."""
        return len(self.learning_rates) * len(self.dropouts) * len(self.windows)


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """How much an experiment trains, and where it takes its trainings from."""

    seeds: int = 1
    """Train everything with this many seeds, counted from --seed. Verdicts about methods take 3."""
    folds_used: int | None = None
    """Train only this many folds, the first ones, to save time; by default, all."""
    runs: Sequence[Path] = ()
    """Use finished trainings: a folder that `dermseg train` filled for each training that the
    experiment compares, or a folder with seed-0, seed-1 and so on."""
    ledger: Path | None = None
    """CSV file that gets a line for each scoring of validation or test images; OUTPUT/ledger.csv
    by default."""

    def __post_init__(self) -> None:
        """Raise UsageError for a number of seeds that there cannot be."""
        if self.seeds < 1:
            raise UsageError("--seeds must be at least 1")


def _is_of_http(address: str) -> bool:
    """Say whether an address is one of HTTP: with a host, and a port that there can be, if any."""
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@dataclass(frozen=True)
class ServiceSettings:
    """How the page and the HTTP service are offered, and where their bounds lie."""

    host: str = "127.0.0.1"
    """Address to listen on; with the default, no other machine can connect."""
    port: int = 8765
    """Port to listen on; 0 takes any free port."""
    workers: int = 2
    """Photographs worked on at once."""
    queue: int = 32
    """Photographs that may wait; to more, the response is 429 with the time to try again."""
    megabytes: int = 32
    """Largest upload, in megabytes (2**20 bytes)."""
    megapixels: int = 64
    """Largest photograph, in millions of pixels."""
    seconds: float = 30.0
    """Longest time of a request, including its upload and its waiting."""
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    """Host names by which clients may address the service; others are refused (DNS rebinding)."""
    label_studio: tuple[str, ...] = ()
    """Address of a Label Studio whose annotators get first outlines from the service, such as
    http://localhost:8080, and the addresses of the stores with its photographs; the service loads
    photographs only from these. Its key is read from LABEL_STUDIO_API_KEY."""
    allowed_origins: tuple[str, ...] = ()
    """Origins whose pages may use the service (CORS), such as https://example.org; by default,
    none."""

    def __post_init__(self) -> None:
        """Raise UsageError for a bound that there cannot be."""
        for name in ("workers", "megabytes", "megapixels"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} must be at least 1")
        for address in self.label_studio:
            if not _is_of_http(address):
                raise UsageError(f"--label-studio {address}: not an http or https address")
        if self.queue < 0:
            raise UsageError(f"--queue {self.queue}: cannot be negative")
        if not 0 <= self.port < 2**16:
            raise UsageError(f"--port {self.port}: must be 0 to 65535")
        if not 0 < self.seconds < math.inf:
            raise UsageError("--seconds must be above 0")


DEFAULT_MODEL = "lite0"
DEFAULT_STYLE: Style = "traced"
"""What an expert draws by hand."""


@dataclass(frozen=True, kw_only=True)
class InferenceSettings:
    """How a model segments."""

    style: Style = DEFAULT_STYLE
    """How lesions are outlined: "traced", generous and smooth, as an expert draws them by hand;
    or "semi-automatic", tight and jagged, as a flood fill does."""
    mirror: bool | None = None
    """Average the probability over the photograph and its three mirror images: four times the
    network's work. The default is in the model's card."""
    device: str = "cpu"
    """cpu, or cuda with onnxruntime-gpu installed."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings(InferenceSettings):
    """Which model segments, and how."""

    model: str = DEFAULT_MODEL
    """A shipped model's name, or an .onnx file written by `dermseg export`."""


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """Which pictures are made beside the masks, each in a folder of its own."""

    overlay: str | Path | None = None
    """Folder for pictures with the lesion's outline and, if the model gives it, the band in which
    the border may lie."""
    full_size: bool = False
    """Draw these pictures at the photograph's full size instead of at most 1024 pixels."""
    band: bool = True
    """Draw the band."""
    crops: str | Path | None = None
    """Folder for the lesions cut out of their photographs as stored, with a margin of a tenth."""
    probability: str | Path | None = None
    """Folder for the probability of lesion, at the network's size: grey, 255 being certain."""

    def __post_init__(self) -> None:
        """Raise UsageError for how to draw a picture that is not drawn."""
        if self.overlay is None and (self.full_size or not self.band):
            raise UsageError("--full-size and --no-band are for --overlay; name its folder")

    @property
    def folders(self) -> list[str | Path]:
        """The folders that are written to."""
        named = (self.overlay, self.crops, self.probability)
        return [folder for folder in named if folder is not None]


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """What is made beside the masks of many photographs, and whose sizes the masks take."""

    pictures: PictureSettings = PictureSettings()
    size_from: Path | None = None
    """Folder of masks whose sizes are taken instead of the photographs' (for thumbnails)."""
    mask_frame: MaskFrame | None = None
    """How these masks lie on photographs that EXIF turns."""


@dataclass(frozen=True, kw_only=True)
class DivisionSettings:
    """How photographs are divided among processes and machines."""

    shard: str | None = None
    """Do one of several equal parts: with 3/16, the third of sixteen. All parts write into the same
    OUTPUT, from one machine or several. `dermseg merge OUTPUT` then makes report.csv."""
    dry_run: bool = False
    """Count the photographs, their bytes and the finished masks, time a few of the others, estimate
    the time for the rest, and write nothing."""


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Which Ray cluster does the work."""

    cluster: str | None = None
    """Work on a Ray cluster: "local" starts one on this machine, "auto" uses the one that this
    machine belongs to, ray://HOST:PORT another one. All machines must see the same folders."""
    chunk: int = 16
    """Photographs that a worker of the cluster gets at once."""

    def __post_init__(self) -> None:
        """Raise UsageError for chunks without photographs."""
        if self.chunk < 1:
            raise UsageError(f"--chunk {self.chunk}: must be at least 1")


OVERLAY_SIDE = 1024
"""Longest side of an overlay picture, in pixels."""
