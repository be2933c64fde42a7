"""Pages that are made from the code whenever the documentation is built: commands, settings, methods.

What a command's `--help` says and what a setting's docstring says stand in one place, and cannot differ from this.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

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
        ("reference/limits.md", limits_page()),
    ):
        files.append(File.generated(config, path, content=text))
    return files


PEER = """The settings of a peer, in its home folder. `gossipllm init` writes the common ones into the file; all others
have their defaults, shown here. `gossipllm config` shows and explains them in a terminal. An unknown key is an error
that names its nearest relative. "Guess" marks a default that no measurement stands behind."""

SCENARIO = """What `gossipllm sim FILE` reads, and what `--set KEY=VALUE` changes. `gossipllm sim` writes the settings
of a run into `scenario.toml` beside its results. Most tables are those of [peer.toml](peer.md)."""


LIMITS = """What other peers may make this one do, keep or wait for. Identities are free, so limits count by address
group (an IPv4 address or an IPv6 /64; a wider one is a /24 or /48) and in all, not by identity alone. Beyond a rate a
peer is answered later; beyond a bound it is refused or its connection ends. "Guess" marks a value that no measurement
stands behind. What an owner may want to change is a setting of [peer.toml](peer.md)."""

ROOT = Path(__file__).parent.parent
LIMITED = ("peers/net", "peers/core/others", "wire")
"""Packages that face other peers."""


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


def limits_page() -> str:
    """Every limit of the network and of what a peer keeps of others: the constants of these packages that say why."""
    lines = ["# Limits", "", LIMITS, ""]
    for package in LIMITED:
        rows = [row for path in sorted((ROOT / package).rglob("*.py")) for row in _limits(path)]
        lines += [f"## {package}", "", "| limit | value | what and why |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def _limits(path: Path) -> Iterator[str]:
    """A row for each constant of a module that has a docstring."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for statement, after in itertools.pairwise(body):
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        constants = [each for each in ast.walk(statement.value) if isinstance(each, ast.Constant)]
        if not constants or any(isinstance(each.value, str | bytes) for each in constants):
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        name = ast.unparse(target).strip("()")
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and name.isupper():
            where = path.relative_to(ROOT).with_suffix("").as_posix()
            value = ast.unparse(statement.value).strip("()")
            yield f"| `{name}`<br>{where} | `{_cell(value)}` | {_cell(' '.join(str(after.value.value).split()))} |"


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
