"""Tests of snapshots: what is saved is restored, and snapshots of another adapter are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.model.adapter.snapshots import (
    Snapshot,
    SnapshotHeader,
    check_snapshot,
    decode_snapshot,
    encode_snapshot,
)
from trust.errors import UserMistake
from wire.updates.tensors import Layout, TensorSpec

LAYOUT = Layout((TensorSpec("m.lora_A", (2, 3)), TensorSpec("m.lora_B", (4, 2))))
A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((4, 2), np.float32)
SNAPSHOT = Snapshot(
    SnapshotHeader(
        base=b"b" * 32,
        tokenizer=b"t" * 32,
        layout=b"l" * 32,
        model_name="embedded",
        rank=2,
        alpha=8.0,
        train="b",
        fan_in_fan_out=False,
        round=3,
        steps=40,
        since=20,
        units=b"\x05",
        exponents=(-3, 0),
    ),
    adapter={"m.lora_A": A, "m.lora_B": B},
    start={"m.lora_A": A, "m.lora_B": 0 * B},
    first={"m.lora_B": 2 * B},
    second={"m.lora_B": 3 * B},
    mass={"state": np.array([1, 2**62], np.int64), "sent/ada": np.array([7, 2**64 - 1], np.uint64)},
    outer={"m.lora_A": 4 * A},
    average={"m.lora_B": 5 * B},
    announced=b"\x00\x01\xff",
)


def check(snapshot: Snapshot = SNAPSHOT, **other: Any) -> None:
    mine: dict[str, Any] = {"base": b"b" * 32, "tokenizer": b"t" * 32, "layout": b"l" * 32, "state": LAYOUT}
    check_snapshot(snapshot, **(mine | other))


def test_what_was_saved_comes_back() -> None:
    got = decode_snapshot(encode_snapshot(SNAPSHOT))

    assert got.header == SNAPSHOT.header
    assert got.announced == SNAPSHOT.announced
    for kind in ("adapter", "start", "first", "second", "mass", "outer", "average"):
        saved, found = getattr(SNAPSHOT, kind), getattr(got, kind)
        assert saved.keys() == found.keys()
        for name, values in saved.items():
            assert values.dtype == found[name].dtype
            assert np.array_equal(values, found[name])
    check(got)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"base": b"x" * 32}, "base model"),
        ({"tokenizer": b"x" * 32}, "tokenizer"),
        ({"layout": b"x" * 32}, "alpha"),
    ],
)
def test_a_snapshot_of_something_else_is_refused(other: dict[str, Any], what: str) -> None:
    with pytest.raises(UserMistake, match=what):
        check(**other)


def test_a_snapshot_of_another_rank_or_of_other_modules_is_refused() -> None:
    wide = Layout((TensorSpec("m.lora_A", (4, 3)), TensorSpec("m.lora_B", (4, 4))))
    other = Layout((TensorSpec("n.lora_A", (2, 3)), TensorSpec("n.lora_B", (4, 2))))

    for state in (wide, other):
        with pytest.raises(UserMistake, match=r"rank 2 .* adapter\.rank and adapter\.modules"):
            check(state=state)


@given(st.binary(max_size=100))
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    with pytest.raises(UserMistake):
        decode_snapshot(data)


def test_snapshots_without_a_mass_hold_none() -> None:
    assert not decode_snapshot(encode_snapshot(replace(SNAPSHOT, mass={}))).mass
