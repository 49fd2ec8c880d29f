"""The card in a model's file: which networks it holds, how they were trained, how sure they are."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from dermseg.errors import ModelError
from dermseg.settings import Arithmetic

KEY = "dermseg"
"""The key of an ONNX file's metadata under which the card lies, as JSON."""
FORMAT = 2
"""The card's version; files of another one are refused."""


@dataclass(frozen=True)
class StyleFacts:
    """What a model's card says of masks that are outlined in one style.

    `thresholds` are the fields of the `ThresholdSettings` that make such masks. `calibration` is
    what `dermseg.inference.confidence.Calibration.to_dict` returned, None for a model that does
    not say how sure these masks are; `confidence` says how well it knew them out of fold.
    """

    thresholds: dict[str, Any]
    calibration: dict[str, Any] | None = None
    confidence: dict[str, Any] | None = None


@dataclass(frozen=True)
class ModelCard:
    """What a model's file says of itself.

    `members` holds a dictionary for each network: its training settings, data, epochs and hours,
    and in `seen` the fingerprints of its photographs (`dermseg.data.fingerprints`).
    `hours` is the training time of all members. `mirror` says whether the model is used with
    mirror averaging unless the user decides otherwise. `styles` has the facts of each style of
    outline that the model's thresholds were chosen for; `note` is a sentence about where they
    come from, if not from the model's own members. `appearance` is what
    `dermseg.inference.appearance.Appearance.to_dict` returned, None for a model that does not
    know what its photographs look like.
    """

    members: tuple[dict[str, Any], ...]
    hours: float
    arithmetic: Arithmetic = "float32"
    coarse: bool = False
    mirror: bool = False
    styles: dict[str, StyleFacts] = field(default_factory=dict)
    note: str = ""
    appearance: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, text: str, file: Path) -> "ModelCard":
        """Read a card from the JSON in `file`.

        Raises ModelError, naming the file, if the card has another format or lacks a field.
        """
        try:
            values = json.loads(text)
            version = values.pop("format", 1)
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ModelError(f"{file}: the model's card is damaged") from error
        if version != FORMAT:
            raise ModelError(
                f"{file}: its card has format {version}, and this version reads {FORMAT}; "
                "export the model again"
            )
        try:
            styles = {name: StyleFacts(**facts) for name, facts in values["styles"].items()}
            card = cls(**{**values, "members": tuple(values["members"]), "styles": styles})
        except (TypeError, AttributeError, KeyError) as error:
            raise ModelError(f"{file}: the model's card is damaged") from error
        if not card._fits():
            raise ModelError(f"{file}: the model's card is damaged")
        return card

    def _fits(self) -> bool:
        """Say whether every value is of its kind, as JSON does not say."""
        return (
            len(self.members) > 0
            and all(isinstance(member, dict) for member in self.members)
            and isinstance(self.hours, int | float)
            and self.arithmetic in get_args(Arithmetic)
            and all(isinstance(flag, bool) for flag in (self.coarse, self.mirror))
            and isinstance(self.note, str)
            and all(
                isinstance(facts.thresholds, dict)
                and isinstance(facts.calibration, dict | None)
                and isinstance(facts.confidence, dict | None)
                for facts in self.styles.values()
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Return every field and the format, ready for JSON."""
        return {"format": FORMAT, **asdict(self), "members": list(self.members)}

    def to_json(self) -> str:
        """Return the card as it stands in the file."""
        return json.dumps(self.to_dict())
