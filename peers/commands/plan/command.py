"""The command `gossipllm plan`. Heavy imports wait until something is measured."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from gossipllm.base import corpus_file
from gossipllm.device.plan.paper import CHINCHILLA, PaperFleet, read_fleet
from gossipllm.device.plan.planner import NoPlanError, planned, planned_fleet
from peers.commands.plan.measuring import measured_subject
from peers.commands.plan.page import fleet_page, page, settings_of
from peers.home.config import PeerConfig, load_config
from peers.home.editing import change_settings
from peers.home.folder import Home
from trust.errors import UserMistake


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Plan a run of so many tokens, whose learning rate falls to its end.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=20.0,
    show_default=True,
    metavar="S",
    help="How long to measure, about.",
)
@click.option("--apply", "applied", is_flag=True, help="Write the settings into the peer.toml of DIR.")
@click.option(
    "--devices",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Plan a fleet on paper instead: a TOML file, see below. Nothing is measured.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document (below) instead of a page.")
def plan(
    folder: Path | None,
    tokens: int | None,
    seconds: float,
    applied: bool,
    devices: Path | None,
    as_json: bool,
) -> None:
    """Propose how the peer of DIR trains on this device: batch, steps of a round, learning rate, memory.

    Takes real training steps with the peer's model and text, at several batch sizes, and changes nothing in the home.
    Without DIR, the embedded model is measured on an embedded text. Stop a peer that runs here first: it would share
    the processors. With --apply the settings go into peer.toml; all else in it stays as it is.

    \b
    Examples:
      gossipllm plan
      gossipllm plan ~/.gossipllm --apply
      gossipllm plan ~/.gossipllm --tokens 2000000 --json
      gossipllm plan --devices fleet.toml

    \b
    A fleet (all keys of a device but name have defaults, as all of [work]):
      [work]
      tokens = 10_000_000      of all devices together
      parameters = 4_262_144   full = false        width = 256
      window_tokens = 128      update_kb = 315      neighbours = 4
      held_mb = 15             token_kb = 82        critical_tokens = 640
      [[devices]]
      name = "phone"           count = 6
      tokens_s = 400           or flops = 7e9, which training reaches
      fixed_s = 0.03           memory_mb = 1500
      link_kb_s = 500          watts = 4

    \b
    JSON, schema 1:
      schema      1
      plan        device, form, micro_windows, accumulation,
                  batch_windows, steps, learning_rate, ...
      settings    dotted key: value
      measured    points[][] (tokens, seconds), dtype, ...
      pace        fixed_s, token_s
      link_bytes_s, link_from, energy, applied
                  with --devices instead of these:
      fleet       plans[], counts[], rounds, seconds, tokens,
                  bytes, joules
    """
    try:
        if devices is not None:
            if folder is not None or applied:
                raise UserMistake("--devices plans on paper: leave out DIR and --apply")
            _plan_fleet(devices, tokens=tokens, as_json=as_json)
        else:
            _plan_peer(folder, tokens=tokens or 0, seconds=seconds, applied=applied, as_json=as_json)
    except NoPlanError as error:
        raise UserMistake(str(error)) from None


def _plan_fleet(file: Path, *, tokens: int | None, as_json: bool) -> None:
    paper = read_fleet(file)
    if tokens is not None:
        paper = replace(paper, work=replace(paper.work, tokens=tokens))
    work = paper.planned_work()
    fleet = planned_fleet(paper.planned_devices(), [one.count for one in paper.devices], work)
    if as_json:
        click.echo(_json({"schema": 1, "fleet": fleet}))
        return
    for line in fleet_page(fleet, work):
        click.echo(line)
    if line := _chinchilla(paper):
        click.echo(line)


def _chinchilla(paper: PaperFleet) -> str:
    work = paper.work
    if not work.full:
        return ""
    wanted = CHINCHILLA * work.parameters
    return f"pre-training makes most of its operations at about {wanted:,} tokens, 20 for each parameter"


def _plan_peer(folder: Path | None, *, tokens: int, seconds: float, applied: bool, as_json: bool) -> None:
    home, config = _peer(folder)
    if applied and home is None:
        raise UserMistake("--apply needs DIR, the home whose peer.toml it changes")
    waiting = _silent if as_json else _told
    subject = measured_subject(config, home, seconds=seconds, tokens=tokens, on_phase=waiting)
    proposed = planned(subject.device, subject.work)
    settings = settings_of(proposed, subject)
    if applied and home is not None:
        change_settings(home.config, settings)
    if as_json:
        document = {
            "schema": 1,
            "plan": proposed,
            "settings": settings,
            "measured": subject.measured,
            "pace": subject.pace,
            "link_bytes_s": subject.device.link_bytes_s,
            "link_from": subject.link_from,
            "energy": subject.energy,
            "applied": applied,
        }
        click.echo(_json(document))
        return
    for line in page(proposed, subject, settings):
        click.echo(line)
    if home is not None:
        where = shlex.quote(str(home.folder))
        click.echo(
            f"written into {home.config}" if applied else f"to take it: gossipllm plan {where} --apply"
        )


def _peer(folder: Path | None) -> tuple[Home | None, PeerConfig]:
    """The home and its settings; the defaults with the embedded text where there is none."""
    if folder is None:
        config = PeerConfig()
        return None, replace(config, data=replace(config.data, path=str(corpus_file("en"))))
    home = Home(folder.expanduser())
    home.check()
    return home, load_config(home.config, noticed=lambda notice: click.echo(notice, err=True))


def _json(document: Mapping[str, object]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _told(phase: str, number: int) -> None:
    click.echo(f"timing passes of {number} windows" if phase == "timing" else phase, err=True)


def _silent(phase: str, number: int) -> None:
    del phase, number
