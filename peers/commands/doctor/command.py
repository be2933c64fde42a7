"""The command `gossipllm doctor`: all checks in turn, those that load torch last."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from gossipllm.config import ModelConfig
from peers.commands.doctor import homes, machine, models, other_peer
from peers.commands.doctor.findings import Finding, Findings
from peers.commands.doctor.output import FindingLines, FindingsDocument
from peers.core.saved import Saved
from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.identity import Identity
from peers.net.addresses import parse_listen_address
from peers.net.config import NetworkConfig
from trust.errors import UserMistake
from wire.messages import Fingerprints, Greeting

Waiting = Callable[[str], AbstractContextManager[object]]
"""A context in which a text is shown that says what the user is waiting for."""


@dataclass(frozen=True, slots=True)
class _Own:
    """What was read from the home. `identity` is None while its peer runs."""

    config: PeerConfig | None = None
    identity: Identity | None = None
    saved: Saved | None = None


@click.command()
@click.option(
    "--home", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Look at this peer's home, too."
)
@click.option(
    "--join", metavar="MULTIADDR", help="Can this peer be reached, and does its network fit that of --home?"
)
@click.option(
    "--timeout",
    "deadline_s",
    type=click.FloatRange(0.5, 600),
    default=20.0,
    show_default=True,
    metavar="S",
    help="Seconds to reach it in.",
)
@click.option("--quick", is_flag=True, help="Leave out what takes seconds because it loads torch.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document (see above) instead of lines.")
def doctor(folder: Path | None, join: str | None, deadline_s: float, quick: bool, as_json: bool) -> None:
    """Check whether this device is fit for a peer, and say what to do where it is not.

    Looks at Python and its libraries, torch and its devices, disk, memory, clock, sockets and models; with --home at
    a peer's folder, with --join at another peer. It only reads: nothing in the home is changed, also while the peer
    runs. The peer of --join is called by the identity of --home while that one does not run, else by one that is
    thrown away; it only sees a connection, so the call leaves no trace there.

    Ends with exit code 0 where nothing failed, else with 1.

    \b
    Examples:
      gossipllm doctor
      gossipllm doctor --home ~/.gossipllm --quick
      gossipllm doctor --home ~/.gossipllm \\
        --join /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...
      gossipllm doctor --json | jq .healthy

    \b
    JSON, schema 1:
      schema, healthy  1; whether nothing failed
      findings[]       level ("ok", "warn" or "fail"), what,
                       value, cure
    """
    console, err = Console(highlight=False), Console(stderr=True, highlight=False)
    showing = FindingsDocument(console) if as_json else FindingLines(console)

    def waiting(what: str) -> AbstractContextManager[object]:
        return err.status(what) if err.is_terminal else nullcontext()

    findings: list[Finding] = []
    for finding in examined(folder, join, deadline_s=deadline_s, quick=quick, waiting=waiting):
        findings.append(finding)
        showing.show(finding)
    showing.end(findings)
    sys.exit(int(any(one.level == "fail" for one in findings)))


def examined(
    folder: Path | None, join: str | None, *, deadline_s: float, quick: bool, waiting: Waiting
) -> Iterator[Finding]:
    """All findings, in turn. A home that cannot be read gives a finding and is then treated as missing."""
    home = None if folder is None else Home(folder.expanduser())
    yield from machine.python()
    yield from machine.libraries()
    yield from machine.disk(home.folder if home else Path())
    yield from machine.memory()
    yield from machine.clock()
    own = _Own() if home is None else (yield from _looked_at(home))
    yield from _sockets(home, own.config)
    yield from models.embedded_bases()
    yield from models.hub_cache()
    if own.config is not None:
        yield from models.named(own.config.model.name)
    theirs = None
    if join is not None:
        whose = "this home's" if own.identity else "a throwaway one: the call leaves no trace there"
        yield Finding("ok", "identity", whose)
        identity = own.identity or Identity.generate()
        theirs = yield from _awaited(other_peer.reach(join, identity, deadline_s=deadline_s), waiting)
    computes = False if quick else (yield from _computing(own.config))
    if computes and own.config is not None:
        yield from _preflight(own.config, folder or Path())
    if theirs is not None:
        ours = yield from _fingerprints(own, waiting, computes=computes)
        if own.config is not None and ours is not None:
            yield from other_peer.compared(theirs, ours, own.config.peer.network)
        if home is not None:
            yield from homes.expectation(home)


def _awaited(
    findings: Generator[Finding, None, Greeting | None], waiting: Waiting
) -> Generator[Finding, None, Greeting | None]:
    """`findings`, with a text for the user between them: both may be on one terminal, so never at the same time."""
    while True:
        try:
            with waiting("reaching that peer"):
                finding = next(findings)
        except StopIteration as end:
            return end.value
        yield finding


def _looked_at(home: Home) -> Generator[Finding, None, _Own]:
    read = homes.config_of(home)
    if isinstance(read, Finding):
        yield read
        return _Own()
    config, automatic = read
    yield from homes.folder(home)
    yield Finding("ok", "settings", f"{home.config.name} is valid")
    if automatic.line:
        yield Finding("ok", "auto", automatic.line)
    identity = homes.identity_of(home)
    yield identity if isinstance(identity, Finding) else Finding("ok", "key", f"peer {identity.peer_id}")
    found = homes.saved_of(home)
    yield from homes.state(found)
    yield from homes.history(home)
    yield from homes.lock(home)
    # A second connection by the same identity would end the first, which the running peer needs.
    usable = None if isinstance(identity, Finding) or homes.held_by(home) else identity
    return _Own(config, usable, None if isinstance(found, UserMistake) else found.saved)


def _sockets(home: Home | None, config: PeerConfig | None) -> Findings:
    if home is not None and homes.held_by(home):
        yield Finding("ok", "listening", "not checked: the peer runs, and has its port")
        return
    network = NetworkConfig() if config is None else config.network
    yield from machine.sockets(*parse_listen_address(network.listen))


def _fingerprints(
    own: _Own, waiting: Waiting, *, computes: bool
) -> Generator[Finding, None, Fingerprints | None]:
    """The fingerprints of the home: computed from its settings or, where torch cannot be loaded, those last saved."""
    if own.config is None:
        yield Finding("ok", "fits", "not compared: add --home DIR to compare it with a home's network")
        return None
    if not computes:
        if own.saved is None:
            yield Finding("ok", "fits", "not compared: that takes torch here, and no --quick")
        return None if own.saved is None else own.saved.fingerprints
    from peers.commands.doctor.fingerprints import fingerprints_of

    try:
        with waiting("loading the model, to compare what both must have in common"):
            return fingerprints_of(own.config)
    except UserMistake as error:
        yield Finding("fail", "model", str(error), "correct it in peer.toml; nothing was compared")
        return None


def _preflight(config: PeerConfig, folder: Path) -> Findings:
    from peers.commands.doctor import preflights

    yield from preflights.preflight_of(config, folder)


def _computing(config: PeerConfig | None) -> Generator[Finding, None, bool]:
    """Whether there is anything that computes."""
    from peers.commands.doctor import devices

    loaded = list(devices.torch_itself())
    yield from loaded
    if loaded[-1].level == "fail":
        return False
    yield from devices.devices()
    yield from devices.speeds(ModelConfig() if config is None else config.model)
    return True
