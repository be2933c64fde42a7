"""Command groups that import a command only when it is called.

`--help` therefore answers at once and no command loads the imports of another. The table of a group holds strings, so a
group can name commands of higher packages while imports point downwards.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from trust.errors import UserMistake

_GIVES_NOTHING: Final = re.compile(r"--[\w-]+=\s*")


class LazyGroup(click.Group):
    """A click group whose `table` maps a command to (module:attribute, the line that the group's `--help` shows)."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises `UserMistake` at an empty argument, which in practice is a variable of the shell that is not set. No
        command gives it a meaning, and as a path it would be the current folder."""
        for before, word in zip(["", *args], args, strict=False):
            option = word.strip().removesuffix("=") if _GIVES_NOTHING.fullmatch(word) else ""
            if option or not word.strip():
                what = option or (before if before.startswith("-") else "an argument")
                raise UserMistake(f"{what} is empty; give a value (is a variable of the shell unset?)")
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{cmd_name} names a command"
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the table alone: a shell that completes a name waits for no import."""
        named = [
            CompletionItem(name, help=line)
            for name, (_, line) in self.table.items()
            if name.startswith(incomplete)
        ]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])
