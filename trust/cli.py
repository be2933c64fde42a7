"""`gossipllm trust`: look at who trusts whom, while peers run or afterwards. Only reads files."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console

from trust.history import HISTORY_FILE
from trust.log import History, read_history
from trust.matrix import Member, members
from trust.names import escaped
from trust.summary import FileSummary, Summary, rounds_text, summary
from trust.tables import print_summary

_DEPTHS = (HISTORY_FILE, f"*/{HISTORY_FILE}", f"*/*/{HISTORY_FILE}")
"""A peer's home; a folder of homes; a run that keeps its homes in `peers/`. The first that finds any counts,
so that a copy kept inside a home is not taken for another peer."""


class UsersMistake(click.ClickException):
    """Ends the command with one line and exit code 2."""

    exit_code = 2


@click.group()
def trust() -> None:
    """Who learns from whom, and how much.

    Reads the histories that peers write. Works while they run, and long after; asks no peer anything.
    """


@trust.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--round",
    "at_round",
    type=int,
    metavar="N",
    help="Rows of round N. Default: the latest row of each peer.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON document (schema 1, below) instead of tables."
)
@click.option(
    "--png", type=click.Path(path_type=Path), metavar="FILE", help="Also draw the matrix into FILE."
)
def show(path: Path, at_round: int | None, as_json: bool, png: Path | None) -> None:
    """Print the trust matrix of PATH: a peer's home, or a folder that holds several.

    A row is one peer: what share of its next adapter comes from itself and from each neighbour. Below the
    matrix: how many collaborators that amounts to, the loss on the peer's own trust split before and after
    the merge, and whether its guard took the merge, shrank it or refused it.

    \b
    Examples:
      gossipllm trust show ~/.gossipllm
      gossipllm trust show runs/demo --round 5 --png trust.png
      gossipllm trust show runs/demo --json | jq '.rows[] | {name, self_weight}'

    \b
    JSON, schema 1 (numbers that are not finite are null):
      schema, round   1; the round asked for, null for the latest of each peer
      peers[]         peer (id), name: the columns
      rows[]          peer, name, round, weights[] (one for each of peers),
                      self_weight, effective, entropy, trust_alone, trust_merged,
                      test_alone, test_merged, temperature, guard
      files[]         path, records, torn_bytes, why
    """
    files = _histories(path)
    known = members(entry for history in files.values() for entry in history.entries)
    _check(path, files, known, at_round)
    shown = summary(known, [_file(file, history) for file, history in files.items()], at_round=at_round)
    if png is not None:
        _draw(shown, png)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
        return
    print_summary(shown, Console(highlight=False))
    if png is not None:
        click.echo(f"drawn into {png}", err=True)


def _histories(path: Path) -> dict[Path, History]:
    if not path.exists():
        raise UsersMistake(f"{path} does not exist; give a peer's home, or a folder that holds homes")
    files = [path] if path.is_file() else _found(path)
    if not files:
        raise UsersMistake(
            f"no {HISTORY_FILE} in {path} or two folders below; give a peer's home, or a run's folder"
        )
    histories: dict[Path, History] = {}
    for file in files:
        try:
            histories[file] = read_history(file)
        except OSError as error:
            raise UsersMistake(f"{file} cannot be read: {error.strerror}") from None
    return histories


def _found(folder: Path) -> list[Path]:
    for pattern in _DEPTHS:
        files = sorted(file for file in folder.glob(pattern) if file.is_file())
        if files:
            return files
    return []


def _check(path: Path, files: dict[Path, History], known: tuple[Member, ...], at_round: int | None) -> None:
    recorded = rounds_text(known)
    if not recorded:
        for file, history in files.items():
            if history.torn and not history.entries:
                raise UsersMistake(f"{file} is no history: {history.why}")
        raise UsersMistake(f"no peer in {path} has finished a round yet; try again in a while")
    if at_round is not None and all(member.at(at_round) is None for member in known):
        raise UsersMistake(f"no peer in {path} recorded round {at_round}; there are {recorded}")


def _file(path: Path, history: History) -> FileSummary:
    return FileSummary(
        path=escaped(str(path), 4096), records=len(history.entries), torn_bytes=history.torn, why=history.why
    )


def _draw(shown: Summary, png: Path) -> None:
    # matplotlib takes half a second to import, and only this needs it.
    from trust.plots import save_heat_map

    try:
        save_heat_map(shown, png)
    except OSError as error:
        raise UsersMistake(f"{png} cannot be written: {error.strerror}") from None
