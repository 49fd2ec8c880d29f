"""From a photograph to its segmentation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import blake2b, sha256
from io import BytesIO
from pathlib import Path

import numpy as np

from dermseg import __version__
from dermseg.cores import cached_property
from dermseg.errors import ModelError, UsageError
from dermseg.imaging.images import Pixels, resize
from dermseg.imaging.inputs import PhotographLike, opened
from dermseg.imaging.orientation import as_seen, as_stored, shape_along
from dermseg.imaging.photographs import Photograph, image_size, read_photograph, unwrapped
from dermseg.imaging.structure import check_parts
from dermseg.inference.appearance import Appearance
from dermseg.inference.confidence import Calibration
from dermseg.inference.contract import Contract, run
from dermseg.inference.prompt import ZOOM, look_closer
from dermseg.inference.segmentation import Candidate, Flag, Segmentation, box_around, flags_of
from dermseg.inference.session import asks_for_exact_sums, read_file, session_of
from dermseg.masks.postprocess import (
    Lesion,
    Probability,
    binarise,
    candidate_cores,
    choose_lesion,
    holds,
)
from dermseg.masks.style import STYLE_IDS
from dermseg.modelfile.card import KEY, ModelCard
from dermseg.settings import DEFAULT_MODEL, DEFAULT_STYLE, Style, ThresholdSettings
from dermseg.weights import find_model

MIRRORS: tuple[tuple[int, int], ...] = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""Steps along rows and columns that turn a picture into itself and its three mirror images."""


