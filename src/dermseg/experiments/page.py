"""All experiments of a folder on one page: Markdown, and HTML that needs no other file."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from dermseg.errors import DataError
from dermseg.experiments.opening import open_report
from dermseg.experiments.registry import EXPERIMENTS
from dermseg.experiments.report import describe
from dermseg.storage.files import read_json, reading, write_text

NAME = "report"
STYLE = """
:root { color-scheme: light dark; --line: #d5d9de; --soft: #f4f6f8; --text: #1b1f24; --back: #fff }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a4149; --soft: #1f252b; --text: #e4e7ea; --back: #14181c }
}
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif;
  color: var(--text); background: var(--back) }
h1 { font-size: 1.35rem; margin-top: 3rem; border-bottom: 1px solid var(--line) }
h2 { font-size: 1.1rem }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: 0.86rem;
  font-variant-numeric: tabular-nums }
th, td { padding: 0.25rem 0.6rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top }
th { background: var(--soft) }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px }
@media print {
  :root { --line: #bbb; --soft: #eee; --text: #000; --back: #fff }
  body { margin: 0; max-width: none; font-size: 10pt }
  h1 { break-before: page } h1:first-of-type { break-before: auto }
  table { display: table; font-size: 7.5pt }
  tr, img { break-inside: avoid }
}
"""
TITLE = "The paper's comparisons, made again"
EVERY = "Every claim"


def write_page(folder: Path) -> tuple[Path, Path]:
    """Write report.md and report.html into `folder`, from the experiments' files there.

    Raises DataError if there are none, or one is damaged or lacks a file.
    """
    found = [name for name in EXPERIMENTS if (folder / f"{name}.json").is_file()]
    if not found:
        raise DataError(
            f"{folder}: holds no experiment; `dermseg experiment NAME DATA -o {folder}` makes one"
        )
    with reading(folder):  # a table or a picture may be gone
        contents = [read_json(folder / f"{name}.json") for name in found]
        parts = [describe(folder / f"{name}.csv", folder / f"{name}.json") for name in found]
        opening = "\n".join(open_report(folder, contents))
        every = "\n".join(_verdicts(contents))
        text = "\n\n".join([f"# {TITLE}", opening, *parts, f"# {EVERY}", every]).strip() + "\n"
        html = to_html(text, folder)
    markdown, page = folder / f"{NAME}.md", folder / f"{NAME}.html"
    for file, content in ((markdown, text), (page, html)):
        write_text(file, content)
    return markdown, page


def _verdicts(contents: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of every verdict, with what stands behind each."""
    count = sum(len(content["verdicts"]) for content in contents)
    yield (
        f"{count} claims, each judged by its own 95 % interval. A verdict is about the methods "
        "where each was trained with three seeds, or where chance in training makes no difference. "
        "Of twenty claims without a real difference, about one is still called real. With fewer "
        "seeds a verdict is only about these networks, and other seeds may change it."
    )
    yield ""
    for content in contents:
        if content["experiment"] == "null":
            yield from (*content["notes"], "")
    yield (
        "| claim | source | experiment | images | seeds | epochs | methods | these networks | "
        "difference, 95 % |"
    )
    yield f"|{' --- |' * 9}"
    for content in contents:
        for verdict in content["verdicts"]:
            cells = [verdict["claim"], verdict["source"], content["experiment"]]
            cells += [f"{verdict['set']}, {verdict['images']}", str(verdict["seeds"])]
            cells += [str(verdict["computing"]["epochs"]), f"**{verdict['outcome']}**"]
            cells.append(verdict["networks"])
            cells.append(_difference(verdict))
            yield f"| {' | '.join(cells)} |"


def _difference(verdict: dict[str, Any]) -> str:
    ends = [verdict["low"], verdict["high"]]
    if None in ends:
        return f"{verdict['difference']:+.4f}, without an interval"
    low, high = (f"{end:+.4f}" for end in ends)
    return f"{verdict['difference']:+.4f} ({low} to {high})"


def to_html(text: str, folder: Path) -> str:
    """Return a page from Markdown; its pictures, PNG files in `folder`, become part of it."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    for part in (child for token in tokens for child in token.children or ()):
        if part.type == "image":
            picture = b64encode((folder / str(part.attrs["src"])).read_bytes()).decode()
            part.attrs["src"] = f"data:image/png;base64,{picture}"
    body = markdown.renderer.render(tokens, markdown.options, {})
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}</title>\n<style>{STYLE}</style>\n{body}</html>\n"
    )
