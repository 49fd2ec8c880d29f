#!/usr/bin/env python
"""Write the tables of the README and of docs/, and the model cards, from the files in results/.

    scripts/tables.py [--check]

A table stands between `<!-- NAME -->` and `<!-- end -->`. With --check nothing is written, and the
exit status is 1 if a page is not what the results say.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from model_cards import (
    FEWEST,
    MEASURES,
    MODELS,
    RESULTS,
    ROOT,
    SETS,
    TIGHT,
    WEIGHTS,
    Way,
    computing,
    group_jaccard,
    held_out_confidence,
    interval,
    metrics,
    out_of_fold,
    table,
    ways,
    with_interval,
    write_card,
)

from dermseg.export.calibration import FAILURE
from dermseg.masks.metrics import bootstrap_interval
from dermseg.masks.style import STYLE_IDS
from dermseg.settings import DEFAULT_STYLE
from dermseg.storage.tables import read_table

BENCHMARKS = RESULTS / "benchmarks"
PAGES = (
    "README.md",
    "docs/decisions/thresholds.md",
    "docs/install.md",
    "docs/guide/archives.md",
    "docs/guide/dicom.md",
    "docs/guide/formats.md",
    "docs/models/index.md",
    "docs/science/confidence.md",
    "docs/science/corrections.md",
    "docs/science/ledger.md",
    "docs/science/scores.md",
    "docs/science/styles.md",
    "docs/science/trials.md",
    "docs/speed.md",
)
VALIDATION = next(iter(SETS))
PAPER = (0.953, 0.865, 0.783, 0.879, 0.979)
"""Table II of the paper, on the same 150 images."""
PAPER_COMPUTING = "6 x 600 epochs, 192 x 256, 60 h on a GPU"
"""Section III-B: an epoch took about 60 seconds."""
SECOND_ROUND = "3790028"
"""The commit in the ledger of lite0's scorings before its third round."""
CHIPS = {"AMD EPYC": "epyc", "Intel": "xeon"}
"""Processors of the timings, and what the names of their files say."""
WITHOUT_VNNI = "epyc-avx2"
"""What the names of the timings of a processor without VNNI say."""
TIMES_THE_PLAIN_LOOP = {"cdnn29": 1.15, "lite0": 1.5}
"""How fast a network's training is to be on a processor."""
DATA_PATH = 3
"""The part of a step, in percent, that bringing the images is to stay below."""


WAYS = [way for model in MODELS for way in ways(model)]
TIMED = [way for way in WAYS if way.option in ("", "--mirror")]
"""Another style or threshold takes the same time."""


def models() -> list[str]:
    """Return the README's table: how good, how fast and how large."""
    body = []
    for way in TIMED:
        row = _on_validation(way)
        body.append(
            [
                way.name,
                f"{float(row['jaccard']):.3f} ({interval(row)})",
                f"{_timing(way, CHIPS['AMD EPYC'])['folders'][0]['one']:.0f}",
                f"{(WEIGHTS / f'{way.model}.onnx').stat().st_size / 1e6:.1f}",
            ]
        )
    body.append(["*the paper*", f"{PAPER[2]:.3f}", "", ""])
    return table(["model", "Jaccard index (95 %)", "ms a photograph", "MB"], body)


def _on_validation(way: Way, images: str = VALIDATION) -> dict[str, str]:
    row = way.scored(images)
    assert row is not None, f"{way.name} has no line in the ledger"
    return row


def scores() -> list[str]:
    """Return the scores on the validation images, the paper's first, with the computing."""
    body = [["the paper", PAPER_COMPUTING, "150", *(f"{value:.3f}" for value in PAPER)]]
    for images in list(SETS)[:2]:
        for way in WAYS:
            row = _on_validation(way, images)
            body.append([way.name, computing(way.model), row["images"], *metrics(row)])
    return table(["model", "computing", "images", "AC", "DI", "JA", "SE", "SP"], body)