class Segmenter:
    """A model that is loaded once and segments many photographs. Threads may share it.

    Parameters
    ----------
    model
        Name of a shipped model (`dermseg models` lists them), or path of an ONNX file that
        `dermseg export` wrote.
    style
        How lesions are outlined: "traced" as by an expert, or "semi-automatic" as by a flood fill.
        A network that knows styles draws in it; other models have thresholds for each.
    thresholds
        Thresholds that make the mask of the probability. By default those of the model's card
        for the style.
    mirror
        Average the probability over the photograph and its three mirror images: four times the
        network's work. By default as the model's card says.
    device
        "cpu", or "cuda" with onnxruntime-gpu installed in place of onnxruntime.

    Raises
    ------
    ModelError
        If the model is unknown, or its file was not written by `dermseg export`.
    UsageError
        If the style is unknown or the device is not available.

    Examples
    --------
    >>> segmenter = dermseg.Segmenter("lite0", style="semi-automatic")
    >>> segmenter.segment("examples/photographs/ISIC_0003582.jpg").flags
    ()
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        style: Style = DEFAULT_STYLE,
        thresholds: ThresholdSettings | None = None,
        mirror: bool | None = None,
        device: str = "cpu",
    ) -> None:
        self.path = find_model(model)
        self.device = device
        self.name = str(model)
        content = read_file(self.path)
        self.sha256 = sha256(content).hexdigest()
        self._session = session_of(content, self.path, device)
        self.style = _known_style(style)
        try:
            card = self._session.get_modelmeta().custom_metadata_map[KEY]
            self._graph = Contract.of(self._session)
            self.card = ModelCard.from_json(card, self.path)
            self._outlines = {name: _Outline.of(self.card, name) for name in STYLE_IDS}
            known = self.card.appearance
            self._appearance = None if known is None else Appearance.from_dict(known)
        except (KeyError, ValueError, TypeError, UsageError) as error:
            raise ModelError(
                f"{self.path}: an ONNX file, but not one that `dermseg export` wrote ({error})"
            ) from error
        self.height, self.width = self._graph.height, self._graph.width
        self._given_thresholds = _are_thresholds(thresholds)
        self.mirror = self.card.mirror if mirror is None else mirror

    def __reduce__(self) -> tuple[Callable[[], "Segmenter"], tuple[()]]:
        # A session of ONNX Runtime cannot be pickled: the model is loaded again.
        again = partial(
            Segmenter,
            self.name,
            style=self.style,
            thresholds=self._given_thresholds,
            mirror=self.mirror,
            device=self.device,
        )
        return again, ()

    @property
    def draws_styles(self) -> bool:
        """Whether the network takes the style as an input; otherwise thresholds make it."""
        return bool(self._graph.style)

    @property
    def thresholds(self) -> ThresholdSettings:
        """The thresholds in use: those given, or those of the model's card for the style."""
        return self.thresholds_for(self.style)

    def thresholds_for(self, style: Style) -> ThresholdSettings:
        """Return the thresholds in use for masks of `style`."""
        return self._given_thresholds or self._outlines[style].thresholds

    @property
    def calibrated(self) -> bool:
        """Whether the model's card has a calibration for this style."""
        return self._outlines[self.style].calibration is not None

    @property
    def says_how_sure(self) -> bool:
        """Whether masks come with a confidence: with a calibration and its own thresholds."""
        return self.calibrated and self.thresholds == self._outlines[self.style].thresholds

    @property
    def description(self) -> str:
        """One line for people: the model, the device, the arithmetic and the style."""
        arithmetic = "in float32"
        if self.card.arithmetic == "int8":
            arithmetic = "in 8 bits"
            if self.device == "cpu" and asks_for_exact_sums():
                arithmetic += " with slower, exact sums: no VNNI is known here"
        mirrored = ", with mirror averaging" if self.mirror else ""
        return f"{self.name} on {self.device}, {arithmetic}{mirrored}, {self.style} outlines"

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the model and of all settings: the same for the same masks."""
        known = self.sha256, __version__, self.style, self.thresholds, self.mirror
        return blake2b(repr(known).encode(), digest_size=16).hexdigest()

    def probability(
        self,
        pixels: Pixels,
        *,
        size: tuple[int, int] | None = None,
        style: Style | None = None,
    ) -> Probability:
        """Return the probability of lesion at the network's size.

        The network sees a portrait after a quarter turn, and its map is turned back.

        Parameters
        ----------
        pixels
            uint8 RGB, (H, W, 3), of any size.
        size
            The photograph's (height, width), where `pixels` are a thumbnail of it.
        style
            Style of the outline; the segmenter's by default.

        Returns
        -------
        numpy.ndarray
            float32, 0 to 1: (h, w) for a landscape, (w, h) for a portrait, h x w being the
            network's size.
        """
        size = size or (pixels.shape[0], pixels.shape[1])
        return self._run(self.view(pixels, size), size, style)

    def view(self, pixels: Pixels, size: tuple[int, int]) -> Pixels:
        """Return a photograph as the network sees it.

        Parameters
        ----------
        pixels
            uint8 RGB, (H, W, 3), of any size.
        size
            The photograph's (height, width), where `pixels` are a thumbnail of it.

        Returns
        -------
        numpy.ndarray
            uint8 RGB, (h, w, 3), at the network's size. A portrait is turned.
        """
        shape = self.height, self.width
        return resize(as_seen(pixels, size, shape), *shape)

    def _run(self, view: Pixels, size: tuple[int, int], style: Style | None) -> Probability:
        """Return the probability of what the network sees of a photograph, as `probability`."""
        style = self.style if style is None else _known_style(style)
        mirrors = MIRRORS if self.mirror else MIRRORS[:1]
        views = np.stack([view[::down, ::right] for down, right in mirrors])
        inputs = {self._graph.photographs: views}
        if self._graph.style:
            inputs[self._graph.style] = np.array([STYLE_IDS[style]])
        try:
            maps = run(self._session, inputs, views.shape[:3])
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from error
        probability: Probability = np.mean(
            [each[::down, ::right] for each, (down, right) in zip(maps, mirrors, strict=True)],
            axis=0,
        )
        return as_stored(probability, size)

    def segment(
        self,
        photograph: PhotographLike,
        *,
        size: tuple[int, int] | None = None,
        style: Style | None = None,
        thresholds: ThresholdSettings | None = None,
        at: tuple[float, float] | None = None,
    ) -> Segmentation:
        """Segment a photograph.

        Parameters
        ----------
        photograph
            A path; a file's content as bytes, or an open binary file; a picture of Pillow's; a
            `Photograph`; or pixels, uint8 RGB, (H, W, 3).
        size
            The mask's (height, width), where the photograph is a thumbnail; the photograph's size
            by default.
        style
            Style of the outline; the segmenter's by default.
        thresholds
            Thresholds that make the mask; the segmenter's by default.
        at
            (x, y) of a point in the lesion, in the mask's pixels. The candidate that holds it
            is the lesion. If none does, the network looks closer there; the mask is empty if it
            sees nothing.

        Returns
        -------
        Segmentation
            The lesion. A photograph without a lesion gives an empty mask and the flag "empty".

        Raises
        ------
        ImageError
            If the photograph cannot be read, or the array is not uint8 RGB.
        UsageError
            If `at` lies outside the mask, `size` has no pixels, or the style is unknown.
        TypeError
            If `photograph` is none of these, or `thresholds` are no `ThresholdSettings`.
        """
        source = opened(photograph)
        read = self.read(source)
        height, width = size or (read.height, read.width)
        if height < 1 or width < 1:
            raise UsageError(f"a mask of {height} x {width} pixels cannot be made")
        view = self.view(read.pixels, (height, width))
        probability = self._run(view, (height, width), style)
        found = self.find(probability, (height, width), style=style, thresholds=thresholds, at=at)
        if at is not None and not found.bounding_box:
            closer = look_closer(
                lambda part: self.probability(part, size=(height, width), style=style),
                self.read(source, closer=ZOOM).pixels,
                ((at[1] + 0.5) / height, (at[0] + 0.5) / width),
                probability.shape,
            )
            if closer is not None:
                found = self.find(
                    closer, (height, width), style=style, thresholds=thresholds, at=at
                )
        flags: tuple[Flag, ...] = read.flags
        if self._appearance and self._appearance.is_unlike(view):
            flags = (*flags, "unlike-training")
        return replace(
            found,
            flags=(*flags, *found.flags),
            photograph=source,
            orientation=read.orientation,
        )

    def find(
        self,
        probability: Probability,
        size: tuple[int, int],
        *,
        style: Style | None = None,
        thresholds: ThresholdSettings | None = None,
        at: tuple[float, float] | None = None,
    ) -> Segmentation:
        """Postprocess a probability map into a `Segmentation`.

        Parameters
        ----------
        probability
            float32, 0 to 1, as the method `probability` returned it.
        size
            The mask's (height, width).
        style, thresholds, at
            As in `segment`.

        Returns
        -------
        Segmentation
            The lesion, at the size `size`.

        Raises
        ------
        UsageError
            If `at` lies outside the mask.
        """
        style = self.style if style is None else _known_style(style)
        manner = self._outlines[style]
        # What a mask is worth was learnt on the network's own maps, not on those of a closer look.
        if probability.size > self.height * self.width:
            manner = replace(manner, calibration=None)
        return manner.find(
            probability, size, _are_thresholds(thresholds) or self.thresholds_for(style), at
        )

    def read(self, photograph: PhotographLike, closer: int = 1) -> Photograph:
        """Read a photograph at a scale that is large enough for the network.

        Parameters
        ----------
        photograph
            As in `segment`.
        closer
            How many times closer the network is to look at a part of it.

        Returns
        -------
        Photograph
            The pixels, perhaps reduced, and the full size.

        Raises
        ------
        ImageError
            If it cannot be read, or the array is not uint8 RGB, (H, W, 3).
        """
        source = opened(photograph)
        if isinstance(source, Photograph):
            return source
        source = unwrapped(source)
        if isinstance(source, BytesIO):
            check_parts(source.getvalue(), getattr(source, "name", "the image"))
        rows, columns = shape_along((self.height, self.width), image_size(source))
        return read_photograph(source, at_least=(closer * rows, closer * columns))


@dataclass(frozen=True)
class _Outline:
    """How a model's masks of one style are made, and how sure they are."""

    thresholds: ThresholdSettings
    calibration: Calibration | None

    @classmethod
    def of(cls, card: ModelCard, style: str) -> "_Outline":
        """Read what a card says of a style."""
        if style not in card.styles:
            return cls(ThresholdSettings(), None)
        facts = card.styles[style]
        known = facts.calibration
        calibration = None if known is None else Calibration.from_dict(known)
        return cls(ThresholdSettings(**facts.thresholds), calibration)

    def find(
        self,
        probability: Probability,
        size: tuple[int, int],
        thresholds: ThresholdSettings,
        at: tuple[float, float] | None,
    ) -> Segmentation:
        """Postprocess a probability map, as `Segmenter.find` says."""
        height, width = size
        if at is not None and not (0 <= at[0] < width and 0 <= at[1] < height):
            raise UsageError(f"at {at[0]:g}, {at[1]:g}: outside the mask of {width} x {height}")
        place = None if at is None else _scaled(at, (height, width), probability)
        own = lesion = choose_lesion(probability, thresholds)
        if place is not None and not holds(own, place, thresholds.low):
            lesion = choose_lesion(probability, thresholds, place)
        mask, outline = binarise(lesion, height, width, thresholds)
        found = Segmentation(
            mask,
            outline,
            box_around(outline),
            probability,
            flags_of(mask, lesion.candidates),
            list_candidates=partial(_candidates, probability, lesion, size, thresholds),
            choose=partial(self.find, probability, size, thresholds),
        )
        if self.calibration is None:
            return found
        bound = partial(self.calibration.bound, probability, lesion, thresholds.low, size)
        # What a mask is worth was learnt on these thresholds' own choice of the lesion.
        if thresholds != self.thresholds or lesion is not own:
            return replace(found, bound=bound)
        confidence = self.calibration.judge(probability, lesion, thresholds.low)
        doubt: tuple[Flag, ...] = ("low-confidence",) if confidence.low_confidence else ()
        flags = (*found.flags, *doubt)
        return replace(found, flags=flags, confidence=confidence, bound=bound)


