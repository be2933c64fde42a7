"""Makes strings from other peers safe to write to a file and to show at a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count

LONGEST = 200
"""Most characters kept of a string from another peer. Guess: a peer id has 52, a reason fits in a line."""


def escaped(text: str, limit: int = LONGEST) -> str:
    """`text` cut to `limit`, with escapes for unprintable characters: control, direction and surrogate characters.

    Escaping a result again leaves it unchanged.
    """
    # Cutting first bounds the work. The second cut may split an escape, which is harmless.
    text = text[: limit + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def short_names(peers: Sequence[tuple[str, str]], width: int) -> tuple[str, ...]:
    """A distinct display name for each (peer id, name), of at most `width` characters (`width` at least 4).

    A name that is too long is cut. Peers whose names are then equal are distinguished by the end of their ids (all
    Ed25519 ids begin alike), or by a number where the ends are equal too.
    """
    peers = [(escaped(peer), name) for peer, name in peers]
    cut = [_cut(name or "…" + peer[1 - width :], width) for peer, name in peers]
    shared = {name for name, times in Counter(cut).items() if times > 1}
    taken = set(cut) - shared
    names: list[str] = []
    for number, ((peer, _), name) in enumerate(zip(peers, cut, strict=True), start=1):
        names.append(_distinct(name, peer, number, width, taken) if name in shared else name)
        taken.add(names[-1])
    return tuple(names)


def _distinct(name: str, peer: str, number: int, width: int, taken: set[str]) -> str:
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
