"""What the README and the documentation tell people to type is what the program takes."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gossipllm.cli import root

_ROOT = Path(__file__).parents[1]


def _told(page: Path) -> Iterator[str]:
    """Each line of a code block that begins with the program's name, continued lines joined."""
    fenced = False
    for line in page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and re.match(r"\s*gossipllm [a-z]", line):
            yield line.split(" | ")[0].strip()


def _pages() -> list[Path]:
    return [_ROOT / "README.md", *sorted((_ROOT / "docs" / "pages").rglob("*.md"))]


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.name)
def test_every_command_that_is_told_is_taken(page: Path) -> None:
    for line in _told(page):
        words = shlex.split(line, comments=True)[1:]
        command: click.Command = root
        context = click.Context(root, info_name="gossipllm")
        while isinstance(command, click.Group):
            inner = command.get_command(context, words[0])
            assert inner is not None, f"{page.name}: {line}"
            command, words = inner, words[1:]
        try:
            command.make_context(command.name, words, parent=context)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {line}: {error.format_message()}")


def test_there_is_something_to_check() -> None:
    assert sum(len(list(_told(page))) for page in _pages()) > 40


def test_the_picture_of_the_stages_is_drawn_from_the_table() -> None:
    """`python docs/draw_stages.py` draws it again."""
    drawn = runpy.run_path(str(_ROOT / "docs" / "draw_stages.py"))
    assert drawn["PICTURE"].read_text(encoding="utf-8") == drawn["svg"]()
