"""The HTML page of a report: one file that contains its styles, script and data.

The page's Content-Security-Policy allows exactly this style and this script, by their digests, and loads nothing from
anywhere. Names and other text from histories are never parsed as HTML: Python escapes them with `html.escape`, the
script writes them through `textContent`.
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
"""Content of the meta element `generator`, by which an existing report is recognised."""

_SCRIPTS: Final = ("kit.js", "matrix.js", "network.js", "curves.js", "costs.js", "page.js")


def page(document: ReportDocument) -> str:
    """The page as HTML, from the template page.html and its places `{{name}}`."""
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
    # The template is split once, and values are put between its pieces: text from a history that contains "{{" is not
    # taken for a place, as it would be by repeated replacing.
    pieces = _part("page.html").split("{{")
    parts = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        parts += filled[name], rest
    return "".join(parts)


def _data(document: ReportDocument) -> str:
    """JSON for a script element, without characters that could end the element or begin an HTML comment."""
    text = msgspec.json.encode(document).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _part(name: str) -> str:
    return files("sim.reporting.page").joinpath(name).read_text(encoding="utf-8")
