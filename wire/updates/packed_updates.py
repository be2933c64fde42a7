"""Updates from packed forms and back: `packing.py` for the units of an offer."""

from __future__ import annotations

from wire.updates.packing import OnSteps, decode_packed, encode_packed
from wire.updates.units import Offer, Schema, decode_offered, head_of


def pack_update(adapter: OnSteps, schema: Schema, offer: Offer, base: bytes | None = None) -> bytes:
    """The update that offers an adapter that is on steps, packed; `base` is an update that its receiver holds.

    Raises `ValueError` where it cannot be packed.
    """
    held = None if base is None else decode_offered(base, schema)[1]
    return encode_packed(adapter, schema.layout(offer), held)


def unpack_update(data: bytes, schema: Schema, offer: Offer, base: bytes | None = None) -> bytes:
    """The update that was packed, if `base` is its base. Raises `WireError` and nothing else."""
    held = None if base is None else decode_offered(base, schema)[1]
    return head_of(offer) + decode_packed(data, schema.layout(offer), held)
