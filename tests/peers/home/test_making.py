"""A home is made whole, and what an interrupted `init` left is made whole with the same identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from peers.home.config import PeerConfig, load_config
from peers.home.folder import Home
from peers.home.making import check_new, make_home
from peers.identity import Identity
from trust.errors import UserMistake


def test_an_identity_that_an_interrupted_init_wrote_is_kept(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    key = Identity.generate()
    key.save(home.identity)

    check_new(home)
    made = make_home(home, PeerConfig())

    assert made.peer_id == key.peer_id
    assert load_config(home.config) == PeerConfig()


def test_a_whole_home_is_not_touched(tmp_path: Path) -> None:
    home = Home(tmp_path)
    key = make_home(home, PeerConfig()).peer_id

    with pytest.raises(UserMistake, match="is a peer's home already"):
        make_home(home, PeerConfig())

    assert Identity.load(home.identity).peer_id == key


def test_a_home_without_its_key_gets_no_other(tmp_path: Path) -> None:
    home = Home(tmp_path)
    make_home(home, PeerConfig())
    home.identity.unlink()

    with pytest.raises(UserMistake, match=r"has a peer\.toml and no identity\.key: put the key back"):
        make_home(home, PeerConfig())

    assert not home.identity.exists()


def test_a_key_that_is_damaged_is_not_replaced(tmp_path: Path) -> None:
    home = Home(tmp_path)
    Identity.generate().save(home.identity)
    home.identity.write_bytes(home.identity.read_bytes()[:20] + bytes(48))
    before = home.identity.read_bytes()

    with pytest.raises(UserMistake, match=r"identity\.key does not hold a whole .* key: put it back"):
        make_home(home, PeerConfig())

    assert home.identity.read_bytes() == before
