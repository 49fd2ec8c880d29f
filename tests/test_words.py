"""One word for one thing: the field's, in code, options, pages and prose."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUFFIXES = {".css", ".html", ".js", ".md", ".py"}
FORBIDDEN = {
    r"\bpass(es)?\b|_pass(es)?\b|\bpasses_": "epoch",
    r"average[_-](passes|epochs)": "ema_epochs",
    r"\b(on|or|for) (a |the )?cards?\b|\ba card's\b|\bof the card\b|\bgraphics cards?\b": "GPU",
    r"held[ _-]?back|heldback": "validation set, test set",
    r"rival": "baseline",
    r"\bclassics\b": "baselines",
    r"lite0[-_]flips|--flips|\b(four|three|with|by) flips\b|\bflips=": "mirror averaging",
    r"\bshares\b|--weigh[_-]on|\bweigh_on\b|\bweigh\b": "ensemble weights",
    r"\bcutter\b|\bdef cut\b|\.cut\(|(?<![\w-])cut\(|\bimport .*\bcut\b": "threshold, binarise",
    r"\bspread\(|\bimport .*\bspread\b|cores\.spread": "parallel map",
    r"\b(afresh|anew)\b": "newly initialised, again",
    r"(?<!\.)\bunfold(s|ed|ing)?\b|(?<!functional)\.unfold\b": "restore batch norm",
    r"\bsettl(e|es|ed)\b": "restore batch norm",
    r"\bweb[./](answers|problems|guard)\b|\bimport .*\b(answers|problems|guard)\b"
    r"|\b(answers|problems|guard)\.py\b": "responses, errors, middleware",
    r"start[_-]from\b|\bstarting\.py\b": "fine_tune_from",
    r"\bwhat is found\b|\bwho hangs up\b": "a noun",
}
"""Patterns, whatever the case, and what stands in their place."""
ALLOWED = {
    r"^\s*(else:\s*)?pass\s*(#.*)?$": "Python's own",
    r"\b(forward|backward) pass(es)?\b": "of a network, the field's word",
    r"\bpass(es)? (by|on|over|through)\b": "plain English",
    r"lite0-flips": "a name in the ledger, where its page explains it",
}
"""Patterns whose text does not count."""
NAMES_OF_THE_LEDGER = {"docs/science/ledger.md", "docs/science/scores.md"}


def files() -> Iterator[Path]:
    yield ROOT / "README.md"
    for folder in ("src", "docs"):
        yield from (
            path
            for path in sorted((ROOT / folder).rglob("*"))
            if path.suffix in SUFFIXES and "commands" not in path.parent.parts
        )


def offences(path: str, text: str) -> Iterator[str]:
    """Yield file, line, word and what stands in its place for each forbidden word of a text."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, reason in ALLOWED.items():
            if "ledger" not in reason or path in NAMES_OF_THE_LEDGER:
                line = re.sub(pattern, "", line, flags=re.IGNORECASE)
        for pattern, instead in FORBIDDEN.items():
            for found in re.finditer(pattern, line, re.IGNORECASE):
                yield f"{path}:{number}: {found[0]!r}, say {instead}"


def test_the_fields_words() -> None:
    found = [
        offence
        for path in files()
        for offence in offences(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join([f"{len(found)} forbidden words", *found])


def test_what_is_an_offence_and_what_is_none() -> None:
    bad = "--passes 3\nheld back\na Rival\nlite0-flips\nloaded anew\nfrom x import cut"
    assert [each.split(":")[1] for each in offences("docs/x.md", bad)] == list("123456")
    good = "    pass\nthe backward pass\nit passed\na cut\nthe model cards\nis passed over\nshared"
    assert list(offences("docs/x.md", good)) == []
    assert list(offences("docs/science/ledger.md", "lite0-flips")) == []
