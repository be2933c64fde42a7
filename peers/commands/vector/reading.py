"""Task vectors by the paths that a user gives: PEFT folders and homes of peers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from gossipllm.model.adapter.peft_folder import is_peft_folder, read_peft
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.vectors.vector import TaskVector, check_one_base, of_folder, of_snapshot
from peers.home.folder import Home
from peers.home.store import StateStore
from trust.errors import UserMistake
from trust.names import short_names

_NAME_WIDTH = 16


def read_vectors(paths: Sequence[Path], key: str) -> list[TaskVector]:
    """The vectors at these paths, of one base, under short names. `key` names the argument in messages.

    Raises `UserMistake` where a path holds neither a PEFT folder nor a home with a state, or the bases differ.
    """
    places = [path.expanduser().resolve() for path in paths]
    names = short_names([(str(place.parent), place.name) for place in places], _NAME_WIDTH)
    vectors = [_read(path, name, key) for path, name in zip(paths, names, strict=True)]
    check_one_base(vectors)
    return vectors


def weights_of(text: str | None, count: int) -> list[float]:
    """The numbers of --weights, 1 each where it is not given. Raises `UserMistake`."""
    if text is None:
        return [1.0] * count
    try:
        weights = [float(one) for one in text.split(",")]
    except ValueError:
        raise UserMistake(f"--weights must be numbers with commas, got {text!r}") from None
    if len(weights) != count:
        raise UserMistake(f"--weights has {len(weights)} numbers for {count} vectors")
    if not all(map(math.isfinite, weights)) or not any(weights):
        raise UserMistake(f"--weights must be finite and not all 0, got {text!r}")
    return weights


def _read(path: Path, name: str, key: str) -> TaskVector:
    folder = path.expanduser()
    if is_peft_folder(folder):
        return of_folder(name, read_peft(folder, key))
    home = Home(folder)
    if not home.state.is_dir():
        raise UserMistake(
            f"{key}: {path} is neither a PEFT folder (adapter_config.json) nor the home of a peer that has trained"
        )
    saved = StateStore.look(home.state).saved
    best = None if saved is None else saved.best_snapshot
    if best is None:
        raise UserMistake(f"{key}: {path} has learned nothing yet; its first round is not over")
    return of_snapshot(name, decode_snapshot(best.data))
