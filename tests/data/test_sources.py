"""Folds that hold out whole sources."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermseg.data.sources import assign_parts, describe, find_sources, merge

SIZES = st.lists(st.tuples(st.integers(400, 7000), st.integers(400, 7000)), max_size=40)


class TestFindSources:
    def test_one_size_is_one_source_and_another_size_another(self) -> None:
        sources = find_sources([(768, 1024), (2000, 3008), (768, 1024)])
        assert sources[0] == sources[2] != sources[1]

    def test_a_portrait_is_of_its_landscapes_source(self) -> None:
        assert len(set(find_sources([(768, 1024), (1024, 768)]))) == 1

    def test_crops_of_nearly_one_size_join_transitively(self) -> None:
        sources = find_sources([(4361, 6602), (4500, 6700), (4440, 6641), (2848, 4288)])
        assert sources[0] == sources[1] == sources[2] != sources[3]

    def test_one_like_side_is_not_enough(self) -> None:
        assert len(set(find_sources([(768, 1024), (768, 900)]))) == 2

    @settings(max_examples=50, deadline=None)
    @given(SIZES)
    def test_the_order_of_images_changes_nothing(self, sizes: list[tuple[int, int]]) -> None:
        assert find_sources(sizes[::-1]) == find_sources(sizes)[::-1]


class TestMerge:
    def test_near_duplicates_bind_their_sources(self) -> None:
        parts = merge([0, 0, 1, 1, 2], [0, 1, 1, 3, 4])
        assert len(set(parts[:4])) == 1
        assert parts[4] != parts[0]

    def test_without_near_duplicates_parts_are_sources(self) -> None:
        parts = merge([5, 7, 5, 9], [0, 1, 2, 3])
        assert parts[0] == parts[2]
        assert len(set(parts)) == 3


class TestAssignParts:
    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), min_size=1, max_size=200),
        st.integers(1, 6),
    )
    def test_a_part_is_never_divided(self, images: list[tuple[int, str]], folds: int) -> None:
        parts, strata = zip(*images, strict=True)
        fold_of = assign_parts(parts, strata, folds, 0)
        assert len(set(zip(parts, fold_of, strict=True))) == len(set(parts))
        assert all(0 <= fold < folds for fold in fold_of)

    def test_many_small_parts_fill_the_folds_evenly_in_both_strata(self) -> None:
        parts = [image // 4 for image in range(400)]
        strata = ["traced" if part % 5 < 2 else "semi-automatic" for part in parts]
        fold_of = assign_parts(parts, strata, 5, 0)
        assert set(Counter(fold_of).values()) == {80}
        counts = Counter(zip(fold_of, strata, strict=True))
        assert {counts[fold, "traced"] for fold in range(5)} == {32}

    def test_a_part_larger_than_a_fold_has_one_to_itself(self) -> None:
        parts = [0] * 60 + [part for part in range(1, 5) for _ in range(10)]
        fold_of = assign_parts(parts, ["a"] * 100, 5, 0)
        assert Counter(fold_of)[fold_of[0]] == 60

    def test_the_seed_decides_between_equals_alone(self) -> None:
        parts, strata = list(range(40)), ["a", "b"] * 20
        assert assign_parts(parts, strata, 4, 1) == assign_parts(parts, strata, 4, 1)
        assert assign_parts(parts, strata, 4, 1) != assign_parts(parts, strata, 4, 2)


def test_the_table_counts_images_sources_and_styles() -> None:
    table = describe([0, 0, 1], ["traced", "semi-automatic", "traced"], [7, 8, 7])
    assert [line.split() for line in table.splitlines()] == [
        ["fold", "images", "sources", "semi-automatic", "traced"],
        ["0", "2", "2", "1", "1"],
        ["1", "1", "1", "0", "1"],
    ]


def test_no_images_have_no_folds() -> None:
    assert assign_parts([], [], 5, 0) == find_sources([]) == merge([], []) == []
    with pytest.raises(ValueError, match="argument"):
        merge([0], [])