def folds() -> list[str]:
    """Return the scores of the training images, each by the member that had not seen it."""
    body = [
        [model, row["images"], *metrics(row)] for model in MODELS if (row := out_of_fold(model))
    ]
    return table(["members of", "images", "AC", "DI", "JA", "SE", "SP"], body)


def groups() -> list[str]:
    """Return each shipped model's Jaccard index by group: diagnosis, age, sex, and style."""
    known = {way.name: way.result("validation{}")["groups"] for way in WAYS}
    parts = {
        name: {(kind, value): part for kind, each in kinds.items() for value, part in each.items()}
        for name, kinds in known.items()
    }
    counts = {group: p["count"] for each in parts.values() for group, p in each.items()}
    body = [
        [
            f"{kind}: {value.replace('_', ' ')}",
            str(count),
            *(group_jaccard(p[kind, value]) if (kind, value) in p else "" for p in parts.values()),
        ]
        for (kind, value), count in counts.items()
        if count >= FEWEST
    ]
    return table(["group", "images", *known], body)


def thresholds() -> list[str]:
    """Return the comparison of the dual thresholds' rules, out of fold."""
    body = []
    for row in read_table(RESULTS / "cdnn29-ensemble" / "thresholds.csv"):
        gain = [f"{float(row[f'jaccard_gain_95_{end}']):+.4f}" for end in ("low", "high")]
        cells = [row["row"], row["images"], f"{float(row['jaccard']):.4f} ({interval(row)})"]
        body.append([*cells, f"{float(row['jaccard_gain']):+.4f} ({' to '.join(gain)})"])
    return table(["rule, high/low", "images", "JA (95 %)", "gain (95 %)"], body)


def confidence() -> list[str]:
    """Return how well each model's masks are judged, and their borders bounded."""
    measured = {
        f"{model}, {how}": each
        for model in MODELS
        for how, each in held_out_confidence(model).items()
    }
    for way in WAYS:
        measured[f"{way.name}, validation"] = way.result("validation{}-confidence")
    rated = {name: each for name, each in measured.items() if each is not None}
    body = [
        [who, str(each["quality"]["images"])]
        + [with_interval(each, name, form) for name, (_, form) in MEASURES.items()]
        for who, each in rated.items()
    ]
    return table(["masks of", "images", *(text for text, _ in MEASURES.values())], body)


def sources() -> list[str]:
    """Return what networks do on sources that they had not seen, by source and style of mask."""
    body = []
    for style in STYLE_IDS:
        rows = read_table(RESULTS / "lite0" / style / "confidence.csv")
        folds = sorted({row["fold"] for row in rows})
        for name, parts in [*((str(n), [fold]) for n, fold in enumerate(folds, 1)), ("all", folds)]:
            own = [row for row in rows if row["fold"] in parts]
            kept = [row for row in own if row["flagged"] == "False"]
            means = [sum(float(row[k]) for row in own) / len(own) for k in ("jaccard", "predicted")]
            shares = [_failed(own), _percent(len(kept) / len(own)), _failed(kept)]
            body.append([name, style, str(len(own)), *(f"{m:.3f}" for m in means), *shares])
    head = ["sources", "true masks", "images", "JA", "predicted", "below 0.65", "unflagged"]
    return table([*head, "of these below 0.65"], body)


def _failed(rows: list[dict[str, str]]) -> str:
    return _percent(sum(float(row["jaccard"]) < FAILURE for row in rows) / len(rows))


def full_resolution() -> list[str]:
    """Return lite0 on photographs at full resolution against their thumbnails, then and now."""
    earlier = [row for row in read_table(RESULTS / "ledger.csv") if row["commit"] == SECOND_ROUND]
    before = {row["set"]: row for row in earlier if row["model"] == "lite0"}
    full, thumbnails = list(SETS)[2:]
    rounds = {"lite0 before the third round": before}
    for way in (Way("lite0"), Way("lite0", TIGHT)):
        rounds[way.name] = {name: _on_validation(way, name) for name in (full, thumbnails)}
    body = []
    for name, rows in rounds.items():
        large, small = (float(rows[name]["jaccard"]) for name in (full, thumbnails))
        body.append([name, rows[full]["images"], *(f"{each:.3f}" for each in (large, small))])
        body[-1].append(f"{large - small:+.3f}")
    return table(["model", "images", "JA at full resolution", "thumbnails", "difference"], body)


