"""Cheap keys for simulated worlds in which no peer forges signatures."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToyKeys:
    """Keyed digests in place of signatures. Every peer could make those of any other."""

    public_key: bytes

    @classmethod
    def of(cls, name: str) -> ToyKeys:
        return cls(hashlib.sha256(name.encode()).digest())

    @property
    def peer_id(self) -> str:
        return self.peer_id_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return hashlib.blake2b(message, key=self.public_key).digest()

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(hashlib.blake2b(message, key=public_key).digest(), signature)

    def peer_id_of(self, public_key: bytes) -> str:
        return f"toy-{public_key[:6].hex()}"
