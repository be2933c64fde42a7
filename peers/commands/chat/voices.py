"""A base model that answers with or without an adapter, switched at any time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Literal, TypeAlias

from gossipllm.model.adapter.source import AdapterSource
from gossipllm.model.loading.models import Base, base_fingerprint
from gossipllm.tasks.mounting import folder_on, snapshot_on
from trust.errors import UserMistake
from wire.digest import short

Voice: TypeAlias = Literal["base", "adapter"]


class Voices:
    """Mounts the adapter for its voice and unmounts it for the base's. Use it through `voices`."""

    def __init__(self, base: Base, learned: AdapterSource | None) -> None:
        self.base = base
        self.learned = learned
        self._mounted = ExitStack()
        self._voice: Voice = "base"

    def take(self, voice: Voice) -> None:
        """Answer with this voice from now on. Raises `UserMistake` where a PEFT adapter does not fit the base."""
        if voice == self._voice:
            return
        self.leave()
        if voice == "adapter":
            assert self.learned is not None, "the adapter's voice is offered only where there is an adapter"
            self._mounted.enter_context(_mounting(self.base, self.learned))
            self._voice = "adapter"

    def leave(self) -> None:
        self._mounted.close()
        self._voice = "base"


@contextmanager
def voices(base: Base, learned: AdapterSource | None) -> Generator[Voices]:
    """Voices that are unmounted at the end. Raises `UserMistake` where the adapter was trained on another base."""
    if learned is not None and learned.snapshot is not None:
        header, here = learned.snapshot.header, base_fingerprint(base.model)
        if header.base != here:
            raise UserMistake(
                f"{learned.place} was trained on another base model: {short(header.base)} there, {short(here)} "
                f"here; name its own, {header.model_name}"
            )
    made = Voices(base, learned)
    try:
        yield made
    finally:
        made.leave()


def _mounting(base: Base, learned: AdapterSource) -> AbstractContextManager[None]:
    if learned.snapshot is not None:
        return snapshot_on(base, learned.snapshot)
    return folder_on(base, learned.place)
