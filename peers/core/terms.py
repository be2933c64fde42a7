"""The terms of a network: what this peer has in common with its peers, and with those that it can merge with.

They are known once the learner is open.
"""

from __future__ import annotations

from dataclasses import dataclass

from gossipllm.work import Opened
from wire.messages import Fingerprints, network_id
from wire.predictions.byte_rows import ByteShape
from wire.predictions.logits import RowsShape
from wire.updates.units import Offer, Schema

NUMBER_BYTES = 8
"""Bytes of one number of push-sum mass on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`network` is its name. `offer` holds all units of this peer's own adapter, `layers` counts the blocks of the
    base, `blocks` those of a block window. `byte_shape` is None where the reference set has no byte rows. The other
    fields are as in `gossipllm.work.Opened`."""

    network: str
    fingerprints: Fingerprints
    schema: Schema
    rows: RowsShape
    net: bytes
    offer: Offer
    layers: int
    blocks: int
    context_keys: tuple[bytes, ...]
    context_bytes: int
    mass: int
    byte_shape: ByteShape | None = None
    no_byte_rows: str = ""

    @classmethod
    def of(cls, network: str, opened: Opened) -> Terms:
        return cls(
            network=network,
            fingerprints=opened.fingerprints,
            schema=Schema(opened.units, opened.codec),
            rows=RowsShape(
                rows=opened.rows,
                top=opened.top,
                vocabulary=opened.vocabulary,
                raw=opened.raw,
                coded=opened.coded,
            ),
            net=network_id(network, opened.fingerprints.reference),
            offer=opened.offer,
            layers=opened.layers,
            blocks=opened.window,
            context_keys=opened.context_keys,
            context_bytes=opened.context_bytes,
            mass=opened.mass,
            byte_shape=ByteShape(opened.offsets, opened.spans) if opened.offsets else None,
            no_byte_rows=opened.no_byte_rows,
        )

    @property
    def pushes(self) -> bool:
        """Whether the network mixes by push-sum, so that no rows are made."""
        return self.mass > 0

    @property
    def makes_byte_rows(self) -> bool:
        """Whether this peer can make byte rows, and compare those of others with them."""
        return self.byte_shape is not None and not self.no_byte_rows

    def offered(self, offer: Offer) -> int:
        """Number of units that an offer holds."""
        return int.from_bytes(offer.units, "little").bit_count() or len(self.schema.units)

    @property
    def share_bytes(self) -> int:
        """Length of a share that one peer pushes to another."""
        return self.mass * NUMBER_BYTES
