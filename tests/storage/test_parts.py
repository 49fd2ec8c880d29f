"""The journal in parts and the lease, as stores have them; here in a folder."""

import json
import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import asdict, replace
from pathlib import Path
from threading import Thread

import pytest

from dermseg.errors import StoreError, UsageError
from dermseg.storage.journal import Entry, Journal
from dermseg.storage.lease import Holder, Lease, Rhythm
from dermseg.storage.parts import PartedJournal, open_journal
from dermseg.storage.stores import LocalStore, open_store

QUICK = Rhythm(beat=0.05, expiry=0.3, flush=0.05)
SLOW = Rhythm(beat=60, expiry=600, flush=60)
ELSEWHERE = Holder("scanner-7", "another", 4711, "another", 0.0)


def entry(number: int) -> Entry:
    return Entry(f"f{number}", {"area": number}, {f"{number}.png": number}, (number,))


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("journal/*.jsonl"))


def leases(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("journal/lease-*"))


def write_lease(folder: Path, holder: Holder, number: int = 1) -> Path:
    path = folder / "journal" / f"lease-{number:06}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(holder)))
    return path


def test_a_folder_here_has_a_file_and_any_other_store_parts(tmp_path: Path) -> None:
    with open_journal(LocalStore(tmp_path)) as journal:
        assert type(journal) is Journal
    pytest.importorskip("fsspec")
    with open_journal(open_store("memory://journal")) as journal:
        assert type(journal) is PartedJournal


def test_lines_are_found_again_and_parts_become_one(tmp_path: Path) -> None:
    for run in range(3):
        with PartedJournal(LocalStore(tmp_path), SLOW) as journal:
            assert len(parts(tmp_path)) == min(run, 1)
            known = journal.masks() - {"report.csv"}
            assert known == {f"{number}.png" for number in range(run + 1) if run}
            for number in (run, run + 1):
                journal.note(f"{number}.png", entry(10 * run + number))
            assert journal.last(f"{run}.png") == entry(11 * run)
            journal.write("report.csv", b"%d" % run)
    with PartedJournal(LocalStore(tmp_path), SLOW) as journal:
        assert [journal.last(f"{n}.png") for n in range(4)] == [entry(n) for n in (0, 11, 22, 23)]
    (only,) = parts(tmp_path)
    assert len((tmp_path / "journal" / only).read_bytes().splitlines()) == 5
    (tmp_path / "report.csv").write_bytes(b"mine")
    with (
        PartedJournal(LocalStore(tmp_path), SLOW) as journal,
        pytest.raises(UsageError, match=r"report\.csv: was changed"),
    ):
        journal.write("report.csv", b"")
    assert leases(tmp_path) == []


def test_lines_are_written_every_few_seconds_and_outlive_a_kill(tmp_path: Path) -> None:
    killed = PartedJournal(LocalStore(tmp_path), QUICK)
    killed.note("a.png", entry(1))
    until = time.monotonic() + 5
    while not parts(tmp_path) and time.monotonic() < until:
        time.sleep(0.01)
    killed._ended.set()
    killed._keeper.join()
    killed.note("b.png", entry(2))  # and this line was not yet written
    killed._file.close()
    with PartedJournal(LocalStore(tmp_path), SLOW) as journal:
        assert journal.last("a.png") == entry(1)
        assert journal.last("b.png") is None


def test_a_second_process_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    path = write_lease(tmp_path, replace(ELSEWHERE, beat=time.time() - 7))
    for _ in range(2):
        with pytest.raises(UsageError, match=r"scanner-7 \(process 4711\) .* said so 7 s ago"):
            PartedJournal(LocalStore(tmp_path), SLOW)
    path.unlink()
    with PartedJournal(LocalStore(tmp_path), SLOW):
        pass


def test_a_lease_that_was_left_is_taken_over(tmp_path: Path) -> None:
    write_lease(tmp_path, replace(ELSEWHERE, beat=time.time() - 100), number=3)
    (tmp_path / "journal" / "lease-000002.json").write_text("no lease")
    with PartedJournal(LocalStore(tmp_path), QUICK):
        assert leases(tmp_path) == ["lease-000004.json"]
    assert leases(tmp_path) == []


@pytest.mark.parametrize("ahead", [-100.0, 100.0])
def test_a_holder_whose_clock_is_wrong_still_holds(tmp_path: Path, ahead: float) -> None:
    path = write_lease(tmp_path, replace(ELSEWHERE, beat=time.time() + ahead))

    def beat() -> None:
        time.sleep(0.03)
        write_lease(tmp_path, replace(ELSEWHERE, beat=time.time() + ahead))

    thread = Thread(target=beat)
    thread.start()
    with pytest.raises(UsageError, match="scanner-7"):
        Lease(LocalStore(tmp_path / "journal"), replace(QUICK, beat=0.3))
    thread.join()
    assert path.exists()


@pytest.mark.skipif(os.name != "posix", reason="only there can it be asked whether a process runs")
def test_a_process_of_this_machine_that_has_ended_holds_nothing(tmp_path: Path) -> None:
    code = "from dermseg.storage.lease import *; from dermseg.storage.stores import LocalStore;"
    code += f"Lease(LocalStore(Path({str(tmp_path / 'journal')!r})), Rhythm()); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert leases(tmp_path) == ["lease-000001.json"]
    began = time.monotonic()
    with PartedJournal(LocalStore(tmp_path), SLOW):
        assert leases(tmp_path) == ["lease-000002.json"]
    assert time.monotonic() - began < SLOW.expiry


class Slow(LocalStore):
    """A folder that another process takes over and leaves while this one makes its lease."""

    def create(self, name: str, content: bytes) -> bool:
        made = super().create(name, content)
        self.remove(name)
        return made


def test_a_lease_that_another_took_and_gave_up_meanwhile_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another process has just begun here; try again"):
        Lease(Slow(tmp_path / "journal"), QUICK)


def test_who_has_lost_the_lease_writes_no_more(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="another process has taken over"):  # noqa: PT012, SIM117
        with PartedJournal(LocalStore(tmp_path), QUICK) as journal:
            journal.note("a.png", entry(1))
            write_lease(tmp_path, replace(ELSEWHERE, beat=time.time()), number=2)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                time.sleep(0.02)
                journal.note("b.png", entry(2))
    assert leases(tmp_path) == ["lease-000001.json", "lease-000002.json"]


def test_a_part_that_another_wrote_is_not_written_over(tmp_path: Path) -> None:
    """As by a machine that slept, while another took the lease and wrote."""
    with pytest.raises(StoreError, match="another process has written there"):  # noqa: PT012, SIM117
        with PartedJournal(LocalStore(tmp_path), SLOW) as journal:
            (tmp_path / "journal" / "00000001.jsonl").write_bytes(b"another's\n")
            journal.note("a.png", entry(1))
    assert (tmp_path / "journal" / "00000001.jsonl").read_bytes() == b"another's\n"


def test_a_mask_takes_few_bytes_of_memory(tmp_path: Path) -> None:
    row = {f"column {number}": f"value {number}" for number in range(30)}
    count = 1500
    with Journal(tmp_path / "journal.jsonl") as journal:
        for number in range(count):
            journal.note(f"folder/{number}_segmentation.png", replace(entry(number), row=row))
    tracemalloc.start()
    with Journal(tmp_path / "journal.jsonl") as journal:
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert journal.last("folder/77_segmentation.png") == replace(entry(77), row=row)
    assert kept / count < 250
