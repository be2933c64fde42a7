"""Runs an async function from a command, so that a user's mistake is not wrapped in the groups of nurseries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import trio

from trust.errors import UserMistake

T = TypeVar("T")
Args = TypeVarTuple("Args")


def run_async(function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
    """`trio.run(function, *args)`, but if a `UserMistake` is among the errors, the first one is raised alone."""
    try:
        return trio.run(function, *args)
    except BaseExceptionGroup as group:
        user_errors = group.subgroup(UserMistake)
        if user_errors is None:
            raise
        raise _first(user_errors) from None


def _first(group: BaseExceptionGroup[UserMistake]) -> UserMistake:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
