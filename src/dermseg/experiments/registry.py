"""Which experiments there are: what each one trains, scores and claims.

Standard library only, so that `dermseg --help` stays quick. A comparison of trainings is one entry
here; one that scores or draws in a way of its own names its module in `measure`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dermseg.errors import UsageError
from dermseg.settings import TrainingSettings

SetName = Literal["validation", "test"]
"""The challenge's sets that nothing is trained on."""
Row = tuple[float, float, float, float, float]
"""AC, DI, JA, SE and SP of a row of the paper's tables."""


@dataclass(frozen=True)
class Arm:
    """One of the trainings that an experiment compares.

    `changes` and `augmentation` are its settings where they differ from the common ones. Arms of
    one name are the same training in every experiment, and are trained once. Options that would
    make two arms the same training are refused.
    """

    name: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, base: TrainingSettings) -> TrainingSettings:
        """Return this arm's settings."""
        augmentation = replace(base.augmentation, **self.augmentation)
        return replace(base, augmentation=augmentation, **self.changes)


@dataclass(frozen=True)
class Claim:
    """That the row `better` scores higher than the row `worse`, and who says so.

    Rows of `same_networks` differ in what is done with their predictions, or need no training:
    chance in training makes no difference between them.
    """

    text: str
    source: str
    better: str
    worse: str
    metric: str = "jaccard"
    same_networks: bool = False


@dataclass(frozen=True)
class Experiment:
    """What is compared: `arms` are trained, or, where there are none, folders given.

    Every image is scored by the member that had not seen it, and those of the set `scored_set` by
    the arm's members together. `paper` holds the paper's own rows, on that set. The module
    `measure` of this room turns the runs into findings. Without arms and with `needs_trainings`,
    finished trainings must be given. Of `fewest_seeds` it can say something.
    With `sixth` an arm has the paper's sixth member, which holds nothing out. `notes` stand in the
    report.
    """

    summary: str
    arms: tuple[Arm, ...] = ()
    scored_set: SetName | None = None
    claims: tuple[Claim, ...] = ()
    paper: Mapping[str, Row] = field(default_factory=dict)
    measure: str = "arms"
    needs_trainings: bool = True
    fewest_seeds: int = 1
    sixth: bool = False
    notes: tuple[str, ...] = ()


FULL = {"network": "cdnn29", "channels": "rgb-hsv-l", "loss": "jaccard"}
CDNN29 = Arm("cdnn29", "CDNN-29", FULL)
CDNN19_RGB = Arm(
    "cdnn19-rgb",
    "CDNN-19 (a reconstruction)",
    {**FULL, "network": "cdnn19", "channels": "rgb"},
)
"""A reconstruction with the paper's count of parameters, 290,129, which takes three channels."""
CDNN19 = Arm("cdnn19", "CDNN-19 (a reconstruction) on RGB+HSV+L", {**FULL, "network": "cdnn19"})
"""With all seven channels, like CDNN-29, so that depth is what differs."""
RGB = Arm("cdnn29-rgb", "RGB", {**FULL, "channels": "rgb"})
RGB_HSV_L = replace(CDNN29, label="RGB+HSV+L")
JACCARD_LOSS = replace(CDNN29, label="CDNN-29, Jaccard loss")
ENTROPY_LOSS = Arm(
    "cdnn29-cross-entropy", "CDNN-29, cross-entropy", {**FULL, "loss": "cross-entropy"}
)

UNET = Arm("unet", "U-Net", {**FULL, "network": "unet"})
CROSS_ENTROPY = Arm(
    "unet-cross-entropy", "U-Net, cross-entropy", {**UNET.changes, "loss": "cross-entropy"}
)
FCRN = Arm("fcrn", "residual network of 50 layers", {**FULL, "network": "fcrn"})
MULTISTAGE = Arm("multistage", "two stages of CDNN-29", {**FULL, "network": "multistage"})
INSIDE = Arm("cdnn29-crf", "CDNN-29 with CRF inside", {**FULL, "network": "cdnn29-crf"})
TABLE_6 = (CDNN29, UNET, CROSS_ENTROPY, FCRN, MULTISTAGE, INSIDE)
"""The networks of Table VI's methods; another one is a row here. What is not trained comes from
`baselines.BASELINES`."""

