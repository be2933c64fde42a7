"""The parts of a core by their type, and the size of everything that it holds.

A checker must see what a peer's memory holds without a public face for it, and must see containers that nobody thought
of. So it walks the objects that a core refers to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any, TypeVar, cast

from peers.core.core import Core
from wire.digest import Content

T = TypeVar("T")

_OURS = ("peers.", "trust.", "wire.")
_LEAVES = (str, bytes, int, float, bool, type(None), type, Content)


def part(core: Core, kind: type[T]) -> T | None:
    """The first object of this type that a core holds; None where there is none, as before its learner is open."""
    return next((one for _, one in walk(core) if isinstance(one, kind)), None)


def walk(root: object) -> Iterator[tuple[str, Any]]:
    """Everything that an object refers to, with the attribute through which it is reached, nearest first.

    Follows containers and objects of this project's packages, each once; not functions, settings and contents.
    """
    seen, border = {id(root)}, [("", root)]
    for name, one in border:
        yield name, one
        for inner_name, inner in _inner(name, one):
            if id(inner) not in seen and not isinstance(inner, _LEAVES):
                seen.add(id(inner))
                border.append((inner_name, inner))


def _inner(name: str, one: Any) -> Iterator[tuple[str, Any]]:
    for value in items_of(one):
        yield name, value
    kind = cast("type[object]", type(one))
    if kind.__module__.startswith(_OURS) and not kind.__name__.endswith("Config"):
        for attribute in _attributes(one):
            yield attribute, getattr(one, attribute, None)


def items_of(one: Any) -> list[Any]:
    """Keys and values of a dictionary, items of another container; nothing of what is none."""
    if isinstance(one, dict):
        pairs = cast("dict[Any, Any]", one)
        return [*pairs.keys(), *pairs.values()]
    if isinstance(one, (list, tuple, set, frozenset)):
        return list(cast("Collection[Any]", one))
    return []


def _attributes(one: Any) -> Iterator[str]:
    if dataclasses.is_dataclass(one):
        yield from (field.name for field in dataclasses.fields(one))
    yield from getattr(one, "__struct_fields__", ())
    yield from getattr(one, "__dict__", ())
