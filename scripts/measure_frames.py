#!/usr/bin/env python
"""Time the page while a mask is painted, and weigh it while it holds many photographs.

    scripts/measure_frames.py [--megapixels 12,54] [--strokes 5] [--photographs 300]

For each size an example, scaled up, is painted in Chromium with a brush: so many strokes of 60
moves each, with 0.3 seconds between them, on the whole photograph and on a part of it, eight times
enlarged. Said are, in milliseconds, the median and the 95th percentile of

frame  the time between two frames of the screen while the pointer moves
paint  from a press or a move of the pointer to the frame after the one that shows its paint
exact  from the last stroke's end to the server's outline of what was painted

Then so many photographs of 3 megapixels are put on the page, and the megabytes of the page and of
the server are taken before and after: the resident memory of Chromium's process for the page, and
of the server's. Times need a machine that does nothing else. Writes results/page/frames.json.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from browsing import ALL_KNOWN, DESKTOP, EXACT, READY, chromium
from cyclopts import run
from fuzz_service import address_of
from load_service import memory
from PIL import Image

from dermseg.machine import describe_machine
from dermseg.storage.files import write_json

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "photographs" / "ISIC_0003582.jpg"
MANY = (2048, 1536)
MOVES = 60
ENLARGED = 8
PAUSE = 300
WAIT = 300_000
RECORDER = """() => {
  window.timed = { frame: [], paint: [], exact: [] };
  const stage = document.getElementById("stage");
  let before = 0;
  let ended = 0;
  const frame = (now) => {
    if (before) window.timed.frame.push(now - before);
    before = window.moving ? now : 0;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  for (const kind of ["pointerdown", "pointermove"]) stage.addEventListener(kind, (event) => {
    if (event.buttons) requestAnimationFrame(() => requestAnimationFrame(() => {
      window.timed.paint.push(performance.now() - event.timeStamp);
    }));
  });
  stage.addEventListener("pointerup", (event) => {
    ended = event.timeStamp;
    window.timed.exact = []; // the question about an earlier stroke is given up
  });
  new MutationObserver(() => {
    window.timed.exact = [performance.now() - ended];
  }).observe(stage.querySelector("path.outline"), { attributeFilter: ["d"] });
}"""


def main(
    *, megapixels: tuple[int, ...] = (12, 54), strokes: int = 5, photographs: int = 300
) -> None:
    """Time, weigh, write the file, and print it."""
    result: dict[str, Any] = {"machine": describe_machine(), "strokes": strokes, "painting": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        served() as (address, process),
        chromium() as browser,
    ):
        for size in megapixels:
            photograph = enlarged(Path(folder), size)
            for zoom in (1, ENLARGED):
                page = browser.new_page(viewport=DESKTOP)
                timed = paint(page, address, photograph, strokes, zoom)
                result["painting"].append({"megapixels": size, "zoom": zoom, **timed})
                page.close()
        result["memory"] = weigh(browser, address, Path(folder), photographs, process)
    write_json(ROOT / "results" / "page" / "frames.json", result)
    print(*result["painting"], result["memory"], sep="\n")


@contextmanager
def served() -> Iterator[tuple[str, int]]:
    """Run the service in a process of its own, and yield its address and the process's number."""
    command = [sys.executable, "-m", "dermseg", "serve", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield address_of(server), server.pid
    finally:
        server.terminate()
        server.wait()


def enlarged(folder: Path, megapixels: int) -> Path:
    """Write the example scaled to so many megapixels, and return its path."""
    path = folder / f"{megapixels}.jpg"
    with Image.open(EXAMPLE) as example:
        factor = (megapixels * 1e6 / example.width / example.height) ** 0.5
        size = round(example.width * factor), round(example.height * factor)
        example.resize(size, Image.Resampling.BICUBIC).save(path, quality=80)
    return path


def paint(
    page: Any, address: str, photograph: Path, strokes: int, zoom: int
) -> dict[str, list[float]]:
    """Paint so many strokes over a photograph, and return the percentiles of each time."""
    page.set_default_timeout(WAIT)
    opened(page, address)
    page.set_input_files("#files", photograph)
    page.wait_for_selector(EXACT)
    box = page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    for _ in range(round(np.log(zoom) / np.log(1.25))):  # a step is a quarter more
        page.mouse.wheel(0, -100)
    page.keyboard.press("b")
    page.wait_for_selector("canvas.paint:not([hidden])", state="attached")
    page.evaluate(RECORDER)
    for stroke in range(strokes):
        turn = 2 * np.pi * stroke / strokes
        reach = 0.45 * box["height"]
        page.mouse.move(x, y)
        page.mouse.down()
        page.evaluate("window.moving = true")
        page.mouse.move(x + reach * np.cos(turn), y + reach * np.sin(turn), steps=MOVES)
        page.evaluate("window.moving = false")
        page.mouse.up()
        page.wait_for_timeout(PAUSE)
    page.wait_for_function("() => timed.exact.length")
    return {
        name: [round(float(value), 1) for value in np.percentile(times, [50, 95])]
        for name, times in page.evaluate("timed").items()
    }


def opened(page: Any, address: str) -> None:
    """Open the page, and wait until it is ready."""
    page.goto(address)
    page.wait_for_selector(READY, state="attached")


def weigh(
    browser: Any, address: str, folder: Path, count: int, process: int
) -> dict[str, int | dict[str, int]]:
    """Put so many photographs on the page; return the megabytes of page and server."""
    page = browser.new_page(viewport=DESKTOP)
    page.set_default_timeout(WAIT)
    opened(page, address)
    with Image.open(EXAMPLE) as example:
        large = example.resize(MANY, Image.Resampling.BICUBIC)
    paths = [folder / f"many-{number}.jpg" for number in range(count)]
    for path in paths:
        large.save(path, quality=90)
    before = {"page": page_memory(browser), "server": round(memory(process))}
    page.set_input_files("#files", paths)
    page.wait_for_function(ALL_KNOWN, arg=count)
    after = {"page": page_memory(browser), "server": round(memory(process))}
    page.close()
    return {"photographs": count, "megabytes_before": before, "megabytes_after": after}


def page_memory(browser: Any) -> int:
    """Return the megabytes of Chromium's largest process that shows a page."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return round(max(memory(one["id"]) for one in processes if one["type"] == "renderer"))


if __name__ == "__main__":
    run(main)