KINDS: dict[str, Mapping[str, Any]] = {
    "flips": {"flip": False},
    "rotation": {"rotation": 0.0},
    "scale": {"scale": 0.0},
    "shift": {"shift": 0.0},
    "contrast": {"contrast": 0.0},
}
"""Each kind of augmentation (paper, section III-B), and what leaves it out."""
NOTHING = {
    **{name: value for changes in KINDS.values() for name, value in changes.items()},
    "color": 0.0,
    "sharpness": 0.0,
}
ALL_KINDS = replace(CDNN29, label="every kind")
NO_KIND = Arm("cdnn29-no-augmentation", "none", FULL, NOTHING)
WITHOUT = tuple(
    Arm(f"cdnn29-without-{kind}", f"without {kind}", FULL, changes)
    for kind, changes in KINDS.items()
)

SINGLE, ONE_LEVEL = "single 0.5", "complete 0.5/0.5"
DUAL, LITERAL = "complete 0.8/0.5", "paper 0.8/0.5"
"""Rows of the experiment on thresholds that its claims name."""
MATTER: dict[str, str] = {
    "CDNN-29 beats CDNN-19": "+0.034 on validation, +0.029 on test",
    "the extra channels raise the Jaccard index": "+0.018 on validation, +0.011 on test",
    "the Jaccard loss beats cross-entropy": "no number",
    "the Jaccard loss lifts sensitivity": "no number",
    "dual thresholds beat a single one": "no number",
    "the ensemble beats its members": "no number",
}
"""The claims that the report opens with, and the difference in Jaccard index that the paper has."""
AVERAGE, ENSEMBLE = "the average member", "the ensemble"
"""Rows of the experiment on members that its claim names."""


DEPTH = (
    "CDNN-19 is a reconstruction: its table of layers is not in the paper. On RGB it has the "
    "paper's 290,129 parameters. On all seven channels, like CDNN-29, it has 290,929, and depth "
    "alone differs."
)


def _deeper(source: str) -> tuple[Claim, ...]:
    text = "CDNN-29 beats CDNN-19 on the same channels"
    return (
        Claim("CDNN-29 beats CDNN-19", source, CDNN29.label, CDNN19_RGB.label),
        Claim(text, "ours", CDNN29.label, CDNN19.label),
    )


def _of_rules(text: str, source: str, better: str, worse: str) -> Claim:
    return Claim(text, source, better, worse, same_networks=True)


def _by_loss(better: str, worse: str) -> tuple[Claim, ...]:
    return (
        Claim("the Jaccard loss beats cross-entropy", "section V", better, worse),
        Claim("the Jaccard loss lifts sensitivity", "section V", better, worse, "sensitivity"),
    )


def _wider(source: str) -> tuple[Claim, ...]:
    text = "the extra channels raise the Jaccard index"
    return (Claim(text, source, RGB_HSV_L.label, RGB.label),)