def appearance() -> list[str]:
    """Return how often pictures are called unlike the training photographs."""
    body = [
        [row["pictures"], row["images"], _percent(float(row["share"])), _shares(row)]
        for row in read_table(RESULTS / "lite0" / "appearance.csv")
    ]
    return table(["pictures", "images", "flagged", "95 %"], body)


def _shares(row: dict[str, str]) -> str:
    return " to ".join(_percent(float(row[end])) for end in ("low", "high"))


def confidence_groups() -> list[str]:
    """Return the same by group: the default style, by networks that had not seen the source."""
    judged = Way("lite0").result(f"{DEFAULT_STYLE}/confidence")
    body = [
        _judged_group(kind, value, part)
        for kind, parts in judged["groups"].items()
        for value, part in parts.items()
    ]
    head = ["group", "images", "JA", "below 0.65", "flagged", "of the unflagged below 0.65"]
    return table([*head, "ROC area", "90 % intervals hold", "border in the band"], body)


def _judged_group(kind: str, value: str, part: dict[str, Any]) -> list[str]:
    area = "" if part["roc_area"] is None else f"{part['roc_area']:.3f}"
    shares = [part["failed"], 1 - part["unflagged"], part["failed_unflagged"]]
    return [
        f"{kind}: {value.replace('_', ' ')}",
        str(part["images"]),
        f"{part['jaccard']:.3f}",
        *(_percent(share) for share in shares),
        area,
        _percent(part["covered"]),
        _percent(part["within"]),
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def trials() -> list[str]:
    """Return every trial, one row each."""
    body = []
    for row in read_table(RESULTS / "trials.csv"):
        bounds = f" ({float(row['low']):+.4f} to {float(row['high']):+.4f})" if row["low"] else ""
        difference = f"{float(row['difference']):+.4f}{bounds}" if row["difference"] else ""
        cells = [row["trial"], row["question"], difference, row["verdict"], row["against"]]
        body.append([*cells, row["fold"], row["epochs"], row["images"], row["how"], row["commit"]])
    head = ["trial", "what was tried", "difference in JA (95 %)", "verdict", "against"]
    return table([*head, "fold", "epochs", "images", "how", "commit"], body)


def styles() -> list[str]:
    """Return what telling the style of an outline gains, in all and by style."""
    body = []
    for row in read_table(RESULTS / "trials.csv"):
        if row["trial"].startswith("styles"):
            gain = float(row["difference"])
            bounds = f"{float(row['low']):+.4f} to {float(row['high']):+.4f}"
            told, before = float(row["jaccard"]), float(row["jaccard"]) - gain
            named = [row["trial"], row["against"], row["images"]]
            body.append([*named, f"{before:.3f}", f"{told:.3f}", f"{gain:+.4f} ({bounds})"])
    return table(["trial", "against", "images", "JA before", "JA", "gain (95 %)"], body)


def ledger() -> list[str]:
    """Return every scoring of the validation images."""
    body = [
        [row["date"], row["commit"], row["model"], row["set"], row["images"], *metrics(row)]
        for row in read_table(RESULTS / "ledger.csv")
    ]
    head = ["date", "commit", "model", "set", "images", "AC", "DI", "JA (95 %)", "SE", "SP"]
    return table(head, body)


def speed() -> list[str]:
    """Return how fast each shipped model segments photographs of each size, stage by stage."""
    body = []
    for name, chip, timed in _timings():
        for folder in timed["folders"]:
            ratios = timed["ratios"][folder["name"]]
            stages = ("decode", "network", "postprocess", "encode")
            cells = [f"{name}, {chip}", folder["name"]]
            cells += [f"{folder['one']:.1f} ({folder['one_95']:.1f})"]
            cells += [f"{folder['stages'][stage]:.1f}" for stage in stages]
            cells += [f"{folder['rate']:.1f}", f"{ratios['limit']:.2f}", f"{ratios['plain']:.1f}"]
            body.append([*cells, f"{folder['peak_megabytes']:.0f}"])
    head = ["model", "photographs", "one, ms", "decode", "network", "mask", "encode"]
    head += ["folder, a second", "share of the limit", "times the plain loop", "MB"]
    return table(head, body)


def start() -> list[str]:
    """Return how long the first mask takes in a new process."""
    body = [
        [f"{name}, {chip}", f"{timed['start']:.2f}", f"{timed['torch_start']:.2f}"]
        for name, chip, timed in _timings()
    ]
    return table(["model", "one photograph from start to exit, s", "importing torch, s"], body)


def without_vnni() -> list[str]:
    """Return what a photograph of some megapixels takes on a processor without VNNI."""
    body = []
    for way in TIMED:
        timed = _timing(way, WITHOUT_VNNI)
        folder = timed["folders"][1]
        size, ratios = folder["name"], timed["ratios"][folder["name"]]
        numbers = (folder["one"], folder["stages"]["network"], folder["rate"], ratios["plain"])
        body.append([way.name, size, *(f"{number:.1f}" for number in numbers)])
    head = ["model", "photographs", "one, ms", "network", "folder, a second"]
    return table([*head, "times the plain loop"], body)


def training() -> list[str]:
    """Return how long an epoch takes, beside a plain loop and the arithmetic alone."""
    body = []
    for path in sorted(BENCHMARKS.glob("train-*.json")):
        timed = json.loads(path.read_text(encoding="utf-8"))
        ours, plain = timed["dermseg"], timed["plain"]
        body.append(
            [
                timed["device"].partition(",")[0],
                timed["network"],
                timed["precision"],
                f"{ours['seconds_per_epoch']:.0f}",
                f"{plain['seconds_per_epoch']:.0f}",
                f"{timed['ratios']['speed']:.2f}",
                f"{100 * ours['data_share']:.1f}",
                f"{timed['floor']['seconds_per_epoch']:.0f}",
                f"{ours['peak_megabytes']:.0f}",
                f"{plain['peak_megabytes']:.0f}",
            ]
        )
    head = ["processor", "network", "arithmetic", "an epoch, s", "plain loop, s"]
    head += ["times the plain loop", "data path, %", "floor, s", "MB", "plain loop, MB"]
    return table(head, body)


def missed() -> list[str]:
    """Return the goals of training that a timing misses."""
    body = []
    for path in sorted(BENCHMARKS.glob("train-*.json")):
        timed = json.loads(path.read_text(encoding="utf-8"))
        what = [timed["device"].partition(",")[0], timed["network"], timed["precision"]]
        speed, goal = timed["ratios"]["speed"], TIMES_THE_PLAIN_LOOP[timed["network"]]
        if speed < goal:
            body.append([*what, f"{goal:g} times the plain loop", f"{speed:.2f} times"])
        share = 100 * timed["dermseg"]["data_share"]
        if share >= DATA_PATH:
            body.append([*what, f"data path below {DATA_PATH} %", f"{share:.1f} %"])
    return table(["processor", "network", "arithmetic", "goal", "reached"], body)


def install() -> list[str]:
    """Return what each extra takes."""
    body = [
        [
            row["extra"],
            row["megabytes"],
            row["packages"],
            row["install_seconds"],
            row["first_mask_seconds"],
        ]
        for row in read_table(RESULTS / "install.csv")
    ]
    head = ["extra", "MB", "packages", "pip, s", "first mask, s"]
    return table(head, body)


def _timings() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each timing of a shipped model, after the model's name and the processor's."""
    for way in TIMED:
        for chip, ending in CHIPS.items():
            yield way.name, chip, _timing(way, ending)


def _timing(way: Way, ending: str) -> Any:
    path = BENCHMARKS / f"segment-{way.model}{way.suffix}-{ending}-2-cores.json"
    return json.loads(path.read_text(encoding="utf-8"))


def prompts() -> list[str]:
    """Return what one click at the lesion's centre gains on the validation images."""
    rows = read_table(RESULTS / "page" / "prompts.csv")
    own, clicked = (np.array([float(row[k]) for row in rows]) for k in ("jaccard", "clicked"))
    body = []
    for name, values in (("the model's own", own), ("one click", clicked), ("gain", clicked - own)):
        low, high = bootstrap_interval(values)
        sign = "+" if name == "gain" else ""
        form = f"{{:{sign}.4f}} ({{:{sign}.4f}} to {{:{sign}.4f}})"
        body.append([name, str(len(rows)), form.format(values.mean(), low, high)])
    return table(["mask", "images", "JA (95 %)"], body)


def pasted() -> list[str]:
    """Return which lesion a click finds in pictures with two."""
    rows = read_table(RESULTS / "page" / "pasted.csv")
    body = []
    for host, guest in zip(rows[::2], rows[1::2], strict=True):
        own, there = (f"{float(row['jaccard']):.3f}" for row in (host, guest))
        wrong = max(float(row["other"]) for row in (host, guest))
        body.append([host["host"], own, host["guest"], there, f"{wrong:.3f}"])
    head = ["photograph", "JA, its lesion clicked", "lesion pasted from", "JA, that one clicked"]
    return table([*head, "largest JA with the lesion not clicked"], body)


def round_trips() -> list[str]:
    """Return what becomes of the official masks in each form, and what many of them take."""
    rows = read_table(RESULTS / "formats" / "round-trips.csv")
    compared = {row["form"]: row for row in rows if row["exact"]}
    timed = {row["form"]: row for row in rows if row["write_seconds"]}
    head = ["form", "masks", "exact", "pixels lost", "MB", "peak memory, MB"]
    if timed:
        count = f"{int(next(iter(timed.values()))['masks']):,}"
        head += [f"{count} masks: MB", "CPU s to write", "CPU s to read", f"{count}: memory, MB"]
        head += ["processor"]
    body = []
    for form, row in compared.items():
        cells = [row[name] for name in ("masks", "exact", "pixels_lost", "megabytes")]
        body.append([f"`{form}`", *cells, _peak(row), *_taken(timed.get(form))][: len(head)])
    return table(head, body)


def _taken(row: dict[str, str] | None) -> list[str]:
    """Return what many masks take in a format; empty cells where that was not measured."""
    if row is None:
        return [""] * 5
    numbers = (row[name] for name in ("megabytes", "write_seconds", "read_seconds"))
    processor = row["processor"].replace("(R)", "").removesuffix(" Processor")
    return [*(f"{float(number):.0f}" for number in numbers), _peak(row), processor]


def _peak(row: dict[str, str]) -> str:
    peaks = [int(row[name]) for name in ("write_memory", "read_memory") if row[name]]
    return str(max(peaks, default=""))


def dicom() -> list[str]:
    """Return what a JPEG takes in a DICOM file and alone; nothing where it was not timed."""
    path = RESULTS / "benchmarks" / "dicom.csv"
    rows = read_table(path) if path.is_file() else []
    body = [
        [
            f"{row['width']} x {row['height']}",
            f"{float(row['jpeg_ms']):.1f}",
            f"{float(row['dicom_ms']):.1f}",
            f"{float(row['ratio']):.2f}",
        ]
        for row in rows
    ]
    if not body:
        return []
    ratios = [float(row["ratio"]) for row in rows]
    spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    body.append([f"median of {len(rows)} (smallest to largest)", "", "", spread])
    return table(["JPEG", "alone, ms", "in a DICOM file, ms", "ratio"], body)


def corrections() -> list[str]:
    """Return what each of the worst masks took to correct, and all of them."""
    rows = read_table(RESULTS / "page" / "corrections.csv")
    images = list(dict.fromkeys(row["image"] for row in rows))
    tools = list(dict.fromkeys(row["tools"] for row in rows))
    body = []
    for name, chosen in (*((image, [image]) for image in images), ("all", images)):
        own = [row for row in rows if row["image"] in chosen]
        scratch = [row for row in own if row["tools"] == tools[0]]
        before = sum(float(row["jaccard_before"]) for row in scratch) / len(scratch)
        cells = [name, f"{before:.2f}"]
        cells += [_sum(scratch, column) for column in ("corners", "corners_path", "border_path")]
        for each in tools:
            corrected = [row for row in own if row["tools"] == each]
            cells += [_sum(corrected, column) for column in ("actions", "path", "seconds")]
        body.append(cells)
    head = ["image", "JA before", "polygon: corners", "its path, px", "whole border, px"]
    head += [f"{each}: {what}" for each in tools for what in ("actions", "path, px", "s")]
    return table(head, body)


def _sum(rows: list[dict[str, str]], column: str) -> str:
    return f"{sum(float(row[column]) for row in rows):.0f}"


def frames() -> list[str]:
    """Return how soon paint is on the screen; nothing where it was not timed."""
    body = [
        [str(row["megapixels"]), f"{row['zoom']} x"]
        + [f"{row[kind][end]:.0f}" for kind in ("frame", "paint") for end in (0, 1)]
        + [f"{row['exact'][0] / 1000:.1f}"]
        for row in _frames().get("painting", [])
    ]
    head = [
        "megapixels",
        "enlarged",
        "frame, ms",
        "95 %",
        "paint, ms",
        "95 %",
        "server's outline, s",
    ]
    return table(head, body) if body else []


def million() -> list[str]:
    """Return what a run over a million photographs costs beside them, the first time and again."""
    timed = json.loads((BENCHMARKS / "million-rows.json").read_text(encoding="utf-8"))
    runs = [timed[name] for name in ("first", "again")]
    disk = runs[0]["MB_on_disk"]
    body = [
        ["processor time", *(f"{run['processor_seconds']:.0f} s" for run in runs)],
        ["largest memory", *(f"{run['MB'] / 1000:.2f} GB" for run in runs)],
        *([f"`{name}`", f"{disk[name] / 1000:.2f} GB", ""] for name in disk),
    ]
    return table(["", "first run", "again, all done"], body)


def page_memory() -> list[str]:
    """Return what many photographs weigh; nothing where they were not weighed."""
    memory = _frames().get("memory")
    if memory is None:
        return []
    body = [
        [who, *(str(memory[f"megabytes_{when}"][who]) for when in ("before", "after"))]
        for who in ("page", "server")
    ]
    return table(["MB", "before", f"with {memory['photographs']} photographs"], body)


def _frames() -> Any:
    path = RESULTS / "page" / "frames.json"
    return json.loads(path.read_text()) if path.is_file() else {}


TABLES = {
    "models": models,
    "scores": scores,
    "folds": folds,
    "groups": groups,
    "thresholds": thresholds,
    "confidence": confidence,
    "confidence-groups": confidence_groups,
    "sources": sources,
    "full-resolution": full_resolution,
    "appearance": appearance,
    "trials": trials,
    "styles": styles,
    "ledger": ledger,
    "speed": speed,
    "start": start,
    "without-vnni": without_vnni,
    "training": training,
    "missed": missed,
    "install": install,
    "prompts": prompts,
    "pasted": pasted,
    "round-trips": round_trips,
    "dicom": dicom,
    "corrections": corrections,
    "frames": frames,
    "page-memory": page_memory,
    "million": million,
}


def filled(page: str) -> str:
    """Return a page's text with its tables as the results say."""
    for name, lines in TABLES.items():
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
        if between.search(page):
            text = "\n".join(lines()) + "\n"
            page = between.sub(text.replace("\\", r"\\"), page, count=1)
    return page


def main(*, check: bool) -> int:
    """Write the tables and the model cards, or check them."""
    wanted = {page: filled((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}
    wanted |= {f"docs/models/{model}.md": write_card(model) for model in MODELS}
    stale = []
    for page, text in wanted.items():
        path = ROOT / page
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(page)
            if not check:
                path.write_text(text, encoding="utf-8", newline="\n")
    if check and stale:
        print(f"{', '.join(stale)}: not what results/ says; run scripts/tables.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
