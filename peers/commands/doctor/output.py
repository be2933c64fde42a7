"""Output of findings: lines for people as they come, or a JSON document at the end."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from rich.console import Console
from rich.text import Text

from peers.commands.doctor.findings import Finding
from trust.names import escaped

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_INDENT: Final = 21
"""Columns of level and subject."""
_LONGEST: Final = 600
"""Characters of a value or a cure. Guess: ten lines at 60 columns."""


class FindingOutput(Protocol):
    def show(self, finding: Finding) -> None: ...

    def end(self, findings: Sequence[Finding]) -> None: ...


class FindingLines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, finding: Finding) -> None:
        width = max(40, self._console.width) - _INDENT
        head = Text(f"{finding.level:<5}", style=_STYLES[finding.level]) + Text(f" {finding.what:<14} ")
        value = textwrap.wrap(escaped(finding.value, _LONGEST), width) or [""]
        cure = textwrap.wrap(escaped(finding.cure, _LONGEST), width - 3)
        for index, line in enumerate(value):
            self._print((head if index == 0 else Text(" " * _INDENT)) + Text(line))
        for index, line in enumerate(cure):
            mark = "-> " if index == 0 else "   "
            self._print(Text(" " * _INDENT) + Text(mark + line, style="italic"))

    def end(self, findings: Sequence[Finding]) -> None:
        count = {level: sum(one.level == level for one in findings) for level in _STYLES}
        self._print(Text(f"{count['fail']} failed, {count['warn']} to look at, {count['ok']} fine"))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


class FindingsDocument:
    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, finding: Finding) -> None:
        """Nothing yet: the document is printed at the end."""

    def end(self, findings: Sequence[Finding]) -> None:
        healthy = all(one.level != "fail" for one in findings)
        made = {"schema": 1, "healthy": healthy, "findings": findings}
        text = msgspec.json.format(msgspec.json.encode(made), indent=2).decode()
        self._console.print(Text(text), soft_wrap=True)
