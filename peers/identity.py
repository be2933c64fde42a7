"""A peer's identity: an Ed25519 key, the peer id that follows from it, and the file that holds it.

A peer id is the key itself in libp2p's spelling: base58 of an identity multihash (0x00, length) around the
protobuf `PublicKey{Type: Ed25519, Data: 32 bytes}`. So the author of an announcement, the other end of a Noise
session and the name in a multiaddress are the same string, and no table has to map them.

The file holds libp2p's protobuf `PrivateKey{Type: Ed25519, Data: seed | public key}`, the 64-byte form of
the libp2p specification, which the Go, Rust and JavaScript libraries read. The forms with 32 bytes (what
py-libp2p writes) and 96 (an old one) are read too. libp2p itself is not imported here, because
that takes half a second and the command line shows peer ids often.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
from pathlib import Path
from typing import Final

import base58
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from trust.files import flush_folder, make_private_folder, write_whole

_PUBLIC_HEAD: Final = bytes.fromhex("002408011220")
"""Identity multihash of 36 bytes; then protobuf field 1 (type) = 1 (Ed25519), field 2 (data) of 32 bytes."""
_CID_HEAD: Final = bytes.fromhex("0172")
"""CID version 1, multicodec libp2p-key."""
_PRIVATE_HEADS: Final = {
    64: bytes.fromhex("08011240"),
    32: bytes.fromhex("08011220"),
    96: bytes.fromhex("08011260"),
}
_KEY_BYTES: Final = 32
_ENOUGH: Final = 16
"""Bytes of the public key that tell the private one for sure: 2**128 others begin with the same."""
_SIGNATURE_BYTES: Final = 64
_MAX_ID_CHARACTERS: Final = 72
"""An inlined Ed25519 id has 52, as a CID 65. base58 decoding takes time quadratic in the length."""


class Identity:
    """A private key. `repr` shows the peer id only."""

    __slots__ = ("_key", "peer_id", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != _KEY_BYTES:
            raise ValueError(f"seed must have {_KEY_BYTES} bytes, got {len(seed)}")
        self._key = SigningKey(seed)
        self.public_key: Final = bytes(self._key.verify_key)
        self.peer_id: Final = peer_id_of(self.public_key)

    @classmethod
    def generate(cls) -> Identity:
        return cls(os.urandom(_KEY_BYTES))

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Raises `ValueError` naming the path if others may read the file or it holds no Ed25519 key.

        A file with one damaged bit, or that lost its end, is mended: the public key in it tells what the private one
        was.
        """
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if os.name == "posix" and mode & 0o077:
                raise ValueError(
                    f"{path} is open to others (mode {mode:o}); it holds a private key: "
                    f"chmod 600 {shlex.quote(str(path))}"
                )
            data = file.read(256)
        for length, head in _PRIVATE_HEADS.items():
            if data.startswith(head) and len(data) == len(head) + length:
                identity = cls(data[len(head) : len(head) + _KEY_BYTES])
                if length == _KEY_BYTES or data[-_KEY_BYTES:] == identity.public_key:
                    return identity
        identity = _mended(data)
        if identity is None:
            raise ValueError(
                f"{path} does not hold a whole libp2p Ed25519 private key: put it back from a copy. Without one, this "
                "identity is lost; gossipllm init NEW_FOLDER makes another"
            )
        with contextlib.suppress(OSError):
            identity.save(path)
        return identity

    def save(self, path: Path) -> None:
        """Atomic, synced, mode 0600; makes the folder 0700 if there is none."""
        make_private_folder(path.parent)
        data = _PRIVATE_HEADS[64] + bytes(self._key) + self.public_key
        write_whole(path, lambda file: file.write(data), mode=0o600, durable=True)
        flush_folder(path.parent)

    @property
    def seed(self) -> bytes:
        """The 32 private bytes, for the library that runs the handshake. Never log."""
        return bytes(self._key)

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same message always gives the same signature (RFC 8032)."""
        return self._key.sign(message).signature

    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"


def _mended(data: bytes) -> Identity | None:
    """The key in the bytes of a damaged file, in the form that `save` writes; None where they do not tell it for sure.

    Seed and public key follow from each other, so an error in one shows in the other: a bit of the head or of the
    public key is not needed, and of 256 seeds that differ in one bit one has this public key.
    """
    head = len(_PRIVATE_HEADS[64])
    seed, public = data[head : head + _KEY_BYTES], data[head + _KEY_BYTES :]
    if not _ENOUGH <= len(public) <= _KEY_BYTES:
        return None
    for flipped in (0, *(1 << bit for bit in range(8 * _KEY_BYTES))):
        candidate = Identity((int.from_bytes(seed, "big") ^ flipped).to_bytes(_KEY_BYTES, "big"))
        wrong = int.from_bytes(public, "big") ^ int.from_bytes(candidate.public_key[: len(public)], "big")
        if wrong.bit_count() <= (not flipped):
            return candidate
    return None


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of the key signed the message; False for malformed keys and signatures."""
    if len(public_key) != _KEY_BYTES or len(signature) != _SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(public_key).verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True


def peer_id_of(public_key: bytes) -> str:
    """`12D3KooW...`. Raises `ValueError` unless the key has 32 bytes."""
    if len(public_key) != _KEY_BYTES:
        raise ValueError(f"public key must have {_KEY_BYTES} bytes, got {len(public_key)}")
    return base58.b58encode(_PUBLIC_HEAD + public_key).decode("ascii")


def canonical_peer_id(text: str) -> str:
    """A peer id as it may be written, in the one spelling that this program compares: base58 of the multihash.

    Taken are base58, and the newer form of the libp2p specification, a CIDv1 in base32; blanks and line ends around
    either are dropped. Raises `ValueError` for anything else.
    """
    return peer_id_of(public_key_of(text))


def public_key_of(peer_id: str) -> bytes:
    """The 32 bytes inside a peer id of any spelling. Raises `ValueError` unless it is an inlined Ed25519 key."""
    shown, text = ascii(peer_id[:_MAX_ID_CHARACTERS]), peer_id.strip()
    if len(text) > _MAX_ID_CHARACTERS or not text.isascii():
        raise ValueError(f"not a peer id: {shown}")
    try:
        raw = _cid_bytes(text) if text[:1] in ("b", "B") else base58.b58decode(text.encode("ascii"))
    except ValueError:
        raise ValueError(f"not a peer id: {shown}") from None
    if not is_raw_peer_id(raw):
        raise ValueError(f"not the id of an Ed25519 key: {shown}")
    return raw[len(_PUBLIC_HEAD) :]


def _cid_bytes(text: str) -> bytes:
    """The multihash in a CIDv1 of a key, in base32. No base58 id of an Ed25519 key begins with a "b". Raises
    `ValueError`."""
    body = text[1:].upper()
    raw = base64.b32decode(body + "=" * (-len(body) % 8))
    if not raw.startswith(_CID_HEAD):
        raise ValueError("not the CID of a key")
    return raw[len(_CID_HEAD) :]


def is_raw_peer_id(raw: bytes) -> bool:
    """Whether these are the bytes of a peer id with an inlined Ed25519 key (38 of them)."""
    return len(raw) == len(_PUBLIC_HEAD) + _KEY_BYTES and raw.startswith(_PUBLIC_HEAD)
