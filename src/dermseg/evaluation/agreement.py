"""How far two readers agree: about which masks to keep, and about where the border lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from dermseg.errors import DataError, ImageError
from dermseg.imaging.mask_files import MASK_FOREGROUND, read_mask
from dermseg.masks.metrics import cohens_kappa, score
from dermseg.progress import counted
from dermseg.storage.decisions import Kept, Reader, readers_of
from dermseg.storage.tables import undefused, write_table

COLUMNS = ("photograph", "first", "second", "first_decision", "second_decision", "jaccard", "kappa")
UNNAMED = "the unnamed reader"


@dataclass(frozen=True)
class Pair:
    """One photograph that two readers decided about; without numbers where one kept no mask."""

    photograph: str
    decisions: tuple[str, str]
    jaccard: float | None = None
    kappa: float | None = None

    @property
    def kept(self) -> tuple[bool, bool]:
        """Whether each reader kept a mask."""
        first, second = self.decisions
        return first != "rejected", second != "rejected"


@dataclass(frozen=True)
class Agreement:
    """Two readers, and each photograph that both decided about."""

    first: str
    second: str
    pairs: tuple[Pair, ...]

    @property
    def alike(self) -> int:
        """Photographs that both kept, or both rejected."""
        return sum(first == second for first, second in (pair.kept for pair in self.pairs))

    @property
    def kappa_of_decisions(self) -> float:
        """Cohen's kappa of keeping and rejecting; 1 where nothing is decided."""
        kept = np.array([pair.kept for pair in self.pairs], np.bool_).reshape(-1, 2)
        return cohens_kappa(kept[:, 0], kept[:, 1])

    @property
    def compared(self) -> tuple[Pair, ...]:
        """The photographs of which both kept a mask."""
        return tuple(pair for pair in self.pairs if pair.jaccard is not None)

    @property
    def jaccard(self) -> float | None:
        """Mean Jaccard index of the masks that both kept, None where there is none."""
        return _mean([pair.jaccard for pair in self.compared])

    @property
    def kappa(self) -> float | None:
        """Mean of Cohen's kappa over each photograph's pixels, None where there is none."""
        return _mean([pair.kappa for pair in self.compared])

    def __str__(self) -> str:
        """Say it in two lines."""
        names = " and ".join(name or UNNAMED for name in (self.first, self.second))
        lines = [
            f"{names}: {counted(len(self.pairs), 'photograph')} decided by both, "
            f"{self.alike} in the same way (kappa {self.kappa_of_decisions:.3f})"
        ]
        if self.compared:
            same = sum(pair.jaccard == 1 for pair in self.compared)
            worst = min(self.compared, key=lambda pair: pair.jaccard or 0.0)
            lines.append(
                f"{counted(len(self.compared), 'mask')} kept by both, {same} of them the same: "
                f"mean Jaccard {self.jaccard:.3f} (lowest {worst.jaccard:.3f}, "
                f"{worst.photograph}), mean kappa over pixels {self.kappa:.3f}"
            )
        return "\n".join(lines)


def agreements(masks: Path) -> list[Agreement]:
    """Compare every two readers of a folder of masks.

    Parameters
    ----------
    masks
        The folder, with the tables of decisions that `dermseg serve --review` left.

    Returns
    -------
    list of Agreement
        One for each pair of readers; none where fewer than two decided there.

    Raises
    ------
    DataError
        A table or a mask is damaged or gone, or a mask was made again since it was accepted.
    """
    reviews = [_Review.of(reader) for reader in readers_of(masks)]
    return [_compare(first, second) for first, second in combinations(reviews, 2)]


@dataclass(frozen=True)
class _Review:
    """A reader's decisions, and the masks that the reader kept, by photograph."""

    name: str
    decisions: Mapping[str, str]
    kept: Mapping[str, Kept]

    @classmethod
    def of(cls, reader: Reader) -> "_Review":
        """Read it; raise DataError for a table that is damaged."""
        rows = reader.rows()
        decisions = {undefused(name): row["decision"] for name, row in rows.items()}
        return cls(reader.name, decisions, {one.photograph: one for one in reader.kept(rows)})


def _compare(first: _Review, second: _Review) -> Agreement:
    pairs = []
    for photograph, decision in first.decisions.items():
        decisions = decision, second.decisions.get(photograph, "")
        if all(decisions):
            pairs.append(_pair(photograph, decisions, first.kept, second.kept))
    return Agreement(first.name, second.name, tuple(pairs))


def _pair(
    photograph: str,
    decisions: tuple[str, str],
    kept: Mapping[str, Kept],
    kept_too: Mapping[str, Kept],
) -> Pair:
    if photograph not in kept or photograph not in kept_too:
        return Pair(photograph, decisions)
    both = kept[photograph], kept_too[photograph]
    if any(one.changed for one in both):
        raise DataError(
            f"{photograph}: the mask was made again since it was accepted; review it again"
        )
    try:
        first, second = (read_mask(one.path) > MASK_FOREGROUND for one in both)
        return Pair(
            photograph, decisions, score(first, second).jaccard, cohens_kappa(first, second)
        )
    except (ImageError, ValueError) as error:
        raise DataError(f"{photograph}: its masks cannot be compared ({error})") from error


def write(found: list[Agreement], path: Path) -> None:
    """Write a table of every photograph of every two readers; OutputError if it cannot be."""
    write_table(
        path,
        COLUMNS,
        (
            dict(zip(COLUMNS, _cells(each, pair), strict=True))
            for each in found
            for pair in each.pairs
        ),
    )


def _cells(each: Agreement, pair: Pair) -> tuple[object, ...]:
    numbers = ("" if value is None else round(value, 4) for value in (pair.jaccard, pair.kappa))
    return pair.photograph, each.first, each.second, *pair.decisions, *numbers


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