def _known_style(style: Style) -> Style:
    """Return a style; UsageError if there is none of this name."""
    if style not in STYLE_IDS:
        raise UsageError(f"style {style!r}: choose {' or '.join(STYLE_IDS)}")
    return style


def _are_thresholds(given: ThresholdSettings | None) -> ThresholdSettings | None:
    """Return thresholds; TypeError if they are something else."""
    if not isinstance(given, ThresholdSettings | None):
        raise TypeError(
            "thresholds are dermseg.ThresholdSettings, such as ThresholdSettings(high=0.8, "
            f"low=0.4), not {type(given).__name__}"
        )
    return given


def _scaled(
    at: tuple[float, float], size: tuple[int, int], probability: Probability
) -> tuple[float, float]:
    """Return the row and column in `probability` of x and y in a mask of `size`."""
    rows, columns = probability.shape
    return (at[1] + 0.5) * rows / size[0] - 0.5, (at[0] + 0.5) * columns / size[1] - 0.5


def _candidates(
    probability: Probability,
    lesion: Lesion,
    size: tuple[int, int],
    thresholds: ThresholdSettings,
) -> tuple[Candidate, ...]:
    """Return the candidates, in a mask of `size`, that were not chosen."""
    others = []
    for row, column in candidate_cores(probability, thresholds):
        if holds(lesion, (row, column), thresholds.low):
            continue
        other = choose_lesion(probability, thresholds, (row, column))
        outline = binarise(other, *size, thresholds)[1]
        y, x = (
            min(max((place + 0.5) * after / before - 0.5, 0.0), after - 1)
            for place, after, before in zip((row, column), size, probability.shape, strict=True)
        )
        if len(outline):
            others.append(Candidate(outline, (x, y)))
    return tuple(others)


