"""Entropy codes bytes by Huffman's codes, as deflate (RFC 1951), and inflates no more than is asked for."""

from __future__ import annotations

import zlib
from typing import Final

from wire.errors import WireError

_LEVEL: Final = 6
_RAW: Final = -15
_MEMORY: Final = 9
"""zlib's memLevel: 32,768 symbols share one table of lengths."""


def deflated(*parts: bytes) -> bytes:
    """The parts in one stream, each with tables of its own. Only Huffman's codes: repeats do not occur."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, _MEMORY, zlib.Z_HUFFMAN_ONLY)
    made: list[bytes] = []
    for part in filter(None, parts):
        made += [packer.compress(part), packer.flush(zlib.Z_SYNC_FLUSH)]
    # The last flush is empty but for the mark of the end.
    return b"".join((*made, packer.flush()))


class Inflating:
    """Inflates a stream piece by piece, each as long as asked for. Faults are `WireError`s of `field`."""

    def __init__(self, data: bytes | memoryview, field: str) -> None:
        self._unpacker = zlib.decompressobj(_RAW)
        self._left = bytes(data)
        self._field = f"{field}.deflate"

    def read(self, size: int) -> bytes:
        got = self._inflated(size) if size else b""
        if len(got) < size:
            raise WireError(self._field, f"ends {size - len(got)} bytes early")
        return got

    def close(self) -> None:
        """Raises `WireError` where the stream has more, or something follows it."""
        if self._inflated(1) or not self._unpacker.eof or self._unpacker.unused_data:
            raise WireError(self._field, "does not end where it should")

    def _inflated(self, most: int) -> bytes:
        try:
            got = self._unpacker.decompress(self._left, most)
        except zlib.error as error:
            raise WireError(self._field, str(error)[:80]) from None
        self._left = self._unpacker.unconsumed_tail
        return got
