"""Strings from other peers, made fit for a file and a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count

LONGEST = 200
"""Characters that are kept of a string from another peer. Guess: a peer id has 52, a reason one line."""


def escaped(text: str, limit: int = LONGEST) -> str:
    """`text` cut to `limit`, with escapes for what does not print: control, direction, surrogate characters.

    What passed once passes unchanged again.
    """
    # Cutting first bounds the work; an escape may be cut in its middle afterwards, which is harmless.
    text = text[: limit + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def short_names(peers: Sequence[tuple[str, str]], width: int) -> tuple[str, ...]:
    """A distinct name of at most `width` characters, 4 or more, for each (peer id, name).

    The name where it fits and nobody else has it, cut otherwise. Whom that leaves ambiguous is told apart by
    the end of the id (ids of one kind of key begin alike), or by a number where ids do not suffice.
    """
    peers = [(escaped(peer), name) for peer, name in peers]
    cut = [_cut(name or "…" + peer[1 - width :], width) for peer, name in peers]
    shared = {name for name, times in Counter(cut).items() if times > 1}
    taken = set(cut) - shared
    names: list[str] = []
    for number, ((peer, _), name) in enumerate(zip(peers, cut, strict=True), start=1):
        names.append(_told_apart(name, peer, number, width, taken) if name in shared else name)
        taken.add(names[-1])
    return tuple(names)


def _told_apart(name: str, peer: str, number: int, width: int, taken: set[str]) -> str:
    name = name.removesuffix("…")
    for length in range(2, width - 1):
        candidate = name[: width - 1 - length] + "~" + peer[-length:]
        if candidate not in taken:
            return candidate
    numbered = (f"#{n}"[-width:] for n in count(number))
    return next(candidate for candidate in numbered if candidate not in taken)


def _cut(text: str, width: int) -> str:
    text = escaped(text)
    return text if len(text) <= width else text[: width - 1] + "…"
