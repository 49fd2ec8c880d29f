#!/usr/bin/env python
"""Kill a node of a Ray cluster at random while it works, and measure what a cluster costs.

    scripts/kill_nodes.py FULL THUMBNAILS --count 3000 --moments 10 --json results/cluster.json
    scripts/kill_nodes.py FULL THUMBNAILS --count 3000 --overhead --json results/cluster.json

FULL and THUMBNAILS are folders of photographs: `--count` links to them are segmented, from each
folder in turn. Without --overhead a cluster of two nodes of one core each does that, and one of
them is killed by a signal while it holds chunks. Its masks and report must be, to the byte, those
of one process; prints how many rows were lost and doubled. With --overhead one process is compared
with `--cluster local`: processor time of all processes together, and how much of the difference is
there for FEW photographs already: Ray's start. Needs the extra `cluster`.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from dermseg.cluster import ENVIRONMENT, STORE

PHOTOGRAPHS = {".jpg", ".jpeg", ".png"}
MARK = "DERMSEG_MEASURED"
"""Set for a command that is measured; what it starts inherits it."""
TICKS = os.sysconf("SC_CLK_TCK")
FEW = 4
BOOKS = ("timings.csv", "journal.jsonl")
"""Files that no two runs write alike."""


def link_all(folders: Sequence[Path], count: int, target: Path) -> None:
    """Fill `target` with links, from each folder in turn, over and over."""
    found = [sorted(p for p in f.iterdir() if p.suffix.lower() in PHOTOGRAPHS) for f in folders]
    target.mkdir()
    for number in range(count):
        files = found[number % len(found)]
        path = files[number // len(found) % len(files)].resolve()
        (target / f"{number:06}{path.suffix}").symlink_to(path)


def segment(photographs: Path | str, output: Path | str, *options: str) -> list[str]:
    """Return the command that segments a folder."""
    command = [sys.executable, "-m", "dermseg", "segment", str(photographs), "-o", str(output)]
    return [*command, "--quiet", *options]


@contextmanager
def two_nodes(cores: int = 1) -> Iterator[tuple[str, list[Any]]]:
    """Yield the address of a cluster on this machine, and its two nodes, each of some cores."""
    os.environ.update(ENVIRONMENT)
    cluster_utils = import_module("ray.cluster_utils")
    small = {"object_store_memory": STORE, "include_dashboard": False}
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={**small, "num_cpus": 0}, shutdown_at_exit=False
    )
    try:
        nodes = [
            cluster.add_node(num_cpus=cores, object_store_memory=STORE, wait=False)
            for _ in range(2)
        ]
        cluster.wait_for_nodes()
        yield str(cluster.address), nodes
    finally:
        cluster.shutdown()


def kill_node(node: Any) -> None:
    """Kill a node's processes by a signal: its daemon, and the workers that this started."""
    for daemon in node.all_processes["raylet"]:
        workers = children_of(daemon.process.pid)
        for process in (daemon.process.pid, *workers):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def children_of(parent: int) -> list[int]:
    """Return the processes that one has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return found


def compare(output: Path, calm: Path, count: int) -> dict[str, int | bool]:
    """Return how many rows were lost and doubled, and whether all files are as in a calm run."""
    with (output / "report.csv").open(newline="", encoding="utf-8") as text:
        rows = [row["photograph"] for row in csv.DictReader(text) if not row["error"]]
    doubled = sum(number - 1 for number in Counter(rows).values())
    lost = count - len(set(rows))
    return {"lost": lost, "doubled": doubled, "equal": contents(output) == contents(calm)}


def contents(folder: Path) -> dict[str, bytes]:
    """Return what a run left, but for what no two runs write alike."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name not in BOOKS)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def kill_once(photographs: Path, output: Path, calm: Path, part: float) -> dict[str, Any]:
    """Kill a node when about `part` of the masks are there; return what became of the run."""
    count = sum(1 for _ in photographs.iterdir())
    with two_nodes() as (address, nodes):
        began = time.monotonic()
        run = subprocess.Popen(segment(photographs, output, "--cluster", address))
        while run.poll() is None and sum(1 for _ in output.glob("*.png")) <= part * count:
            time.sleep(0.2)
        killed = run.poll() is None
        masks = sum(1 for _ in output.glob("*.png"))
        kill_node(nodes[0])
        status = run.wait()
        seconds = round(time.monotonic() - began, 1)
    facts = {"masks_when_killed": masks, "killed": killed, "status": status, "seconds": seconds}
    return {**facts, **compare(output, calm, count)}


def measured(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; return its processor's and its clock's seconds, with all that it started."""
    mark, spent, ended = str(uuid4()), {}, Event()

    def watch() -> None:
        sought = f"{MARK}={mark}".encode()
        while not ended.wait(0.1):
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if folder.name in spent or sought in (folder / "environ").read_bytes():
                        fields = (folder / "stat").read_text().rpartition(")")[2].split()
                        spent[folder.name] = (int(fields[11]) + int(fields[12])) / TICKS

    watcher = Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    try:
        subprocess.run(command, env={**os.environ, MARK: mark}, check=True)
    finally:
        ended.set()
        watcher.join()
    return round(sum(spent.values()), 1), round(time.monotonic() - began, 1)


def overhead(photographs: Path, work: Path) -> dict[str, Any]:
    """Return what one process and a cluster of this machine take, and whether they agree."""
    alone = measured(segment(photographs, work / "alone"))
    there = measured(segment(photographs, work / "there", "--cluster", "local"))
    few = work / "few"
    few.mkdir()
    for path in sorted(photographs.iterdir())[:FEW]:
        (few / path.name).symlink_to(path.resolve())
    start, _ = measured(segment(few, work / "start", "--cluster", "local"))
    base, _ = measured(segment(few, work / "base"))
    count = sum(1 for _ in photographs.iterdir())
    return {
        "photographs": count,
        "start_cpu_seconds": round(start - base, 1),
        "cpu_seconds": {"one process": alone[0], "--cluster local": there[0]},
        "seconds": {"one process": alone[1], "--cluster local": there[1]},
        "overhead": round(there[0] / alone[0] - 1, 4),
        **compare(work / "there", work / "alone", count),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dermseg-") as name:
        work = Path(name)
        link_all(given.folders, given.count, work / "in")
        if given.overhead:
            found: dict[str, Any] = {"overhead": overhead(work / "in", work)}
        else:
            subprocess.run(segment(work / "in", work / "calm"), check=True)
            chance, runs = random.Random(given.seed), []
            for number in range(given.moments):
                output = work / f"killed-{number}"
                runs.append(kill_once(work / "in", output, work / "calm", chance.uniform(0, 0.9)))
                print(json.dumps(runs[-1]), flush=True)
            found = {"photographs": given.count, "kills": runs}
    print(json.dumps(found, indent=1))
    if given.json:
        known = json.loads(given.json.read_text()) if given.json.exists() else {}
        given.json.write_text(json.dumps({**known, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
