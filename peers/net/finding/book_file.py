"""The file of an address book: peers, and the addresses at which a dial has found them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from peers.net.addresses import Address, parse_multiaddress
from peers.net.host import PeerId
from trust.files import flush_folder, make_private_folder, write_whole

MAX_BOOK_BYTES: Final = 2**20
"""Twice what a full book with the longest addresses takes on disk."""


def write_book(path: Path, peers: Mapping[PeerId, Sequence[str]]) -> None:
    """Write the transports of each peer, most promising first, atomically. Raises `OSError`."""
    make_private_folder(path.parent)
    data = json.dumps({"v": 1, "peers": peers}, indent=1).encode("ascii")
    write_whole(path, lambda file: file.write(data), mode=0o600, durable=True)
    flush_folder(path.parent)


def read_book(path: Path) -> list[Address]:
    """The addresses, of each peer the most promising last. A damaged book, or none, holds no addresses."""
    found: list[Address] = []
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        if path.stat().st_size > MAX_BOOK_BYTES:
            return found
        peers = cast("object", json.loads(path.read_text(encoding="ascii"))["peers"])
        if not isinstance(peers, dict):
            return found
        for peer, transports in cast("dict[object, object]", peers).items():
            if not isinstance(peer, str) or not isinstance(transports, list):
                continue
            for transport in reversed(cast("list[object]", transports)):
                with suppress(ValueError):
                    found.append(parse_multiaddress(f"{transport}/p2p/{peer}"))
    return found
