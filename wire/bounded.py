"""A dictionary that drops its oldest item when it is full.

What a peer stores about other peers must be bounded, because identities cost nothing. The alternatives were
`OrderedDict`, which leaves the bound to every caller (there were fourteen such loops), and `cachetools`, whose LRU
cache counts reads as uses, so that a remote peer's requests would decide what is dropped.
"""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(dict[K, V]):
    """A dictionary of at most `most` items (at least 1); when it is full, the item inserted first is dropped.

    Setting an existing key keeps its place in the order; `renew` moves it to the end. `update`, `setdefault` and
    `|=` are inherited from `dict` and do not apply the bound.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"most must be at least 1, got {most}")
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        while len(self) > self._most:
            del self[next(iter(self))]

    def renew(self, key: K, value: V) -> None:
        """Set `key` and make it the newest item, even where it exists."""
        if key in self:
            del self[key]
        self[key] = value
