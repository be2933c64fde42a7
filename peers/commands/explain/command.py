"""The command `gossipllm trust explain`: one page on one weight. Loads torch only if something can be measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console

from peers.core.merge_inputs import MergeInputs
from peers.home.config import PeerConfig, load_config
from peers.home.folder import Home
from peers.home.merge_inputs import read_merge_inputs
from trust.errors import UserMistake
from trust.inspection.explain.answering import explained
from trust.inspection.explain.case import Case, case_of
from trust.inspection.explain.document import Explanation, LeaveOneOut
from trust.inspection.explain.page import print_page
from trust.inspection.explain.proposals import (
    MeasuredCandidates,
    beginning,
    proposals,
    rows_of,
    without_entry,
)
from trust.inspection.reading.files import HistoryRun, read_run
from trust.names import escaped
from trust.progress import Stages, progress_stages
from trust.record.blocked import read_blocked
from trust.rows.config import evidence_of
from trust.rows.rows import Row

if TYPE_CHECKING:
    from peers.commands.explain.measuring import Reopened


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("peers", metavar="[I] [J]", nargs=-1)
@click.option("--round", "at_round", type=int, metavar="R", help="Round R of I. Default: its latest.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document (schema 1, below) instead.")
@click.option(
    "--measure/--no-measure",
    default=True,
    show_default=True,
    help="Load the model and measure, where the adapters of that round are at hand.",
)
def explain(path: Path, peers: tuple[str, ...], at_round: int | None, as_json: bool, measure: bool) -> None:
    """Say why peer I gives neighbour J the weight that it does.

    PATH is a peer's home, a folder that holds several, or a simulation's results. I and J are names, ids, or
    ends of ids; where they are the same, it is about I's own weight. In one peer's home I may be left out, and
    without J the page is about that peer's own weight.

    The page says what J did by itself and why it was left out, if it was, what was known of it when the row was
    made, how that became a weight, what the guard made of it,
    how the weight moved, and what it would be by every other strategy. A home keeps the adapters of its last merge
    (peer.keep_neighbours): for that round, other strategies and what leaving J out would do are measured, on I's
    own trust text.

    \b
    Examples:
      gossipllm trust explain ~/.gossipllm bert
      gossipllm trust explain runs/demo anna bert --round 3
      gossipllm trust explain runs/demo anna anna --no-measure
      gossipllm trust explain runs/demo anna bert --json | jq .without

    \b
    JSON, schema 1 (numbers that are not finite are null; losses are nats
    per token; shares and weights are 0 to 1):
      schema, round   1; the round of I
      peer, neighbour I and J: peer (id), name
      weight, rank    J's entry of the row; 1 for the largest neighbour
      row[]           the whole row, I first: peer, name, weight
      took_part       whether J was in this round; its_round: J's own
                      count; last_met: where not, the last round before
      strategy, form, settings{}, program
                      what made the row; settings null where unknown
      evidence[]      kind, distance, error, own, rank, of, nearest,
                      median, farthest
      temperature     the chosen one; tried[]: temperature, trust_loss,
                      weight, chosen
      trust_alone, trust_merged
                      I's trust loss before and after the merge
      age             rounds, factor
      text            where it counts: tokens, samples, claimed_share,
                      share, power, cap
      guarded, guard, halvings, absorbed
      refusals[]      near this round: round, at_s, field, why;
                      refusals_in_all counts those of every round
      history[]       round, weight (null where J took no part)
      check           computed again: weight, difference, agrees, why
      strategies[]    strategy, form, in_use, weight, lowest, highest,
                      trust_loss, why
      without         as_used, kept_at_home, kept_at_home_error,
                      spread, spread_error, why (empty where measured)
      trial           J by itself: gain, error, share (its weight then), left
                      (own, twin, loud, unbound, harmful, useless or paused;
                      null where it was not left out), twin_of, mismatch (of
                      its predictions and its update), standing, seat
      left_out[]      all that were left out of the row: peer, name, left,
                      twin_of, gain, error
      shared[]        stands (may have weight), others (nearly identical)
      steps           J's weight by_evidence, by_gain (credited: also by
                      standing), bounded; newcomers, newcomers_bind,
                      own_share, own_share_binds
      course          training alone: alone (its loss, estimated), ahead
      discarded       the part of the exact mixture that the merge lacks
      judged, judged_error
                      by how much the last merge that was tried lowered the loss
                      on the windows that judge merges; null where none was judged
      certainty       the part of their weights that neighbours keep because gains
                      are known with errors only; 1 where all of it
      relation        of I to J: merges, distils, compares or apart; null where
                      J took no part. Only one that merges is in row
      by_bytes        whether the distance is of byte rows (another tokenizer)
      teaches         J's weight in the row whose predictions are distilled,
                      where other bases have a part in it; else null
      fruitless, asks_in
                      rounds in a row that asked and brought no whole merge, and
                      those to come that ask nobody
      distilled       steps toward predictions after the merge: steps, rows,
                      taught, kl_before, kl_after, share (the part taken; 0:
                      undone), gain, error, seconds; null where there were none
      blocked         why I's owner blocked J; null where J is not blocked
    """
    run = read_run(path)
    case = case_of(run, *_pair(run, peers), at_round)
    told = _measured(run, case) if measure else _recorded(case, "--no-measure was given")
    told = msgspec.structs.replace(told, blocked=_blocked(run, case))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
    else:
        print_page(told, Console(highlight=False))


def _pair(run: HistoryRun, named: tuple[str, ...]) -> tuple[str, str]:
    """The learner and the other one. Raises `UserMistake` where it is not clear who is meant."""
    alone = run.members[0].peer if len(run.members) == 1 else ""
    match named:
        case (peer, neighbour):
            return peer, neighbour
        case (neighbour,) if alone:
            return alone, neighbour
        case () if alone:
            return alone, alone
        case _:
            names = ", ".join(escaped(member.name or member.peer) for member in run.members[:20])
            raise UserMistake(f"name two of the peers here, the learner first: {names}")


def _recorded(case: Case, why: str) -> Explanation:
    """The explanation from the records alone; `why` says why nothing is measured."""
    return explained(case, proposals(case), losses={}, without=LeaveOneOut(why=why))


def _measured(run: HistoryRun, case: Case) -> Explanation:
    found = _at_hand(run, case)
    if isinstance(found, str):
        return _recorded(case, found)
    home, inputs = found
    try:
        with progress_stages(Console(stderr=True)) as stages:
            return _again(case, load_config(home.config), inputs, stages)
    except UserMistake as error:
        return _recorded(case, f"it could not be measured ({error})")
    except MemoryError:
        return _recorded(case, "there is too little memory to measure it")


def _home_of(run: HistoryRun, case: Case) -> Home:
    # Not the record of the case, which is another one where it leaves out neighbours of other bases.
    written = case.member.rounds[case.record.round]
    files = (
        file
        for file, history in run.files.items()
        if any(entry.record is written for entry in history.entries)
    )
    return Home(next(files).parent)


def _blocked(run: HistoryRun, case: Case) -> str | None:
    found = read_blocked(_home_of(run, case).folder).get(case.other)
    return escaped(found.why) if found else None


def _at_hand(run: HistoryRun, case: Case) -> tuple[Home, MergeInputs] | str:
    """The home and the merge inputs that measuring needs, or why they are missing."""
    if case.index is None:
        return "it did not take part in this round"
    home = _home_of(run, case)
    if not home.config.is_file():
        return "adapters are kept in a peer's home only, and this history lies in none"
    inputs = read_merge_inputs(home.state)
    if inputs is None or inputs.peer != case.member.peer:
        return "this home keeps no adapters to measure (peer.keep_neighbours in peer.toml)"
    if inputs.round != case.record.round:
        return f"the adapters that this home keeps are those of round {inputs.round}"
    row = tuple((one.peer, one.weight) for one in inputs.members)
    if row != tuple((one.peer, one.weight) for one in case.record.seen):
        return "the adapters that this home keeps are not those of this record"
    return home, inputs


def _again(case: Case, config: PeerConfig, inputs: MergeInputs, stages: Stages) -> Explanation:
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.exhaustion import is_exhaustion
    from peers.commands.explain.measuring import Reopened

    disable_progress_bar()
    try:
        bench = Reopened(config.learner(), inputs, stages)
        made = proposals(case, _afterwards(case, bench, stages))
        leaving = _leaving(case)
        rows = dict.fromkeys((case.row, *leaving, *rows_of(made)))
        losses = bench.losses(tuple(rows), stages)
    except RuntimeError as error:
        if not is_exhaustion(error):
            raise
        raise MemoryError from None
    without = LeaveOneOut(why="it is about the peer itself")
    if leaving:
        as_used, home, spread = (losses[row] for row in (case.row, *leaving))
        without = LeaveOneOut(
            as_used=bench.mean(as_used),
            kept_at_home=bench.mean(home),
            kept_at_home_error=bench.error(home, as_used),
            spread=bench.mean(spread),
            spread_error=bench.error(spread, as_used),
        )
    means = {row: bench.mean(losses_W) for row, losses_W in losses.items()}
    return explained(case, made, losses=means, without=without)


def _afterwards(case: Case, bench: Reopened, stages: Stages) -> MeasuredCandidates:
    """The evidence that other strategies need and the round did not measure."""
    known = evidence_of(case.trust) if case.trust else ()
    measured = bench.distances([kind for kind in bench.kinds if kind not in known], stages)
    if case.trust is None:
        return measured
    return replace(measured, learned=bench.learned(beginning(case), case.trust, stages))


def _leaving(case: Case) -> tuple[Row, ...]:
    """The rows without the neighbour; none where the page is about the peer's own weight."""
    return without_entry(case.row, case.index) if case.index else ()
