#!/usr/bin/env python
"""Kill dermseg, and fill the disk under it, at random: nothing half written, nothing lost.

    scripts/worst_days.py [--kills 100] [--full-disks 50]

Half of the kills strike `dermseg segment --overlay --review`, which is then gone on with; the
others `dermseg serve --review` while decisions are made. Full disks are small temporary file
systems in a mount namespace of their own (Linux, `unshare`), which are then made larger. Prints how
many files were damaged, how many ends were not those of a calm run, and how many decisions were
lost: all should be 0. Trainings: DERMSEG_KILLS=100 python -m pytest tests/batch/test_killed.py
"""

import argparse
import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hostile import encoded, picture, write_all

from dermseg.imaging.photographs import is_whole_image

PHOTOGRAPHS = 12
BOOKS = ("timings.csv", "journal.jsonl")
"""Files that no two runs write alike."""
TABLES = {"report.csv", "review.csv", "decisions.csv"}
DISK = (20, 1200)
"""Kilobytes of a disk that is too small, or just large enough."""
INSIDE = "--inside"
"""Runs this script again in the namespace, where the small disk is seen."""


def start(*arguments: object, listen: bool = False) -> subprocess.Popen[str]:
    """Start dermseg; with `listen` what it says can be read."""
    command = [sys.executable, "-m", "dermseg", *map(str, arguments)]
    said = subprocess.PIPE if listen else subprocess.DEVNULL
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, text=True)


def segment(folder: Path, output: Path) -> list[object]:
    """Return the arguments that segment `folder`, with all that a run can leave."""
    return ["segment", folder, "-o", output, "--overlay", output / "pictures", "--review", 3]


def contents(folder: Path) -> dict[str, bytes]:
    """Return what a run left, but for what no two runs write alike."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.name not in BOOKS and not path.name.startswith(".")
    }


def damaged(folder: Path) -> int:
    """Return how many pictures and tables in a folder are not whole."""
    found = 0
    for path in folder.rglob("*"):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix in (".png", ".jpg"):
            found += not is_whole_image(path)
        elif path.name in TABLES:
            with path.open(newline="", encoding="utf-8") as text:
                rows = list(csv.reader(text))
            found += not rows or any(len(row) != len(rows[0]) for row in rows)
    return found


def kill_segment(folder: Path, chance: random.Random, kills: int, work: Path) -> Counter[str]:
    """Kill runs, each folder's up to four times before it is gone on with."""
    began = time.perf_counter()
    start(*segment(folder, work / "calm")).wait()
    last, calm, counts = time.perf_counter() - began, contents(work / "calm"), Counter[str]()
    for number in range(kills):
        output = work / f"killed-{number // 4}"
        process = start(*segment(folder, output))
        time.sleep(chance.uniform(0.2, last))
        process.kill()
        process.wait()
        counts["damaged files"] += damaged(output)
        if number % 4 == 3 or number == kills - 1:
            counts["failures afterwards"] += start(*segment(folder, output)).wait() != 0
            counts["other ends"] += contents(output) != calm
    return counts


def kill_review(folder: Path, chance: random.Random, kills: int, masks: Path) -> Counter[str]:
    """Kill the service while decisions are made, and look for those that it said it had kept."""
    counts, kept = Counter[str](), dict[str, str]()
    start(*segment(folder, masks)).wait()
    for _ in range(kills):
        process = start("serve", "--review", masks, folder, "--port", 0, listen=True)
        assert process.stderr is not None
        address = next(
            word for line in process.stderr for word in line.split() if "http://" in word
        )
        end = time.perf_counter() + chance.uniform(0.1, 1)
        with suppress(OSError, HTTPException):
            names = ask(address, "GET", "/v1/review")["items"]
            while time.perf_counter() < end:
                entry, decision = chance.choice(names), chance.choice(["accepted", "rejected", ""])
                kept.pop(entry["name"], None)  # being changed: either is right
                said = ask(address, "PUT", f"/v1/review/{entry['number']}", {"decision": decision})
                kept[said["name"]] = said["decision"]
                counts["decisions"] += 1
        process.kill()
        process.wait()
        process.stderr.close()
        counts["damaged files"] += damaged(masks)
        with (masks / "decisions.csv").open(newline="", encoding="utf-8") as text:
            now = {row["photograph"]: row["decision"] for row in csv.DictReader(text)}
        counts["lost decisions"] += sum(now.get(name) != said for name, said in kept.items())
    return counts


def ask(address: str, method: str, path: str, body: object = None) -> Any:
    """Send a request and return the JSON of the response."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=20)
    headers = {"Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return found


def fill_disks(folder: Path, chance: random.Random, disks: int, work: Path) -> Counter[str]:
    """Run on disks of random sizes, in a namespace where they are seen alone."""
    start(*segment(folder, work / "calm")).wait()
    counts = Counter[str]()
    for _ in range(disks):
        size = chance.randint(*DISK)
        command = [sys.executable, __file__, INSIDE, str(folder), str(work), str(size)]
        done = subprocess.run(["unshare", "-rm", *command], stdout=subprocess.PIPE, check=True)
        counts.update(json.loads(done.stdout))
    return counts


def on_small_disk(folder: Path, work: Path, kilobytes: int) -> None:
    """Run twice, on a disk of some kilobytes and on the same made larger; print the counts."""
    disk = work / "disk"
    disk.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o"]
    subprocess.run([*mount, f"size={kilobytes}k", "tmpfs", disk], check=True)
    counts = {"full disks": int(start(*segment(folder, disk / "out")).wait() != 0)}
    counts["damaged files"] = damaged(disk / "out")
    subprocess.run(["mount", "-o", "remount,size=99m", disk], check=True)
    counts["failures afterwards"] = int(start(*segment(folder, disk / "out")).wait() != 0)
    counts["other ends"] = int(contents(disk / "out") != contents(work / "calm"))
    print(json.dumps(counts))


def main() -> int:
    """Kill and fill, print what was lost, and return 1 if anything was."""
    if INSIDE in sys.argv:
        on_small_disk(Path(sys.argv[-3]), Path(sys.argv[-2]), int(sys.argv[-1]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--full-disks", type=int, default=50)
    options, chance = parser.parse_args(), random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        photographs = {
            f"{n}.jpg": encoded(picture(600 + 8 * n, 800), "JPEG") for n in range(PHOTOGRAPHS)
        }
        write_all(photographs, work / "in")
        half = options.kills // 2
        counts = {
            "kills of segment": kill_segment(work / "in", chance, options.kills - half, work / "a"),
            "kills of a review": kill_review(work / "in", chance, half, work / "b"),
        }
        if shutil.which("unshare"):
            (work / "c").mkdir()
            counts["disks"] = fill_disks(work / "in", chance, options.full_disks, work / "c")
    for kind, found in counts.items():
        print(f"{kind}: {', '.join(f'{number} {what}' for what, number in found.items())}")
    harmless = {"decisions", "full disks"}
    return int(any(sum(v for k, v in c.items() if k not in harmless) for c in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
