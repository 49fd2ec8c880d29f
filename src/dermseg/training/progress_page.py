"""A training's page, progress.html: its curves so far, redrawn after each epoch.

One file without scripts, that needs no other file and no network. It loads itself again while the
training goes on.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

REFRESH = 15
"""Seconds after which a browser loads the page again."""
LAST = 12
"""Epochs in the table."""
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 240, 56, 24, 12
"""Pixels of a plot, and of its margins."""
PLOTS = (
    ("Loss", {"loss": "training", "held_out_loss": "held out"}),
    ("Score on the held-out images", {"held_out_jaccard": "Jaccard", "held_out_dice": "Dice"}),
    ("Learning rate", {"learning_rate": "learning rate"}),
    ("Seconds an epoch", {"seconds": "seconds"}),
)
"""Titles of the plots, and the columns of the log in each."""
STYLE = """
:root { color-scheme: light dark; --one: #1f6feb; --two: #d1622b; --line: #c9ced4 }
body { margin: 2rem auto; max-width: 44rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.2rem } h2 { font-size: 1rem; margin: 1.5rem 0 0 }
svg { width: 100%; height: auto } text { fill: currentColor; font-size: 12px }
polyline { fill: none; stroke-width: 1.8 } .axis { stroke: var(--line) }
.one { stroke: var(--one) } .two { stroke: var(--two); stroke-dasharray: 5 3 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: 0.1rem 0.7rem; text-align: right; border-bottom: 1px solid var(--line) }
"""
Rows = Sequence[Mapping[str, Any]]


def draw(title: str, epochs: int, log: Rows) -> str:
    """Return the page of a training that has made the epochs of `log`, of `epochs`."""
    done = len(log) >= epochs
    again = "" if done else f'<meta http-equiv="refresh" content="{REFRESH}">\n'
    state = "finished" if done else f"epoch {len(log)} of {epochs}"
    plots = [
        f"<h2>{name}</h2>\n{_plot(name, epochs, log, lines)}"
        for name, columns in PLOTS
        if (lines := {c: label for c, label in columns.items() if log and c in log[0]})
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n{again}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}: {state}</title>\n<style>{STYLE}</style>\n"
        f"<h1>{escape(title)}: {state}</h1>\n" + "\n".join([*plots, _table(log)]) + "\n</html>\n"
    )


def _plot(name: str, epochs: int, log: Rows, lines: Mapping[str, str]) -> str:
    """Return a plot as SVG, an epoch a point, the second line dashed."""
    values = [float(row[column]) for column in lines for row in log]
    low, high = min(0.0, *values), max(values)
    span = high - low or 1.0
    wide, high_up = WIDTH - LEFT - TOP, HEIGHT - BOTTOM - TOP

    def place(epoch: int, value: float) -> str:
        x = LEFT + wide * (epoch - 1) / max(1, epochs - 1)
        return f"{x:.1f},{TOP + high_up * (1 - (value - low) / span):.1f}"

    floor = HEIGHT - BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">',
        f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{floor}H{WIDTH - TOP}"/>',
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{LEFT - 6}" y="{floor}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{WIDTH - TOP}" y="{HEIGHT - 6}" text-anchor="end">{epochs} epochs</text>',
    ]
    for number, (column, label) in enumerate(lines.items()):
        points = [place(int(row["epoch"]), float(row[column])) for row in log]
        kind = ("one", "two")[number]
        # A single epoch is a short line, since a point of no length is not drawn.
        path = " ".join(points if len(points) > 1 else [*points, *points])
        x, y = LEFT + 12 + 220 * number, HEIGHT - 6
        parts += [
            f'<polyline class="{kind}" stroke-linecap="round" points="{path}"/>',
            f'<polyline class="{kind}" points="{x},{y - 4} {x + 24},{y - 4}"/>',
            f'<text x="{x + 30}" y="{y}">{label} {float(log[-1][column]):.4g}</text>',
        ]
    return "\n".join([*parts, "</svg>"])


def _table(log: Rows) -> str:
    """Return the last epochs as a table, the newest first."""
    if not log:
        return ""
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in log[0])
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(value))}</td>' for value in row.values())}</tr>\n"
        for row in reversed(log[-LAST:])
    )
    return f"<h2>The last epochs</h2>\n<table><tr>{head}</tr>\n{body}</table>"
