"""Makes the home of a new peer: a private folder, an identity, and `peer.toml`, which is written last.

So a folder with `peer.toml` is a whole home, and one with an identity alone is what an interrupted `init` left. That
identity is kept: no key that was ever written is replaced by another.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from contextlib import suppress

from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.home.settings import write_config
from peers.identity import Identity
from trust.errors import UserMistake
from trust.files import DISK_ERRORS, free_space, make_private_folder


def check_new(home: Home) -> None:
    """Raises `UserMistake` for a folder that is a home already, or what is left of one that had another identity."""
    folder = shlex.quote(str(home.folder))
    if not home.config.exists():
        return
    if not home.identity.exists():
        raise UserMistake(
            f"{home.folder}: has a {home.config.name} and no {home.identity.name}: put the key back from a copy, or "
            "make a new peer in another folder"
        )
    raise UserMistake(f"{home.folder}: is a peer's home already; run it with: gossipllm run {folder}")


def make_home(
    home: Home, config: PeerConfig, *, every: bool = False, automatic: Collection[str] = ()
) -> Identity:
    """Make the home and return its identity. `every` writes all settings into `peer.toml`; those that are `automatic`,
    by dotted key, say "auto" there.

    Raises `UserMistake` for a folder that is a home already, and where nothing can be written; what is there then can
    be made whole by calling this again.
    """
    check_new(home)
    try:
        make_private_folder(home.folder)
        home.folder.chmod(0o700)
        identity = _kept(home)
        if identity is None:
            identity = Identity.generate()
            identity.save(home.identity)
        write_config(home.config, config, every=every, automatic=automatic)
    except OSError as error:
        free = f", {free_space(home.folder)}" if error.errno in DISK_ERRORS else ""
        raise UserMistake(
            f"{home.folder}: no home can be made there ({error.strerror or error}{free})"
        ) from None
    return identity


def _kept(home: Home) -> Identity | None:
    """The identity of an interrupted `init`; None where there is no file of it."""
    with suppress(FileNotFoundError):
        try:
            return Identity.load(home.identity)
        except ValueError as error:
            raise UserMistake(str(error)) from None
    return None
