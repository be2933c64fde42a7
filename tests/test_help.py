"""Every command's help fits a terminal of 80 columns, and one thing has one name."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from gossipllm.cli import root


def _commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, (*path, name))


COMMANDS = list(_commands(root))


@pytest.mark.parametrize("path", [path for path, _ in COMMANDS], ids=" ".join)
def test_help_fits_80_columns(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = CliRunner().invoke(root, [*path, "--help"], prog_name="gossipllm").output.splitlines()

    assert [line for line in lines if len(line) > 80] == []


def test_no_command_has_another_name_for_what_others_call_out_and_force() -> None:
    shown = {
        (path, name)
        for path, command in COMMANDS
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
        for name in option.opts
    }
    assert not [one for one in shown if one[1] in ("--output", "--overwrite", "--dest", "--yes")]
