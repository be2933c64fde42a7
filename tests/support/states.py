"""States of peers as they are saved, and stores that hold them."""

from __future__ import annotations

from pathlib import Path

from peers.core.saved import LocalSteps, Saved, SavedScore
from peers.home.store import StateStore
from sim.toy.learner import EVIDENCE, fingerprints
from wire.digest import Content


def state_of(generation: int, *, size: int = 300) -> Saved:
    """A peer's state as it would be: generation 2r+1 announces round r, 2r+2 begins round r+1. From a size of
    500 on its contents are in files of their own."""
    round_, announces = divmod(generation, 2)
    update = Content.of(f"update {round_}".encode() * size)
    return Saved(
        generation=generation,
        round=round_,
        stage="published" if announces else "training",
        fingerprints=fingerprints(),
        snapshot=Content.of(f"snapshot {generation}".encode() * size),
        frame=f"frame {round_}".encode(),
        update=update,
        evidence=EVIDENCE,
        local=LocalSteps(tokens=1, samples=2, steps=3, train_loss=1.5, trust_loss=float("inf"), seconds=0.1),
        standings=(SavedScore("12D3", -60.0, 1e9, 2e9),),
    )


def filled_store(folder: Path, *generations: int, size: int = 300) -> StateStore:
    store = StateStore(folder)
    for generation in generations:
        store.save(state_of(generation, size=size))
    return store
