"""The page that explains the HTTP service to people, made of its OpenAPI description."""

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

Schema = Mapping[str, Any]

BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "maxLength": "characters at most:",
    "maxItems": "entries at most:",
}
"""OpenAPI's words for bounds, in a person's."""

router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def manual(request: Request) -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(page_of(request.app.openapi()))


def page_of(openapi: Schema) -> str:
    """Return an OpenAPI description as a page for people, which loads one style sheet alone."""
    info = openapi["info"]
    routes = [
        (f"{method.upper()} {path}", described)
        for path, methods in openapi["paths"].items()
        for method, described in methods.items()
    ]
    schemas = openapi["components"]["schemas"]
    contents = "".join(f"<li>{_link(name, _anchor(name))}</li>" for name, _ in routes)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(info["title"])}: the HTTP service</title>
<link rel="icon" href="static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="static/style.css">
</head>
<body class="manual">
<header><h1>{escape(info["title"])}: the HTTP service</h1>
<p class="tagline">version {escape(info["version"])}</p></header>
<main>
<p>{escape(info["summary"])} <a href="./">The page</a> is for people; programs send photographs to
the addresses below. The same description for programs: <a href="v1/openapi.json">openapi.json</a>.
Errors are problem documents (RFC 9457), {_link("ProblemDocument", _anchor("ProblemDocument"))}.</p>
<ul>{contents}</ul>
{"".join(_route(name, described) for name, described in routes)}
<h2>What is sent and returned</h2>
{"".join(_schema(name, schema) for name, schema in sorted(schemas.items()))}
</main>
</body>
</html>
"""


def _route(name: str, described: Schema) -> str:
    """Return a section about a route."""
    parts = [f'<section id="{_anchor(name)}"><h2><code>{escape(name)}</code></h2>']
    parts.append(_prose(described.get("description", "")))
    rows = [
        (f"<code>{escape(each['name'])}</code>", _type(_given(each["schema"])), _words(each))
        for each in described.get("parameters", ())
    ]
    parts.append(_table(("parameter", "values", ""), rows))
    body = described.get("requestBody", {}).get("content", {})
    parts.append(_table(("body", "content"), _contents(body)))
    answers = []
    for status, answer in described["responses"].items():
        content = answer.get("content", {})
        what = "; ".join(f"{kind}: {said}" for kind, said in _contents(content))
        answers.append((escape(status), escape(answer.get("description", "")), what))
    parts.append(_table(("status", "", "response"), answers))
    return "".join([*parts, "</section>"])


def _contents(content: Schema) -> list[tuple[str, str]]:
    """Return the media types of a body, and what each holds."""
    return [
        (f"<code>{escape(kind)}</code>", _type(held.get("schema", {})))
        for kind, held in content.items()
    ]


def _schema(name: str, schema: Schema) -> str:
    """Return a section about a document that is sent or returned."""
    rows = [
        (f"<code>{escape(field)}</code>", _type(described))
        for field, described in schema.get("properties", {}).items()
    ]
    title = f'<section id="{_anchor(name)}"><h3>{escape(name)}</h3>'
    prose = _prose(schema.get("description", ""))
    return f"{title}{prose}{_table(('field', 'value'), rows)}</section>"


def _type(schema: Schema) -> str:
    """Say in a few words which values a schema allows."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _link(name, _anchor(name))
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_type(schema['items'])}{_bounds(schema)}"
    if schema.get("type") == "object" and "properties" in schema:
        fields = schema["properties"].items()
        return "; ".join(f"<code>{escape(name)}</code>: {_type(each)}" for name, each in fields)
    if schema.get("format") == "binary":
        return f"file {escape(schema.get('description', ''))}".strip()
    return escape(str(schema.get("type", "anything"))) + _bounds(schema)


def _given(schema: Schema) -> Schema:
    """Return a parameter's schema without null, which stands for one that is not given."""
    kinds = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return kinds[0] if len(kinds) == 1 else {**schema, **({"anyOf": kinds} if kinds else {})}


def _bounds(schema: Schema) -> str:
    said = [f"{words} {schema[name]:,}" for name, words in BOUNDS.items() if name in schema]
    return f" ({', '.join(said)})" if said else ""


def _words(parameter: Schema) -> str:
    """Return what is said of a parameter, with its default."""
    default = parameter["schema"].get("default")
    said = escape(parameter.get("description", ""))
    return f"{said} (unless given {escape(str(default))})" if default not in (None, []) else said


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of cells that are HTML already, nothing without rows."""
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    titles = "".join(f'<th scope="col">{name}</th>' if name else "<td></td>" for name in head)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0">{table}</div>'


def _prose(text: str) -> str:
    """Return paragraphs; what stands in backticks is code."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n") if part.strip())
    coded = (re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(part)) for part in paragraphs)
    return "".join(f"<p>{part}</p>" for part in coded)


def _link(text: str, anchor: str) -> str:
    return f'<a href="#{anchor}">{escape(text)}</a>'


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
