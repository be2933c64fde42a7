"""The command that installs an extra works from where the program came."""

from __future__ import annotations

import importlib.metadata
import json

import pytest

from trust.extras import install_command


class Installed:
    def __init__(self, url: str | None) -> None:
        self._url = url

    def read_text(self, _: str) -> str | None:
        return None if self._url is None else json.dumps({"url": self._url})


@pytest.mark.parametrize(
    ("url", "command"),
    [
        (None, "pip install 'gossipllm[eval]'"),
        ("https://example.org/gossipllm.whl", "pip install 'gossipllm[eval]'"),
        ("file:///home/anna/gossipllm", "pip install '/home/anna/gossipllm[eval]'"),
        ("file:///home/anna/my%20code", "pip install '/home/anna/my code[eval]'"),
    ],
)
def test_a_checkout_is_named_by_its_folder(
    monkeypatch: pytest.MonkeyPatch, url: str | None, command: str
) -> None:
    def distribution(_: str) -> Installed:
        return Installed(url)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)

    assert install_command("eval") == command
