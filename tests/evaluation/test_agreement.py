import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dermseg.cli.main import main
from dermseg.errors import DataError, UsageError
from dermseg.evaluation.agreement import agreements
from dermseg.imaging.mask_files import write_mask
from dermseg.masks.metrics import cohens_kappa
from dermseg.storage.decisions import COLUMNS, Reader, digest_of, readers_of
from dermseg.storage.tables import write_table


def square(side: int) -> NDArray[np.bool_]:
    mask = np.zeros((20, 20), np.bool_)
    mask[:side, :side] = True
    return mask


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Return a folder of four masks with the tables of two readers."""
    masks = tmp_path / "masks"
    for number in range(4):
        write_mask(masks / f"{number}_segmentation.png", square(10))
    for name, decisions in (
        ("", ("accepted", "accepted", "rejected", "accepted")),
        ("ann", ("accepted", "corrected", "rejected", "")),
    ):
        reader = Reader(masks, name)
        rows = []
        for number, decision in enumerate(decisions):
            mask = f"{number}_segmentation.png"
            known = {"photograph": f"{number}.jpg", "mask": mask, "decision": decision}
            digest = digest_of(masks / mask)
            rows.append({**dict.fromkeys(COLUMNS, ""), **known, "digest": digest})
            if decision == "corrected":
                write_mask(reader.corrected / mask, square(5))
        write_table(reader.table, COLUMNS, rows)
    return masks


def test_two_readers_of_the_same_masks(masks: Path) -> None:
    assert [reader.name for reader in readers_of(masks)] == ["", "ann"]
    (found,) = agreements(masks)
    assert [pair.photograph for pair in found.pairs] == ["0.jpg", "1.jpg", "2.jpg"]
    assert (found.alike, found.kappa_of_decisions) == (3, 1.0)
    assert [pair.jaccard for pair in found.compared] == [1.0, 0.25]
    assert found.jaccard == 0.625
    # 325 of 400 pixels are the same; by chance (100 * 25 + 300 * 375) / 400 of them would be.
    chance = (100 * 25 + 300 * 375) / 400**2
    kappa = (325 / 400 - chance) / (1 - chance)
    assert found.kappa == pytest.approx((1 + kappa) / 2)
    assert "2 masks kept by both, 1 of them the same: mean Jaccard 0.625" in str(found)


def test_the_command_says_it_and_writes_a_table(
    masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = masks / "agreement.csv"
    assert main(["agreement", str(masks), "-o", str(table)]) == 0
    assert "the unnamed reader and ann: 3 photographs decided by both" in capsys.readouterr().out
    with table.open() as text:
        rows = list(csv.DictReader(text))
    assert [row["jaccard"] for row in rows] == ["1.0", "0.25", ""]
    Reader(masks, "ann").table.unlink()
    assert agreements(masks) == []
    assert main(["agreement", str(masks)]) == 2
    assert "--reader" in capsys.readouterr().err


def test_a_mask_that_was_made_again_since_is_not_compared(masks: Path) -> None:
    write_mask(masks / "0_segmentation.png", square(7))
    with pytest.raises(DataError, match=r"0\.jpg: the mask was made again since it was accepted"):
        agreements(masks)


def test_each_table_is_read_once(masks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(Reader(masks, "bo").table, COLUMNS, Reader(masks).rows().values())
    read: list[str] = []
    rows = Reader.rows
    monkeypatch.setattr(Reader, "rows", lambda self: read.append(self.name) or rows(self))
    assert len(agreements(masks)) == 3
    assert read == ["", "ann", "bo"]


def test_kappa_is_agreement_beyond_chance() -> None:
    some = np.array([True, True, False, False])
    assert cohens_kappa(some, some) == 1
    assert cohens_kappa(some, ~some) == -1
    assert cohens_kappa(some, np.array([True, False, True, False])) == 0
    nothing = np.zeros(4, np.bool_)
    assert cohens_kappa(nothing, nothing) == 1
    assert cohens_kappa(some, nothing) == 0
    with pytest.raises(ValueError, match="shapes"):
        cohens_kappa(some, some[:2])


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "x" * 41])
def test_a_reader_s_name_is_part_of_a_file_s(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--reader"):
        Reader(tmp_path, name)


def test_a_table_of_decisions_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.table.write_text(f"{','.join(COLUMNS)}\n{'x' * 200_000}\n")
    with pytest.raises(DataError, match=r"decisions\.csv: damaged"):
        reader.rows()


def test_cells_that_a_spreadsheet_left_out_are_empty(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.table.write_text(f"{','.join(COLUMNS)}\na.jpg,a_segmentation.png\n")
    assert reader.rows()["a.jpg"] == {
        **dict.fromkeys(COLUMNS, ""),
        "photograph": "a.jpg",
        "mask": "a_segmentation.png",
    }