EXPERIMENTS: dict[str, Experiment] = {
    "table-2": Experiment(
        "CDNN-19 against CDNN-29, on the validation images",
        (CDNN19_RGB, CDNN19, CDNN29),
        "validation",
        _deeper("Table II"),
        {
            "CDNN-19": (0.945, 0.839, 0.749, 0.854, 0.982),
            "CDNN-29": (0.953, 0.865, 0.783, 0.879, 0.979),
        },
        sixth=True,
        notes=(DEPTH,),
    ),
    "table-3": Experiment(
        "CDNN-19 against CDNN-29, on the test images",
        (CDNN19_RGB, CDNN19, CDNN29),
        "test",
        _deeper("Table III"),
        {
            "CDNN-19": (0.921, 0.824, 0.736, 0.796, 0.979),
            "CDNN-29": (0.934, 0.849, 0.765, 0.825, 0.975),
        },
        sixth=True,
        notes=(DEPTH,),
    ),
    "table-4": Experiment(
        "RGB against RGB+HSV+L, on the validation images",
        (RGB, RGB_HSV_L),
        "validation",
        _wider("Table IV"),
        {
            "RGB": (0.951, 0.848, 0.765, 0.868, 0.976),
            "RGB+HSV+L": (0.953, 0.865, 0.783, 0.879, 0.979),
        },
        sixth=True,
    ),
    "table-5": Experiment(
        "RGB against RGB+HSV+L, on the test images",
        (RGB, RGB_HSV_L),
        "test",
        _wider("Table V"),
        {
            "RGB": (0.931, 0.840, 0.754, 0.813, 0.976),
            "RGB+HSV+L": (0.934, 0.849, 0.765, 0.825, 0.975),
        },
        sixth=True,
    ),
    "figure-2": Experiment(
        "training and validation curves of RGB and RGB+HSV+L",
        (RGB, RGB_HSV_L),
        claims=_wider("Figure 2"),
        measure="figures.curves",
    ),
    "loss": Experiment(
        "the Jaccard loss against cross-entropy",
        (ENTROPY_LOSS, JACCARD_LOSS),
        claims=_by_loss(JACCARD_LOSS.label, ENTROPY_LOSS.label),
    ),
    "null": Experiment(
        "CDNN-19 against itself with other seeds: how often a difference is called real",
        (CDNN19,),
        measure="null",
        fewest_seeds=2,
    ),
    "members": Experiment(
        "each member of an ensemble against all of them, on the validation images",
        (CDNN29,),
        "validation",
        (
            Claim(
                "the ensemble beats its members",
                "section III-B",
                ENSEMBLE,
                AVERAGE,
                same_networks=True,
            ),
        ),
        measure="members",
        sixth=True,
    ),
    "thresholds": Experiment(
        "one threshold against two, and the paper's rule against the complete one",
        (CDNN29,),
        claims=(
            _of_rules("dual thresholds beat a single one", "section III-A", DUAL, ONE_LEVEL),
            _of_rules(
                "the paper's rule to the letter beats a plain threshold",
                "section III-A",
                LITERAL,
                SINGLE,
            ),
            _of_rules(
                "one region with its holes filled beats a plain threshold",
                "ours",
                ONE_LEVEL,
                SINGLE,
            ),
            _of_rules("the complete rule beats the paper's to the letter", "ours", DUAL, LITERAL),
        ),
        measure="thresholds",
    ),
    "augmentation": Experiment(
        "with every kind of augmentation, without each one, and with none",
        (NO_KIND, *WITHOUT, ALL_KINDS),
        claims=(
            Claim("augmentation helps", "section III-B", ALL_KINDS.label, NO_KIND.label),
            *(
                Claim(
                    f"{kind} help{'' if kind == 'flips' else 's'}",
                    "section III-B",
                    ALL_KINDS.label,
                    f"without {kind}",
                )
                for kind in KINDS
            ),
        ),
    ),
    "table-6": Experiment(
        "the methods of the challenge side by side",
        TABLE_6,
        claims=(
            *_by_loss(UNET.label, CROSS_ENTROPY.label),
            Claim("a CRF inside the network helps", "section V", INSIDE.label, CDNN29.label),
            *(
                Claim(f"CDNN-29 beats: {arm.label}", "Table VI", CDNN29.label, arm.label)
                for arm in (UNET, FCRN, MULTISTAGE)
            ),
        ),
        paper={
            "MtSinai (the paper's)": (0.934, 0.849, 0.765, 0.825, 0.975),
            "NLP LOGIX (U-Net)": (0.932, 0.847, 0.762, 0.820, 0.978),
            "USYD, Bi (multi-stage)": (0.934, 0.844, 0.760, 0.802, 0.985),
            "USYD, Ann": (0.934, 0.842, 0.758, 0.801, 0.984),
            "RECOD": (0.931, 0.839, 0.754, 0.817, 0.970),
            "Jer": (0.930, 0.837, 0.752, 0.813, 0.976),
            "NedMos (active contour)": (0.930, 0.839, 0.749, 0.810, 0.981),
            "INESC": (0.922, 0.824, 0.735, 0.813, 0.968),
            "Shenzhen U (Lee)": (0.922, 0.810, 0.718, 0.789, 0.975),
            "GAMMA": (0.915, 0.797, 0.715, 0.774, 0.970),
        },
        measure="methods",
    ),
    "baselines": Experiment(
        "CDNN-29, or the training of --runs, beside the methods that need no training",
        (CDNN29,),
        measure="methods",
    ),
    "figure-1": Experiment(
        "the channels of a photograph, their contrast normalised",
        needs_trainings=False,
        measure="figures.channels",
    ),
    "figure-3": Experiment(
        "contours of CDNN-29, or of the training of --runs, by diagnosis",
        (CDNN29,),
        measure="figures.contours",
    ),
    "figure-4": Experiment(
        "the worst cases of CDNN-29, or of the training of --runs",
        (CDNN29,),
        measure="figures.failures",
    ),
    "figure-5": Experiment(
        "the Jaccard index of CDNN-29 against that of an active contour and of U-Net",
        (CDNN29, UNET),
        measure="figures.scatter",
    ),
    "runs": Experiment("the trainings in the folders of --runs, on the images all held out"),
}


def find_experiment(name: str) -> Experiment:
    """Return an experiment; raise UsageError, which lists them, if there is none of that name."""
    if name not in EXPERIMENTS:
        raise UsageError(f"unknown experiment {name!r}; choose {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
