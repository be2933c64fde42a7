"""One key, one id, one file; and libp2p's own opinion of each."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.serialization import deserialize_private_key
from libp2p.peer.id import ID

from peers.identity import Identity, canonical_peer_id, is_raw_peer_id, peer_id_of, public_key_of, verify

SEED = bytes(range(32))


def test_peer_id_is_the_one_that_libp2p_computes() -> None:
    for number in range(5):
        seed = bytes([number]) * 32
        pair = create_new_key_pair(seed)
        identity = Identity(seed)
        assert identity.public_key == pair.public_key.to_bytes()
        assert identity.peer_id == str(ID.from_pubkey(pair.public_key))
        assert is_raw_peer_id(ID.from_pubkey(pair.public_key).to_bytes())
    assert Identity(SEED).peer_id == "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"


def test_id_and_key_are_functions_of_each_other() -> None:
    identity = Identity.generate()
    assert public_key_of(identity.peer_id) == identity.public_key
    assert peer_id_of(public_key_of(identity.peer_id)) == identity.peer_id


@given(st.text(max_size=80))
def test_any_text_is_an_id_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert public_key_of(canonical_peer_id(text)) == public_key_of(text)


@pytest.mark.parametrize("spelling", ["{} ", " {}", "{}\n", "\t{}\r\n"])
def test_an_id_with_blanks_around_it_is_that_id(spelling: str) -> None:
    peer = Identity(SEED).peer_id
    assert canonical_peer_id(spelling.format(peer)) == peer


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_the_newer_spelling_of_an_id_is_that_id(case: Callable[[str], str]) -> None:
    peer = Identity(SEED).peer_id
    raw = bytes.fromhex("0172") + base58.b58decode(peer)
    assert canonical_peer_id(case("b" + base64.b32encode(raw).decode().rstrip("="))) == peer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12D3KooW",
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",  # a hash of an RSA key
        "16Uiu2HAmPLe7Mzm8TsYUubgCAW1aJoeFScxrLj8ppHFivPo97bUZ",  # secp256k1
        "1" * 5000,
        Identity(SEED).peer_id + "x",
        Identity(SEED).peer_id[:20] + " " + Identity(SEED).peer_id[20:],
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",  # the CID of a file
    ],
)
def test_other_ids_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        public_key_of(text)


def test_signatures_are_deterministic_and_bind_key_and_message() -> None:
    one, other = Identity(SEED), Identity.generate()
    signature = one.sign(b"message")
    assert signature == Identity(SEED).sign(b"message")
    assert len(signature) == 64
    assert verify(one.public_key, b"message", signature)
    assert not verify(one.public_key, b"massage", signature)
    assert not verify(other.public_key, b"message", signature)
    assert not verify(one.public_key, b"message", other.sign(b"message"))


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=70))
def test_verify_never_raises(key: bytes, message: bytes, signature: bytes) -> None:
    assert not verify(key, message, signature)
    assert not verify(key[:32].ljust(32, b"\0"), message, signature[:64].ljust(64, b"\0"))


def test_a_saved_identity_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "home" / "identity.key"
    identity = Identity.generate()
    identity.save(path)
    assert Identity.load(path).peer_id == identity.peer_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["identity.key"]
    identity.save(path)
    assert Identity.load(path).peer_id == identity.peer_id


def test_the_file_is_the_protobuf_of_the_libp2p_specification(tmp_path: Path) -> None:
    identity = Identity(SEED)
    identity.save(tmp_path / "key")
    data = (tmp_path / "key").read_bytes()
    assert data == bytes.fromhex("08011240") + SEED + identity.public_key


def test_what_py_libp2p_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    data = create_new_key_pair(SEED).private_key.serialize()
    assert deserialize_private_key(data).to_bytes() == SEED
    path.write_bytes(data)
    path.chmod(0o600)
    assert Identity.load(path).peer_id == Identity(SEED).peer_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    Identity.generate().save(path)
    path.chmod(mode)
    with pytest.raises(ValueError, match="chmod 600"):
        Identity.load(path)


@pytest.mark.parametrize(
    "data", [b"", b"x" * 68, bytes.fromhex("08011240") + bytes(63), b"\x08\x01\x12\x40" * 17]
)
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(ValueError, match="key"):
        Identity.load(path)


def test_the_private_key_is_not_shown() -> None:
    identity = Identity(SEED)
    assert repr(identity) == f"Identity({identity.peer_id})"


@pytest.mark.parametrize("place", range(68))
def test_a_file_with_one_wrong_bit_still_holds_the_identity_and_is_mended(tmp_path: Path, place: int) -> None:
    path = tmp_path / "key"
    identity = Identity(bytes(range(32)))
    identity.save(path)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1 << place % 8
    path.write_bytes(damaged)

    assert Identity.load(path).peer_id == identity.peer_id
    assert path.read_bytes() == whole


@pytest.mark.parametrize("left", [67, 52])
def test_a_file_that_lost_its_end_still_holds_the_identity(tmp_path: Path, left: int) -> None:
    path = tmp_path / "key"
    identity = Identity.generate()
    identity.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:left])

    assert Identity.load(path).peer_id == identity.peer_id
    assert path.read_bytes() == whole


@pytest.mark.parametrize("left", [0, 4, 35, 40, 51])
def test_what_does_not_tell_the_key_for_sure_is_refused_and_left_as_it_is(tmp_path: Path, left: int) -> None:
    path = tmp_path / "key"
    Identity.generate().save(path)
    path.write_bytes(path.read_bytes()[:left])
    cut = path.read_bytes()

    with pytest.raises(ValueError, match="put it back from a copy"):
        Identity.load(path)

    assert path.read_bytes() == cut


def test_two_wrong_bits_of_the_seed_are_no_other_identity(tmp_path: Path) -> None:
    path = tmp_path / "key"
    Identity.generate().save(path)
    damaged = bytearray(path.read_bytes())
    damaged[10] ^= 3
    path.write_bytes(damaged)

    with pytest.raises(ValueError, match="put it back from a copy"):
        Identity.load(path)
