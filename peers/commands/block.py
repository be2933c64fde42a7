"""The commands `gossipllm trust block` and `gossipllm trust unblock`: take nothing of a peer any more."""

from __future__ import annotations

import time
from pathlib import Path

import click

from peers.home.folder import Home
from trust.errors import UserMistake
from trust.inspection.reading.files import find_peer
from trust.names import escaped
from trust.record.blocked import MAX_WHY, BlockedPeer, read_blocked, write_blocked
from trust.record.history import Begun, PeerName, Refusal, Round
from trust.record.log import read_history

_HOME = click.option(
    "--home",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("~/.gossipllm"),
    show_default=True,
    metavar="DIR",
    help="Home of the peer that blocks.",
)


@click.command()
@click.argument("who", metavar="WHO")
@_HOME
@click.option("--why", default="", metavar="TEXT", help="Kept with the block, for yourself.")
def block(who: str, folder: Path, why: str) -> None:
    """Take nothing of the peer WHO any more: no connection, no update, no weight.

    WHO is a peer's id, the beginning or end of one, or a name that your peer has seen. Any peer can take a name, so an
    id is what is blocked. A running peer notices within seconds. Nobody is told, and others may still listen to WHO.

    \b
    Examples:
      gossipllm trust block mallory --why "spoils every merge"
      gossipllm trust block fKae2cJ7Nr --home clinic
    """
    home = _home(folder)
    if len(why) > MAX_WHY:
        raise UserMistake(f"--why must have at most {MAX_WHY} characters, got {len(why)}")
    names = _known(home)
    peer = _found(who, names)
    if peer == _own_id(home):
        raise UserMistake("this is the peer of this home; it cannot block itself")
    blocked = read_blocked(home.folder)
    if peer in blocked:
        click.echo(f"{_label(peer, names.get(peer, ''))} was blocked already")
        return
    new = BlockedPeer(peer=peer, name=names.get(peer, "")[:64], why=why, at_s=time.time())
    write_blocked(home.folder, (*blocked.values(), new))
    click.echo(f"{_label(peer, new.name)} is blocked; undo it with: gossipllm trust unblock {peer}")


@click.command()
@click.argument("who", metavar="WHO")
@_HOME
def unblock(who: str, folder: Path) -> None:
    """Take part with the blocked peer WHO again. It starts as any stranger does.

    WHO is the id of a blocked peer, the beginning or end of it, or its name.

    \b
    Examples:
      gossipllm trust unblock mallory
      gossipllm trust unblock fKae2cJ7Nr --home clinic
    """
    home = _home(folder)
    blocked = read_blocked(home.folder)
    if not blocked:
        raise UserMistake(f"{home.folder}: no peer is blocked")
    peer = find_peer(who, [(one.peer, one.name) for one in blocked.values()])
    gone = blocked.pop(peer)
    write_blocked(home.folder, blocked.values())
    click.echo(f"{_label(peer, gone.name)} is no longer blocked")


def _home(folder: Path) -> Home:
    home = Home(folder.expanduser())
    home.check()
    return home


def _known(home: Home) -> dict[PeerName, str]:
    """Id -> announced name (may be empty) of every peer in the history."""
    if not home.history.exists():
        return {}
    try:
        entries = read_history(home.history).entries
    except OSError as error:
        raise UserMistake(f"{home.history} cannot be read: {error.strerror}") from None
    names: dict[PeerName, str] = {}
    for record in (entry.record for entry in entries):
        match record:
            case Begun():
                names[record.peer] = record.name
            case Round():
                names |= {seen.peer: seen.name or names.get(seen.peer, "") for seen in record.seen}
            case Refusal():
                names.setdefault(record.about, "")
            case _:
                """Notes name no peer."""
    return names


def _own_id(home: Home) -> PeerName:
    from peers.identity import Identity

    try:
        return Identity.load(home.identity).peer_id
    except OSError as error:
        raise UserMistake(f"{home.identity} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserMistake(str(error)) from None


def _found(who: str, names: dict[PeerName, str]) -> PeerName:
    # A peer that was never met can be blocked by its id, which cannot be mistaken for a name: names are shorter.
    if who not in names and (peer := _peer_id(who)) is not None:
        return peer
    if not names:
        raise UserMistake(f'no peer is known yet, so "{escaped(who)}" must be a whole peer id')
    return find_peer(who, list(names.items()))


def _peer_id(text: str) -> PeerName | None:
    """The canonical spelling of a peer id; None where the text is none."""
    from peers.identity import canonical_peer_id

    try:
        return canonical_peer_id(text)
    except ValueError:
        return None


def _label(peer: PeerName, name: str) -> str:
    return f"{escaped(name)} ({peer})" if name else peer
