"""A dictionary that forgets its oldest entry when it is full.

What a peer remembers of others must be bounded, because identities cost nothing. `OrderedDict` and `cachetools`
were the alternatives: the first leaves the bound to every caller (there were fourteen such loops), the second
counts reads as uses, which lets a stranger decide by its questions what is forgotten.
"""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(dict[K, V]):
    """At most `most` entries, at least 1; the entry that was inserted first goes first.

    Setting a key that is there keeps its place; `renew` moves it to the end. `update`, `setdefault` and `|=` are
    those of `dict` and know no bound.
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
        """Set `key` as if it had never been there, so that it is the newest entry."""
        self.pop(key, None)
        self[key] = value
