import csv
from pathlib import Path

import pytest

from dermseg.errors import OutputError
from dermseg.experiments import ledger
from dermseg.masks.metrics import METRICS, Scores

SCORES = [Scores(0.9, 0.8, 0.7, 0.6, 1.0), Scores(0.8, 0.7, 0.6, 0.5, 0.9)]


def test_a_line_a_scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "new" / "ledger.csv"
    for head in ("0123456789abcdef", "0123456789abcdef+", None):
        monkeypatch.setattr(ledger, "commit", lambda head=head: head)
        ledger.append(file, "a model, with a comma", "isic2017-validation", SCORES)
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["commit"] for row in rows] == ["0123456", "0123456+", ""]
    assert rows[0]["model"] == "a model, with a comma"
    assert rows[0]["images"] == "2"
    assert [float(rows[0][name]) for name in METRICS] == [0.85, 0.75, 0.65, 0.55, 0.95]
    assert 0.6 <= float(rows[0]["jaccard_95_low"]) <= float(rows[0]["jaccard_95_high"]) <= 0.7


def test_the_repositorys_ledger_has_these_columns() -> None:
    kept = Path(__file__).parent.parent.parent / "results" / "ledger.csv"
    assert tuple(kept.read_text().splitlines()[0].split(",")) == ledger.COLUMNS


def test_a_ledger_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=str(tmp_path)):
        ledger.append(tmp_path, "a", "b", SCORES)
