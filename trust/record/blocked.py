"""The block list of a home: peers of which its owner wants nothing. A small JSON file that the running peer notices.

    {"version": 1, "peers": [{"peer": "12D3KooW...", "name": "mallory", "why": "spoils merges", "at_s": 1790000000}]}

It is replaced as a whole, so a reader never sees half of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from trust.errors import UserMistake
from trust.files import flush_folder, unwritten, write_whole
from trust.record.history import PeerName

BLOCKED_FILE: Final = "blocked.json"
MAX_BLOCKED: Final = 10_000
"""Most peers on a list. More would be a flood of identities, against which blocking them one by one is no help."""
MAX_WHY: Final = 200


class BlockedPeer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`name` is the name that the peer had announced, empty if none is known; `at_s` when it was blocked, in Unix
    seconds."""

    peer: Annotated[PeerName, msgspec.Meta(min_length=1, max_length=128)]
    name: Annotated[str, msgspec.Meta(max_length=64)] = ""
    why: Annotated[str, msgspec.Meta(max_length=MAX_WHY)] = ""
    at_s: float = 0.0


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1] = 1
    peers: Annotated[tuple[BlockedPeer, ...], msgspec.Meta(max_length=MAX_BLOCKED)] = ()


def read_blocked(folder: Path) -> dict[PeerName, BlockedPeer]:
    """The blocked peers of the home in `folder`, by id; none where there is no list.

    Raises `UserMistake` for a list that cannot be read: it would be unsafe to take it for an empty one.
    """
    path = folder / BLOCKED_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserMistake(
            f"{path} is no block list ({error}); mend it, or remove it and block anew"
        ) from None
    return {one.peer: one for one in found.peers}


def write_blocked(folder: Path, peers: Iterable[BlockedPeer]) -> None:
    """Replace the list. Raises `UserMistake`, and then the earlier list is unchanged."""
    path = folder / BLOCKED_FILE
    kept = tuple(sorted(peers, key=lambda one: one.peer))
    if len(kept) > MAX_BLOCKED:
        raise UserMistake(f"{path} holds {MAX_BLOCKED:,} peers, and no more; unblock some first")
    data = msgspec.json.format(msgspec.json.encode(_File(peers=kept)), indent=2)
    try:
        write_whole(path, lambda file: file.write(data), mode=0o600, durable=True)
        flush_folder(folder)
    except OSError as error:
        raise UserMistake(unwritten(path, error)) from None