@lru_cache(maxsize=4)
def _loaded(model: str | Path, mirror: bool | None, _file: tuple[Path, int]) -> Segmenter:
    """Return a segmenter of a model, the same one again for the last few files as they were."""
    return Segmenter(model, mirror=mirror)


def segment(
    photograph: PhotographLike,
    *,
    model: str | Path = DEFAULT_MODEL,
    style: Style = DEFAULT_STYLE,
    thresholds: ThresholdSettings | None = None,
    at: tuple[float, float] | None = None,
    mirror: bool | None = None,
) -> Segmentation:
    """Segment a photograph.

    A model is loaded at the first call, and again where its file has changed; the last four stay
    loaded. A `Segmenter` chooses the device, too.

    Parameters
    ----------
    photograph
        A path; a file's content as bytes, or an open binary file; a picture of Pillow's; a
        `Photograph`; or pixels, uint8 RGB, (H, W, 3).
    model
        Name of a shipped model, or path of an ONNX file that `dermseg export` wrote.
    style
        How lesions are outlined: "traced" as by an expert, or "semi-automatic" as by a flood fill.
    thresholds
        Thresholds that make the mask of the probability. By default those of the model's card.
    at
        (x, y) of a point in the lesion, in the photograph's stored pixels: the candidate that holds
        it is the lesion. If none does, the network looks closer there.
    mirror
        Average over the photograph and its three mirror images: four times the network's work. By
        default as the model's card says.

    Returns
    -------
    Segmentation
        The lesion, with a mask of the photograph's size. Its `lesions` are all that the photograph
        may have.

    Raises
    ------
    ImageError
        If the photograph cannot be read, or the array is not uint8 RGB; also a FileNotFoundError if
        it is not there.
    ModelError
        If the model is unknown.
    UsageError
        If the style is unknown, or `at` lies outside the photograph.
    TypeError
        If an argument is of another type.

    Examples
    --------
    >>> lesion = dermseg.segment("examples/photographs/ISIC_0003582.jpg")
    >>> lesion.area, round(lesion.confidence.jaccard, 2)
    (64934, 0.91)
    >>> dermseg.segment(lesion.photograph, style="semi-automatic").area < lesion.area
    True
    """
    file = find_model(model).resolve()
    segmenter = _loaded(model, mirror, (file, file.stat().st_mtime_ns))
    return segmenter.segment(photograph, style=style, thresholds=thresholds, at=at)
