#!/usr/bin/env python
"""Correct a model's worst masks on the page with a scripted hand, and count its actions.

    scripts/measure_corrections.py DATA [--count 20] [--goal 0.9] [--tremor 1.5]
                                   [--tools redraw,lasso] [--only IMAGE] [--ledger]

DATA holds the official archives; the masks are those of the 150 validation images with the lowest
Jaccard index in results/lite0/validation.json. Each photograph is shown in Chromium, in its true
proportions, 1024 pixels wide or high. The hand corrects its outline until the index is `goal`:

redraw  draws the border again where it is wrong (F, then a line)
lasso   clicks the lesion where the outline is elsewhere; a lasso that adds or erases; the slider
        of the border once, where one lasso will not do

An action is a press to its release, of a key or of the pointer. The path is all that the pointer
moves, from the middle of the photograph on. Beside them stands the polygon of the fewest corners
that reaches the goal from scratch, each corner an action, without a tremor, and without the
presses that choose its tool and close it; and the length of the whole true border, as a free hand
would draw it from scratch.

Writes results/page/corrections.csv. With other options than --ledger it is another measurement, and
is only printed. --ledger adds a line for the corrected masks to the ledger.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from browsing import DESKTOP, EXACT, READY, chromium, serving
from cyclopts import run
from fewest_corners import fewest_corners, perimeter
from hand import Hand, Planner, jaccard
from PIL import Image

from dermseg.experiments.ledger import append
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import MASK_FOREGROUND, MASK_SUFFIX, read_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.metrics import score
from dermseg.storage.tables import write_table
from dermseg.web.app import create_app

RESULTS = Path(__file__).parent.parent / "results"
SIDE = 1024
"""Pixels of the photographs' longer side."""
MOST = 12
"""Lines after which the hand gives a mask up."""
ELSEWHERE = 0.05
"""Jaccard index below which the outline is around something else."""
KEYS = {"redraw": "f", "lasso-add": "l", "lasso-erase": "k"}
COLUMNS = (
    *("image", "jaccard_before", "corners", "corners_path", "border_path"),
    *("tools", "actions", "path", "seconds", "jaccard", "did"),
)
Tools = Literal["redraw", "lasso"]
COUNT, GOAL, TREMOR = 20, 0.9, 1.5
TOOLS: tuple[Tools, ...] = ("redraw", "lasso")


def main(
    data: Path,
    /,
    *,
    count: int = COUNT,
    goal: float = GOAL,
    tremor: float = TREMOR,
    tools: tuple[Tools, ...] = TOOLS,
    only: str = "",
    ledger: bool = False,
) -> None:
    """Correct the masks, write the table, and print it."""
    rows: list[dict[str, object]] = []
    scores: dict[str, list[Any]] = {each: [] for each in tools}
    app = create_app(Segmenter())
    with tempfile.TemporaryDirectory() as folder, serving(app) as address, chromium() as browser:
        for seed, image in enumerate([only] if only else lowest(count)):
            photograph, truth = prepared(data, image, Path(folder))
            for each in tools:
                page = browser.new_page(viewport=DESKTOP)
                page.goto(address)
                page.wait_for_selector(READY, state="attached")
                page.set_input_files("#files", photograph)
                page.wait_for_selector(EXACT)
                hand = Hand(page, tremor, seed)
                before = jaccard(truth, hand.mask(truth.shape))
                began = time.perf_counter()
                correct(hand, truth, each, goal)
                seconds = time.perf_counter() - began
                mask = downloaded(page, Path(folder))
                page.close()
                corners, _ = fewest_corners(truth, goal)
                border = Planner(truth, hand.scale).border
                scores[each].append(score(truth, mask))
                row = [image, round(before, 3), len(corners)]
                row += [round(perimeter(line) * hand.scale) for line in (corners, border)]
                row += [each, hand.actions, round(hand.length), round(seconds, 1)]
                row.append(round(jaccard(truth, mask), 3))
                row.append(" ".join(hand.did))
                print(*row, flush=True)
                rows.append(dict(zip(COLUMNS, row, strict=True)))
    if not only and (count, goal, tremor, tools) == (COUNT, GOAL, TREMOR, TOOLS):
        write_table(RESULTS / "page" / "corrections.csv", COLUMNS, rows)
    if ledger:
        masks = only or f"lowest {count}"
        for each in tools:
            name = f"lite0, {masks} corrected by a scripted hand ({each})"
            append(RESULTS / "ledger.csv", name, "isic2017-validation", scores[each])


def lowest(count: int) -> list[str]:
    """Return the images whose masks are worst, the worst first."""
    images = json.loads((RESULTS / "lite0" / "validation.json").read_text())["images"]
    return sorted(images, key=lambda image: float(images[image]["jaccard"]))[:count]


def prepared(data: Path, image: str, folder: Path) -> tuple[Path, Mask]:
    """Write a photograph in its true proportions, and return its path and its true mask."""
    truth = data / "ISIC-2017_Validation_Part1_GroundTruth" / f"{image}{MASK_SUFFIX}"
    with Image.open(truth) as full:
        shrunk = SIDE / max(full.size)
        size = round(full.width * shrunk), round(full.height * shrunk)
    lesion = Image.fromarray(read_mask(truth)).resize(size, Image.Resampling.BOX)
    path = folder / f"{image}.png"
    with Image.open(data / "ISIC-2017_Validation_Data" / f"{image}.jpg") as thumbnail:
        thumbnail.resize(size, Image.Resampling.BICUBIC).save(path)
    return path, np.asarray(lesion) > MASK_FOREGROUND


def correct(hand: Hand, truth: Mask, tools: Tools, goal: float) -> None:
    """Correct the outline on the page until it is good enough, or the hand gives it up."""
    planner, tool = Planner(truth, hand.scale), "move"
    usable = ("redraw",) if tools == "redraw" else ("lasso-add", "lasso-erase")
    for step in steps(hand, truth, goal):
        mask = hand.mask(truth.shape)
        if tools == "lasso" and step == 0 and jaccard(truth, mask) < ELSEWHERE:
            before = hand.seen()
            row, column = np.argwhere(truth).mean(0)
            hand.click((float(column), float(row)))
            hand.page.wait_for_timeout(1000)
            if hand.seen() != before:
                hand.page.wait_for_selector(EXACT)
            continue
        plan = planner.best(mask, usable)
        if plan.jaccard < goal and tools == "lasso" and "low" not in hand.did and tool == "move":
            hand.slide("low", truth)
            continue
        if plan.tool != tool:
            tool = plan.tool
            hand.key(KEYS[tool])
            hand.page.wait_for_timeout(300)
        hand.draw(plan.line)


def steps(hand: Hand, truth: Mask, goal: float) -> Iterator[int]:
    """Count steps while the outline is not good enough."""
    for step in range(MOST):
        if jaccard(truth, hand.mask(truth.shape)) >= goal:
            return
        yield step


def downloaded(page: Any, folder: Path) -> Mask:
    """Return the mask that the page gives to its user."""
    with page.expect_download() as coming:
        page.click("[data-form='image/png']")
    path = folder / "mask.png"
    coming.value.save_as(path)
    mask: Mask = read_mask(path) > MASK_FOREGROUND
    return mask


if __name__ == "__main__":
    run(main)
