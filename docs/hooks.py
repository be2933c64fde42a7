"""Pages that are made from the code whenever the documentation is built: commands, settings, methods.

What a command's `--help` says and what a setting's docstring says stand in one place, and cannot differ from this.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from gossipllm.cli import root
from gossipllm.config.toml import TomlTable, described
from peers.home.config import PeerConfig
from sim.experiments.methods import CHANGES, methods
from sim.experiments.scenario_files import shipped
from sim.experiments.scenarios import Scenario

HELP_COLUMNS = 78


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs calls this before it reads the pages."""
    for path, text in (
        ("reference/commands.md", commands_page()),
        ("reference/peer.md", settings_page("peer.toml", PEER, PeerConfig())),
        ("reference/scenario.md", settings_page("Scenario files", SCENARIO, Scenario())),
        ("reference/methods.md", methods_page()),
    ):
        files.append(File.generated(config, path, content=text))
    return files


PEER = """The settings of a peer, in its home folder. `gossipllm init` writes the common ones into the file; all others
have their defaults, shown here. `gossipllm config` shows and explains them in a terminal. An unknown key is an error
that names its nearest relative. "Guess" marks a default that no measurement stands behind."""

SCENARIO = """What `gossipllm sim FILE` reads, and what `--set KEY=VALUE` changes. `gossipllm sim` writes the settings
of a run into `scenario.toml` beside its results. Most tables are those of [peer.toml](peer.md)."""


def commands_page() -> str:
    """What `--help` prints of every command."""
    lines = ["# Commands", ""]
    for path, text in _helps(root, ()):
        lines += [f"## {' '.join(path)}" if len(path) <= 2 else f"### {' '.join(path)}", "", "```text"]
        lines += [*text.splitlines(), "```", ""]
    return "\n".join(lines)


def settings_page(title: str, about: str, config: object) -> str:
    lines = [f"# {title}", "", about, ""]
    for table in described(config):
        lines += _table(table)
    return "\n".join(lines)


def methods_page() -> str:
    lines = ["# Methods of the simulator", "", "What `gossipllm sim --methods` takes.", ""]
    lines += ["| method | what it is |", "| --- | --- |"]
    lines += [f"| `{name}` | {_cell(method.about)} |" for name, method in methods().items()]
    lines += ["| `s1*s3` | a product of s1, s2 and s3: near by each of them |", ""]
    lines += ["Changes, written behind a method:", "", "| change | what it does |", "| --- | --- |"]
    lines += [f"| `+{name}` | {_cell(about)} |" for name, (about, _) in CHANGES.items()]
    lines += ["", "Scenarios that ship, for `gossipllm sim NAME`:", ""]
    lines += [f"* `{name}`" for name in shipped()]
    return "\n".join(lines) + "\n"


def _helps(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    path = (*path, command.name or "" if path else "gossipllm")
    context = click.Context(
        command, info_name=" ".join(path), max_content_width=HELP_COLUMNS, terminal_width=HELP_COLUMNS
    )
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, "listed commands are there"
            yield from _helps(inner, path)


def _table(table: TomlTable) -> Iterator[str]:
    if table.name:
        yield from (f"## [{table.name}]", "", table.about, "")
    for setting in table.settings:
        name = ".".join(part for part in (table.name, setting.name) if part)
        yield from (f"`{name} = {setting.value}`", f": {setting.about} *Takes {setting.kind}.*", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
