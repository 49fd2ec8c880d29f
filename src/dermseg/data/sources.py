"""Folds that hold out whole sources, to score a network on photographs of other cameras.

Folds by image (`dermseg.data.folds`) put photographs of every source on both sides. A source is
not on record; the stored size of its photographs stands for it.
"""

from collections import Counter
from collections.abc import Sequence

from dermseg.data.folds import dealt, grouped, join

SAME_SIZE = 1.02
"""Sides whose ratio is at most this are of one source: scanned slides are cropped by hand."""

Size = tuple[int, int]


def find_sources(sizes: Sequence[Size]) -> list[int]:
    """Return a source number for each photograph, from its stored size (height, width).

    Sizes join transitively where both sides differ by at most 2 %. A portrait has the source of
    the landscape of its size.
    """
    sides = [(min(size), max(size)) for size in sizes]
    distinct = sorted(set(sides))
    joined = join(
        len(distinct),
        (
            (one, other)
            for other in range(len(distinct))
            for one in range(other)
            if _alike(distinct[one], distinct[other])
        ),
    )
    source_of = dict(zip(distinct, joined, strict=True))
    return [source_of[pair] for pair in sides]


def _alike(one: Size, other: Size) -> bool:
    return all(max(pair) <= SAME_SIZE * min(pair) for pair in zip(one, other, strict=True))


def merge(sources: Sequence[int], groups: Sequence[int]) -> list[int]:
    """Return a part number for each image: images of one source or of one group share a part.

    `groups` are the near-duplicates of `dermseg.data.folds.near_duplicates`.
    """
    pairs = zip(sources, groups, strict=True)
    return grouped((("source", source), ("group", group)) for source, group in pairs)


def assign_parts(parts: Sequence[int], strata: Sequence[str], folds: int, seed: int) -> list[int]:
    """Return the fold of each image, 0 to `folds` - 1; the images of one part share a fold.

    Parts are dealt in random order, largest first, each to the fold where it keeps the numbers of
    images of each stratum (style) nearest to an equal spread. One part may be larger than a
    fold: then folds differ in size (see `describe`).
    """
    counts: list[Counter[str]] = [Counter() for _ in range(folds)]
    fold_of = [0] * len(parts)
    for images in dealt(parts, seed):
        new = Counter(strata[image] for image in images)

        def growth(fold: int, new: Counter[str] = new) -> int:
            """Return the growth of the sum of squares, least where the spread stays most equal."""
            return sum(n * (n + 2 * counts[fold][stratum]) for stratum, n in new.items())

        fold = min(range(folds), key=growth)
        counts[fold] += new
        for image in images:
            fold_of[image] = fold
    return fold_of


def describe(fold_of: Sequence[int], styles: Sequence[str], sources: Sequence[int]) -> str:
    """Return a table for people: each fold's images, sources and styles.

    A fold without both styles decides nothing about either.
    """
    columns = sorted(set(styles))
    lines = [f"{'fold':<6}{'images':>8}{'sources':>9}" + "".join(f"{c:>16}" for c in columns)]
    for fold in sorted(set(fold_of)):
        inside = [image for image, own in enumerate(fold_of) if own == fold]
        count = Counter(styles[image] for image in inside)
        cells = "".join(f"{count[column]:>16}" for column in columns)
        lines.append(
            f"{fold:<6}{len(inside):>8}{len({sources[image] for image in inside}):>9}{cells}"
        )
    return "\n".join(lines)
