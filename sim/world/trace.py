"""The trace of a run: a digest over all events, and the form in which single events are listed.

Two runs with equal digests had the same events at the same times. Contents enter the digest by their own digests,
everything else with all its fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from peers.core.effects import Effect
from peers.core.events import Event
from wire.digest import Content

_ENOUGH_BYTES = 65_536
"""Bytes hashed at a time, so that one call serves some hundred events (measured by `benchmarks/world_speed.py`)."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event that a peer handled in one of its lives, and the effects that its core returned."""

    at: float
    peer: int
    life: int
    event: Event
    effects: tuple[Effect, ...]


class Trace:
    """A digest over every event, its time, its peer and its effects, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._waiting = bytearray()
        self._encode_into = msgspec.msgpack.Encoder(enc_hook=_digest).encode_into

    def add(self, at: float, peer: int, life: int, event: Event, effects: Sequence[Effect]) -> None:
        waiting = self._waiting
        self._encode_into((at, peer, life, event, effects), waiting, -1)
        if len(waiting) >= _ENOUGH_BYTES:
            self._hash.update(waiting)
            waiting.clear()

    def hexdigest(self) -> str:
        """The digest so far; more may be added after."""
        so_far = self._hash.copy()
        so_far.update(self._waiting)
        return so_far.hexdigest()


def _digest(value: Any) -> bytes:
    """Encoder hook for the only type of events that msgspec cannot encode: contents."""
    content: Content = value
    return content.digest
