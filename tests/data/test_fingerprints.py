"""How a model's file lists the photographs that it was trained on."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermseg.data.fingerprints import SIZE, decoded, encoded, read_fingerprints
from dermseg.errors import DataError


@given(st.sets(st.binary(min_size=SIZE, max_size=SIZE)))
def test_a_list_is_read_as_it_was_written(fingerprints: set[bytes]) -> None:
    assert decoded(encoded(fingerprints)) == fingerprints


def test_a_photograph_is_known_by_its_bytes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.jpg", "b.jpg", "copy-of-a.jpg")]
    for file, content in zip(files, (b"one", b"another", b"one"), strict=True):
        file.write_bytes(content)
    a, b, copy = read_fingerprints(files)
    assert a == copy != b
    assert len(a) == SIZE
    with pytest.raises(DataError, match=r"none\.jpg: cannot be read"):
        read_fingerprints([*files, tmp_path / "none.jpg"])
