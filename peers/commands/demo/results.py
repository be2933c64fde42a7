"""The end of the demo: who learned from whom, what each gained over training alone, and `results.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from peers.commands.demo.alone import ONE
from peers.commands.demo.board import DemoPeerRow
from peers.commands.demo.curve import CurvePoint, curve, curve_table, save_curve
from peers.commands.demo.demo_peers import LONE, DemoPeer
from peers.commands.demo.pairs import pairs, pairs_meaning, pairs_table
from peers.commands.demo.scenarios import DemoScenario
from peers.commands.demo.units import NATS, Unit, differ, unit_of
from peers.home.folder import Home
from trust.expectation import told
from trust.files import write_output
from trust.inspection.reading.summary import summary
from trust.inspection.show.tables import print_summary
from trust.record.history import Entry, Round
from trust.record.log import read_history
from trust.record.matrix import members

CURVE: Final = "loss.png"
"""The file of the curve, in the demo's folder."""

Losses = dict[str, float | None]
"""Test losses of one peer, before, alone and together, in nats a token."""


def show_results(
    scenario: DemoScenario,
    peers_of_demo: Sequence[DemoPeer],
    rows: Sequence[DemoPeerRow],
    alone: Sequence[DemoPeerRow],
    folder: Path,
    console: Console,
) -> None:
    from trust.inspection.show.plots import save_heat_map

    entries = _entries(peers_of_demo)
    matrix = summary(members([entry for own in entries.values() for entry in _merges(own)]), ())
    console.print()
    console.print("[bold]who learned from whom[/bold], in the last merge of each")
    print_summary(matrix, console)
    console.print()
    if differ(peers_of_demo):
        found = pairs(entries)
        console.print(pairs_table(found))
        for line in pairs_meaning(found):
            console.print(f"  [dim]{line}[/dim]")
        console.print()
    if scenario.base:
        points = curve_of(peers_of_demo, folder)
        console.print(curve_table(points))
        save_curve(points, folder / CURVE)
        console.print(gains(rows, alone, "", NATS))
    else:
        console.print(gains(rows, alone, scenario.column, unit_of(peers_of_demo)))
    console.print(f"[bold]what to look at[/bold]  {scenario.watch}")
    # Expectations are of peers that adapt a model.
    expected = "" if scenario.base else told(entry.record for entry in entries[peers_of_demo[0].name])
    if expected:
        console.print(
            f"[bold]what to expect[/bold]  {expected}",
            highlight=False,
        )
    save_heat_map(matrix, folder / "trust.png")


def curve_of(peers_of_demo: Sequence[DemoPeer], folder: Path) -> list[CurvePoint]:
    """The curve of peers that pre-train, from their histories."""
    entries = _entries(peers_of_demo)
    return curve([_rounds(own) for own in entries.values()], _rounds(_one_process(folder)))


def _one_process(folder: Path) -> Sequence[Entry]:
    """The history of the one process that peers who pre-train are compared with; empty where it did not run."""
    history = Home(folder / LONE / ONE).history
    return read_history(history).entries if history.exists() else ()


def _rounds(entries: Sequence[Entry]) -> Sequence[Round]:
    return [entry.record for entry in entries if isinstance(entry.record, Round)]


def gains(rows: Sequence[DemoPeerRow], alone: Sequence[DemoPeerRow], column: str, unit: Unit) -> Table:
    """A row for each peer: its test text before, in the best state that it reached alone, and in its best together.
    Beside one process, which has more text than a peer, the last column is how far above it the peer ends."""
    table = Table(title=f"{unit.name} on own test text", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("peer")
    table.add_column("text")
    if column:
        table.add_column(column)
    lone = any(one.name == ONE for one in alone)
    against, change = ("one process", "over it") if lone else ("best alone", "gain")
    for name in ("before", against, "together", change):
        table.add_column(name, justify="right")
    for row in rows:
        losses = _losses(row, alone)
        values = {name: None if loss is None else unit.shown(row.name, loss) for name, loss in losses.items()}
        by_itself, together = values["alone"], values["together"]
        gain = ""
        if by_itself is not None and together is not None:
            over = together / by_itself - 1
            gain = f"{100 * (over if lone else -over):+.1f} %"
        shown = ("" if one is None else f"{one:.{unit.places}f}" for one in values.values())
        table.add_row(row.name, row.language, *((row.particular,) if column else ()), *shown, gain)
    return table


def write_results(
    path: Path,
    scenario: str,
    points: Sequence[CurvePoint],
    peers_of_demo: Sequence[DemoPeer],
    rows: Sequence[DemoPeerRow],
    alone: Sequence[DemoPeerRow],
) -> None:
    """Write schema 2: test losses in nats per token, trust rows by name, bytes, and `particular` in words. Where base
    models differ also each peer's relation to every other, and its losses in bits a byte. `points` are the curve of
    peers that pre-train, empty for others."""
    names = {one.peer: one.name for one in peers_of_demo}
    unlike = differ(peers_of_demo)
    found = pairs(_entries(peers_of_demo)) if unlike else {}
    unit = unit_of(peers_of_demo)

    def of_peer(row: DemoPeerRow) -> dict[str, object]:
        losses = _losses(row, alone)
        result: dict[str, object] = {
            "name": row.name,
            "language": row.language,
            "particular": row.particular,
            "test_loss": losses,
            "trust": {names.get(peer, peer): weight for peer, weight in row.weights.items()},
            "sent_bytes": row.sent,
            "received_bytes": row.received,
        }
        if unlike:
            result["relations"] = found[row.name]
            result["bits_per_byte"] = {
                name: None if loss is None else unit.shown(row.name, loss) for name, loss in losses.items()
            }
        return result

    results: dict[str, object] = {
        "schema": 2,
        "scenario": scenario,
        "rounds": peers_of_demo[0].config.round.rounds,
        "steps": peers_of_demo[0].config.round.steps,
        "peers": [of_peer(row) for row in rows],
    }
    if points:
        results["curve"] = [msgspec.structs.asdict(point) for point in points]
    data = (json.dumps(results, indent=2) + "\n").encode()
    write_output(path, lambda file: file.write(data))


def _losses(row: DemoPeerRow, alone: Sequence[DemoPeerRow]) -> Losses:
    by_itself = next((one.test_loss for one in alone if one.name in (row.name, ONE)), None)
    return {"before": row.base_loss, "alone": by_itself, "together": row.test_loss}


def _merges(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries without rounds whose merge was not taken, if there was another: a peer that gains no more keeps what
    the last merge that it took made of it."""
    merges = [entry for entry in entries if not isinstance(entry.record, Round) or entry.record.took]
    return merges if any(isinstance(entry.record, Round) for entry in merges) else entries


def _entries(peers_of_demo: Sequence[DemoPeer]) -> dict[str, Sequence[Entry]]:
    return {one.name: read_history(one.home.history).entries for one in peers_of_demo}
