"""From finished trainings to one ONNX file: the contract between making and using a model.

The graph takes uint8 RGB (N, H, W, 3) and returns the probability of lesion, float32 (N, H, W).
Colour conversion and sigmoid are inside, the same modules that training used, and so are all the
members of an ensemble. It computes in float32, with weights stored in half precision, which halves
the file; or in 8 bits, which makes it four times smaller and faster.
"""

import logging
import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dermseg.errors import ModelError, UsageError
from dermseg.export.appearance import learn_appearance
from dermseg.export.calibration import gather, split_of
from dermseg.export.quantize import quantize
from dermseg.export.rating import learn_styles
from dermseg.imaging.images import Pixels, resize
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.contract import STYLE_INPUT
from dermseg.inference.session import open_session
from dermseg.masks.style import STYLE_IDS
from dermseg.modelfile.card import ModelCard
from dermseg.modelfile.graph import HALVED, halve_weights, put_card
from dermseg.progress import say
from dermseg.settings import (
    CHANNEL_COUNT,
    DEFAULT_STYLE,
    Arithmetic,
    Channels,
    ExportSettings,
    MaskFrame,
    TrainingSettings,
)
from dermseg.storage.files import reading, written_whole
from dermseg.training import checkpoints, networks
from dermseg.training.color import ColorChannels
from dermseg.training.networks.layers import normed_convolutions
from dermseg.training.run_folder import SAMPLES, WEIGHTS, find_members, not_begun

TOLERANCE = 1e-4
"""Largest difference in probability between the written file and PyTorch."""
TOLERANCE_INT8 = 0.02
"""Largest mean difference in probability over training images, if the file computes in 8 bits."""
SAME = 1e-3
"""Largest difference that folded norms may make to a logit, as a share of the largest logit."""


@dataclass(frozen=True)
class Member:
    """A trained network with its settings, and the facts of its training."""

    network: nn.Module
    settings: TrainingSettings
    facts: dict[str, Any]


