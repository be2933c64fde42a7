"""The command `gossipllm report`: writes one HTML file about a run, which opens in any browser, also offline."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console

from sim.reporting.collecting import collect
from sim.reporting.document import ReportDocument
from sim.reporting.page import GENERATOR, page
from trust.errors import UserMistake
from trust.files import write_output
from trust.progress import SilentStages, progress_stages

_HEAD_BYTES = 2048
"""Bytes from the start of a file in which the meta element of the generator is searched."""


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="File to write. An existing report is replaced.",
)
@click.option("--no-config", is_flag=True, help="Leave the configuration out.")
@click.option("--force", is_flag=True, help="Also replace a file that is not a report.")
@click.option("--json", "as_json", is_flag=True, help="Print the data (schema 1, below), write no file.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def report(path: Path, out: Path, no_config: bool, force: bool, as_json: bool, quiet: bool) -> None:
    """Write one HTML file about PATH: a peer's home, a folder of homes, one simulated run, or all of a
    simulation's results.

    The page shows the trust matrix and the network round by round, losses, seconds and bytes of each peer, the
    methods side by side where there are several, the configuration, versions and hashes. It loads nothing from
    anywhere and works offline, on a phone, in print, and without JavaScript, which then shows the last round.

    What is in it, before you share it: names and ids of peers, the numbers above, names of files below PATH, and
    the configuration, in which paths of your device may stand (--no-config leaves it out). Never in it: text,
    adapters, keys, addresses.

    \b
    Examples:
      gossipllm report ~/.gossipllm
      gossipllm report runs/demo -o demo.html
      gossipllm report results/languages -o languages.html
      gossipllm report results/languages/s3/seed-0 --no-config
      gossipllm report runs/demo --json | jq '.runs[0].peers[].totals'

    \b
    JSON, schema 1 (numbers are rounded; not finite: null):
      schema, title, program
      first           place in runs that the page opens with
      runs[]          title, method, seed, finished, strategy,
                      kinds[] (what distances are of),
                      recorded (rounds there are),
                      rounds[] (those held here),
                      began_s, ended_s, peers[]
        peers[]       peer (id), name, label, category, device,
                      place [x, y], series, totals
        series        rounds[], and for each of them
                      self_weight[], trust_alone[],
                      trust_merged[], test_alone[],
                      test_merged[], temperature[], guard[],
                      seen[][]: [place in peers, weight,
                      distance, error, age, its_round,
                      relation]
        totals        rounds, tokens, refusals, train_s,
                      gather_s, merge_s, sent{}, received{},
                      spent[] (method of the joules, rounds,
                      joules, processor_s, peak_bytes, sent,
                      received); null for a peer without a record
      comparison      table.json of a simulation, or null
      configuration[] path, text
      versions[]
      fingerprints[]  what, value, peers
      files[]         path, bytes, sha256, records,
                      torn_bytes, why
      notes[]
    """
    if not as_json:
        try:
            _check_place(out, force=force)
        except OSError as error:
            raise UserMistake(f"{out} cannot be written: {error.strerror}") from None
    document = _collected(path, config=not no_config, quiet=quiet)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())
        return
    data = page(document).encode()
    write_output(out, lambda file: file.write(data))
    click.echo(f"written to {out} ({len(data) / 1e6:.2f} MB); open it in a browser")


def _collected(path: Path, *, config: bool, quiet: bool) -> ReportDocument:
    if quiet:
        return collect(path, SilentStages(), config=config)
    with progress_stages(Console(stderr=True, highlight=False)) as stages:
        return collect(path, stages, config=config)


def _check_place(out: Path, *, force: bool) -> None:
    """Check the output path before the histories are read, so that a wrong path costs no time.

    Raises `UserMistake`, and `OSError` for an impossible file name.
    """
    if out.is_dir():
        raise UserMistake(f"{out} is a folder; name a file with -o")
    if not out.parent.is_dir():
        raise UserMistake(f"{out.parent} does not exist; make that folder, or choose another file with -o")
    if out.exists() and not force and not _is_report(out):
        raise UserMistake(f"{out} is there and is no report; choose another file with -o, or use --force")


def _is_report(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return f'content="{GENERATOR} '.encode() in opened.read(_HEAD_BYTES)
    except OSError:
        return False
