"""A document -> one HTML file that needs nothing else: styles, script and data stand in it.

Its Content-Security-Policy allows that style, that script (by their digests) and nothing from anywhere. All text of
others comes in as text: escaped by `html.escape` in what is written here, by `textContent` in what the script does.
"""

from __future__ import annotations

import base64
import hashlib
import html
from importlib.resources import files
from typing import Final

import msgspec

from sim.reporting.document import ReportDocument
from sim.reporting.page.sections import sections

GENERATOR: Final = "gossipllm report"
"""Stands in the head of every page, by which a former one is known."""

_SCRIPTS: Final = ("kit.js", "matrix.js", "network.js", "curves.js", "costs.js", "page.js")


def page(document: ReportDocument) -> str:
    style = _part("page.css")
    script = "\n".join(("(() => {", '"use strict";', *map(_part, _SCRIPTS), "})();"))
    filled = sections(document) | {
        "policy": f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'",
        "generator": f"{GENERATOR} {html.escape(document.program)}",
        "title": html.escape(document.title),
        "style": style,
        "script": script,
        "data": _data(document),
    }
    # Cut once and filled in between: what is filled in is never looked at for places again.
    pieces = _part("page.html").split("{{")
    parts = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        parts += filled[name], rest
    return "".join(parts)


def _data(document: ReportDocument) -> str:
    """JSON that no HTML parser sees anything in: neither the end of its element nor a comment."""
    text = msgspec.json.encode(document).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _part(name: str) -> str:
    return files("sim.reporting.page").joinpath(name).read_text(encoding="utf-8")