class EndToEnd(nn.Module):
    """Everything in one: uint8 RGB (N, H, W, 3) to the probability of lesion (N, H, W).

    Of several networks the probabilities are averaged (paper, section III-B: a bagging-type
    ensemble).
    """

    def __init__(self, networks: Sequence[nn.Module], channels: Sequence[Channels]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.colors = nn.ModuleDict({name: ColorChannels(name) for name in channels})
        self.channels = list(channels)

    @classmethod
    def of(cls, members: Sequence[Member]) -> "EndToEnd":
        """Return the members' networks in one."""
        return cls(
            [member.network for member in members],
            [member.settings.channels for member in members],
        )

    def forward(self, photographs: Tensor, style: Tensor | None = None) -> Tensor:
        """Return the probability of lesion, outlined in `style`, (1,), where networks know it."""
        rgb = photographs.permute(0, 3, 1, 2).to(torch.float32) / 255
        inputs = {name: color(rgb) for name, color in self.colors.items()}
        probability: Tensor | None = None
        for network, channels in zip(self.networks, self.channels, strict=True):
            told = () if style is None else (style,)
            part = network(inputs[channels], *told).sigmoid() * (1 / len(self.channels))
            probability = part if probability is None else probability + part
        assert probability is not None  # there is at least one network
        return probability


def load_run(run: Path) -> Member:
    """Return the trained network of the folder `run`, batch norms folded where that can be."""
    tensors, facts = checkpoints.load(run / WEIGHTS)
    with reading(run / WEIGHTS):
        settings = TrainingSettings.from_dict(facts["settings"])
    networks.check(settings)
    channels = CHANNEL_COUNT[settings.channels]
    network = networks.build(settings.network, channels, settings.dropout)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{run / WEIGHTS}: weights of another network ({error})") from error
    return Member(_folded(network.eval(), settings).eval(), settings, facts)


def halve(network: nn.Module) -> None:
    """Round the large weights of `network` to half precision, in place, as a file stores them."""
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.dtype == torch.float32 and tensor.numel() >= HALVED:
                tensor.copy_(tensor.half().float())


def _folded(network: nn.Module, settings: TrainingSettings) -> nn.Module:
    """Return `network`, which is in evaluation, with its batch norms folded into convolutions.

    It stays as it is where folding would change what it computes: a network of one's own may do
    something between a convolution and the norm that is declared after it.
    """
    try:
        folded = deepcopy(network)
        _fold_norms(folded)
    except (AssertionError, RuntimeError):  # no copy; a norm without statistics, or of other maps
        return network
    shape = 1, CHANNEL_COUNT[settings.channels], settings.height, settings.width
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = network(x), folded(x)
    same = bool((after - before).abs().max() <= SAME * (1 + before.abs().max()))
    return folded if same else network


def _fold_norms(network: nn.Module) -> None:
    """Fold each batch norm that is declared directly after a convolution into it.

    PyTorch's exporter would do so too, but on weights that are already rounded.
    `fine_tuning.restore_batch_norms` undoes it.
    """
    for convolution, norm in list(normed_convolutions(network)):
        before, after = network.get_submodule(convolution), network.get_submodule(norm)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        network.set_submodule(convolution, fuse_conv_bn_eval(before, after))
        network.set_submodule(norm, nn.Identity())


def export_model(
    folders: str | Path | Sequence[str | Path],
    file: str | Path,
    settings: ExportSettings = ExportSettings(),
    *,
    photographs: Sequence[str | Path] = (),
    data: str | Path | None = None,
    mask_frame: MaskFrame | None = None,
) -> float:
    """Write finished trainings as one model file.

    Several networks become an ensemble that averages their probabilities. Before it takes its name
    the file is checked against PyTorch, on training images that the first run kept.

    Parameters
    ----------
    folders
        A folder that `train` filled, or that of a protocol; or several.
    file
        The ONNX file to write; its name ends in .onnx.
    settings
        What the file computes in, and whether it averages mirror images.
    photographs
        More photographs to check a float32 file on.
    data
        The data set that the networks were trained on. The file then says how sure its masks are,
        learnt from the images that each network had not seen, and which pictures are unlike
        those of the data.
    mask_frame
        How its masks lie on photographs that EXIF turns: along the pixels as stored, or upright.

    Returns
    -------
    float
        The largest difference in probability from PyTorch; with int8, which shifts every border a
        little, the mean difference.

    Raises
    ------
    UsageError
        If the name does not end in .onnx, or photographs are given with int8.
    ModelError
        If the difference is too large, a training is not finished, or the networks' sizes differ.

    Examples
    --------
    >>> import dermseg
    >>> dermseg.export_model("run", "mine.onnx")  # doctest: +SKIP
    """
    file = Path(file)
    listed = [folders] if isinstance(folders, str | Path) else folders
    trained = [Path(folder) for folder in listed]
    if file.suffix != ".onnx":
        raise UsageError(f"{file}: the name of a model ends in .onnx")
    if photographs and settings.arithmetic == "int8":
        raise UsageError("int8 shifts every border a little: no photograph can be checked on")
    runs = [run for folder in trained for run in find_members(folder)]
    members = [load_run(run) for run in runs]
    for folder in trained:
        if lacking := not_begun(folder, members[0].settings.folds):
            say(
                f"{folder}: without {', '.join(lacking)}: not trained yet; `dermseg train` "
                "with the same options trains the rest"
            )
    (height, width), styled = _shared_input(members, file)
    model = EndToEnd.of(members).eval()
    card = _card(members, settings)
    if data is not None:
        styles = learn_styles(gather(trained, Path(data), mask_frame))
        seen = split_of(card, Path(data), mask_frame).training
        appearance = learn_appearance(seen, (height, width))
        card = replace(card, styles=styles, appearance=appearance)
    with reading(runs[0] / SAMPLES):
        samples: Pixels = np.load(runs[0] / SAMPLES)
    if settings.arithmetic == "float32":
        halve(model)
        proto = to_onnx(model, samples, styled=styled)
        halve_weights(proto)
        samples = np.concatenate([samples, _samples(photographs, height, width)])
    else:
        proto = to_onnx(model, samples, styled=styled)
        proto = quantize(proto, samples, coarse=settings.coarse)
    put_card(proto, card)
    onnx.checker.check_model(proto)
    with written_whole(file) as temporary:
        onnx.save_model(proto, temporary)
        differences = _differences(model, temporary, samples, styled=styled)
        return _check(file, differences, settings.arithmetic)


def _shared_input(members: Sequence[Member], file: Path) -> tuple[tuple[int, int], bool]:
    """Return the size, (height, width), that networks share, and whether they know styles.

    Raises ModelError if they differ in either.
    """
    sizes = {(member.settings.height, member.settings.width) for member in members}
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
        raise ModelError(f"{file}: the networks of an ensemble have one size, not {listed}")
    styled = {member.settings.network in networks.STYLED for member in members}
    if len(styled) > 1:
        raise ModelError(f"{file}: either all networks of an ensemble know styles, or none does")
    return sizes.pop(), styled.pop()


def _card(members: Sequence[Member], settings: ExportSettings) -> ModelCard:
    """Return the card of a model that is not calibrated."""
    return ModelCard(
        tuple(member.facts for member in members),
        round(sum(_hours(member.facts) for member in members), 3),
        settings.arithmetic,
        settings.coarse,
        settings.mirror,
    )


def _check(file: Path, differences: NDArray[np.float32], arithmetic: Arithmetic) -> float:
    """Return the difference from PyTorch that counts; raise ModelError if it is too large."""
    whole = arithmetic == "float32"
    difference = float(differences.max() if whole else differences.mean())
    tolerance = TOLERANCE if whole else TOLERANCE_INT8
    if not difference <= tolerance:  # which is also so if it is no number
        raise ModelError(
            f"{file}: not written, since it differs from PyTorch by {difference:.2g} "
            f"in probability (at most {tolerance:g} is allowed)"
        )
    return difference


def _hours(facts: dict[str, Any]) -> float:
    """Return the hours of a training, and of those that it started from."""
    before = facts.get("fine_tuned_from")
    hours: float = facts.get("hours", 0) + (_hours(before) if before else 0)
    return hours


def to_onnx(model: nn.Module, examples: Pixels, *, styled: bool) -> onnx.ModelProto:
    """Return the graph for any number of photographs; with `styled` it also takes a style.

    PyTorch's exporter has been seen, once, to fix the number of photographs at the example's
    without a word. Then another number is tried.
    """
    for count in (2, 3):
        example = np.resize(examples, (count, *examples.shape[1:]))
        proto = _trace(model, example, styled=styled)
        if proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
            return proto
    raise ModelError("PyTorch's exporter fixed the number of photographs; export again")


def _trace(model: nn.Module, example: Pixels, *, styled: bool) -> onnx.ModelProto:
    """Return the graph that PyTorch's exporter makes; a style is int64 (1,)."""
    style = torch.tensor([STYLE_IDS[DEFAULT_STYLE]])
    # It says at each start that torchvision, which nothing here needs, is not installed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's exporter uses its own old names
        program = torch.onnx.export(
            model,
            (torch.from_numpy(example), *([style] if styled else [])),
            input_names=["photographs", STYLE_INPUT][: 1 + styled],
            output_names=["probability"],
            dynamic_shapes={
                "photographs": {0: torch.export.Dim("N")},
                **({STYLE_INPUT: None} if styled else {}),
            },
            dynamo=True,
            optimize=False,  # the runtime does so when it loads the file
            verbose=False,
        )
    assert program is not None  # it is None only when a file is given
    proto: onnx.ModelProto = program.model_proto
    return proto


def _samples(photographs: Sequence[str | Path], height: int, width: int) -> Pixels:
    """Return uint8 (n, height, width, 3): two pictures of random pixels, and the photographs."""
    random = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    real = [
        resize(read_photograph(p, at_least=(height, width)).pixels, height, width)
        for p in photographs
    ]
    return np.stack([*random, *real])


def _differences(
    model: nn.Module, file: Path, samples: Pixels, *, styled: bool
) -> NDArray[np.float32]:
    """Return how far the file's probabilities are from PyTorch's, in each style, (n, H, W)."""
    session = open_session(file, "cpu")
    differences = []
    for sample in samples:
        for style in STYLE_IDS.values() if styled else [None]:
            given = [sample[np.newaxis], *([] if style is None else [np.array([style])])]
            names = [entry.name for entry in session.get_inputs()]
            (found,) = session.run(None, dict(zip(names, given, strict=True)))
            with torch.inference_mode():
                expected = model(*map(torch.from_numpy, given)).numpy()
            differences.append(np.abs(found - expected)[0])
    return np.stack(differences)
