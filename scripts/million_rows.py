#!/usr/bin/env python
"""Run the driver of a folder over a million photographs that are not there, and run it again.

scripts/million_rows.py [--rows 1000000] [--json FILE]

The photographs, the network and the masks are made up: a stub takes the worker's place. The list of
jobs, the threads, the journal and the report are real. Prints, of the first run and of one that
finds everything done, the seconds, those of the processor, the largest memory of a process of its
own, and what the files take.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from dermseg import progress
from dermseg.batch import run
from dermseg.batch.jobs import Job
from dermseg.batch.report import COLUMNS, complete_row
from dermseg.batch.worker import Begin, Outcome, Result, Worker
from dermseg.inference.segmenter import Segmenter
from dermseg.machine import describe_machine
from dermseg.settings import BatchSettings
from dermseg.storage.journal import Entry, Row

FOLDER = 1000
"""Photographs in a folder."""


class Stub(Worker):
    """A worker that reads, segments and writes nothing."""

    def do(self, job: Job, noted: Entry | None, begin: Begin = lambda _, __: None) -> Outcome:
        """Return a row as long as a real one, or what was noted."""
        if noted is not None:
            return Outcome(Result(job, complete_row(noted.row), reused=True))
        number, mask = int(job.name.stem.rpartition("_")[2]), job.mask.as_posix()
        begin(mask, Entry(None, {}, {}, (number,)))
        entry = Entry(f"{number:032x}", self._row(job, number), {mask: number}, (number,))
        return Outcome(Result(job, entry.row, milliseconds=51.1), entry)

    def _row(self, job: Job, number: int) -> Row:
        measures = {"height": 4000, "width": 6000, "orientation": 1, "area": 3_000_000 + number}
        boxes = {"box_x": 1200, "box_y": 900, "box_width": 2100, "box_height": 1900}
        lengths = {"centroid_x": 2213.77, "centroid_y": 1804.21, "perimeter": 7012.4}
        sure = {"predicted_jaccard": 0.872, "jaccard_low": 0.701, "jaccard_high": 0.943}
        names = {"photograph": job.name.as_posix(), "mask": job.mask.as_posix()}
        told = {"diameter": 2411.9, "confidence_score": 0.9123, **self.made_by}
        return {
            **dict.fromkeys(COLUMNS, ""),
            **names,
            **measures,
            **boxes,
            **lengths,
            **sure,
            **told,
        }


def segment(rows: int, output: Path) -> None:
    """Do one run, and print its facts as JSON."""
    progress.drawn = False
    began = time.perf_counter()
    names = (Path(f"{n // FOLDER:04}/ISIC_{n:07}.jpg") for n in range(rows))
    jobs = [Job("archive" / name, name) for name in names]
    segmenter = Segmenter()
    listed = _memory()
    with patch.object(run, "Worker", Stub):
        reused = sum(
            result.reused for result in run.segment_each(jobs, segmenter, output, BatchSettings())
        )
    facts = {
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(time.process_time(), 1),
        "reused": reused,
        "MB_of_jobs_and_model": listed,
        "MB": _memory(),
        "MB_on_disk": {p.name: round(p.stat().st_size / 1e6, 1) for p in sorted(output.iterdir())},
    }
    print(json.dumps(facts))


def _memory() -> float:
    """Return the largest memory of this process so far, in MB; Linux tells it in kB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)


def main() -> None:
    """Do both runs, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.output is not None:
        segment(options.rows, options.output)
        return
    found: dict[str, object] = {"rows": options.rows, "machine": describe_machine()}
    found["load_before"] = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--rows", str(options.rows), "--output"]
        for name in ("first", "again"):
            done = subprocess.run(
                [*command, f"{folder}/masks"], stdout=subprocess.PIPE, text=True, check=True
            )
            found[name] = json.loads(done.stdout)
            print(f"{name}: {done.stdout.strip()}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
