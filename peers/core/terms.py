"""What this peer and its neighbours share, known once the learner is open, and what of it this peer has."""

from __future__ import annotations

from dataclasses import dataclass

from gossipllm.work import Opened
from wire.logits import RowsShape
from wire.messages import Fingerprints, network_id
from wire.units import Offer, Schema

NUMBER_BYTES = 8
"""Of a number of mass, on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`offer` is everything that this peer's own adapter has. The rest as in `Opened`, and the network's by its
    fingerprints."""

    fingerprints: Fingerprints
    schema: Schema
    rows: RowsShape
    net: bytes
    offer: Offer
    layers: int
    window: int
    context_keys: tuple[bytes, ...]
    context_bytes: int
    mass: int

    @classmethod
    def of(cls, network: str, opened: Opened) -> Terms:
        return cls(
            fingerprints=opened.fingerprints,
            schema=Schema(opened.units, opened.codec),
            rows=RowsShape(rows=opened.rows, top=opened.top, vocabulary=opened.vocabulary, raw=opened.raw),
            net=network_id(network, opened.fingerprints),
            offer=opened.offer,
            layers=opened.layers,
            window=opened.window,
            context_keys=opened.context_keys,
            context_bytes=opened.context_bytes,
            mass=opened.mass,
        )

    @property
    def pushes(self) -> bool:
        """Whether mass is pushed along edges, and no rows are made."""
        return self.mass > 0

    def offered(self, offer: Offer) -> int:
        """How many units an offer of this network holds."""
        return int.from_bytes(offer.units, "little").bit_count() or len(self.schema.units)

    @property
    def share_bytes(self) -> int:
        """Length of what one peer pushed to another."""
        return self.mass * NUMBER_BYTES
