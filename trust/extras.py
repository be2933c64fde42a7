"""How to install an optional part of this program, as messages say it: by name, or from the folder of a checkout."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from urllib.parse import unquote, urlparse


def install_command(extra: str) -> str:
    """The command that installs an extra of this program, from where the program itself was installed."""
    return f"pip install {shlex.quote(f'{_source()}[{extra}]')}"


def _source() -> str:
    """The folder that this program was installed from, or its name where that was an index of packages."""
    try:
        text = importlib.metadata.distribution("gossipllm").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return "."
    try:
        url = urlparse(str(json.loads(text)["url"])) if text else None
    except (ValueError, KeyError, TypeError):
        url = None
    return unquote(url.path) if url is not None and url.scheme == "file" else "gossipllm"
