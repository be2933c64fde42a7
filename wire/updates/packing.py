"""Encodes and decodes packed updates: tensors as multiples of one step each, told apart from an update held before.

An update travels whole (`units.py`), or packed, which is smaller. What is packed is always an update whose numbers are
multiples of a power of two, the *step* of their tensor: `on_steps` makes it from an adapter. The receiver of a packed
update gets the very bytes of the update, and knows by their digest that it did, so that nothing else of the protocol
depends on how they came.

    i8 x T  exponents: the step of tensor t is 2^e, e in -120..120
    rest    the differences of all numbers in steps (`integers.py`), in the order of the layout

A number is decoded in float32, each operation rounded to nearest even, and then encoded as in the update:

    (rint(base * 2^-e) + difference) * 2^e

`base` is the number at the same place of the base, an earlier update that the announcement names; 0 where no base is
named, or it has no tensor of this name and shape. Packed without a base, an update is a key frame: it needs nothing
that was sent before. Packed with one, most differences are zero.

The step is chosen by the author alone, as a share of the tensor's root mean square, finer for factors of large products
(`gossipllm.learning.merging.rounded`), and so are the differences: what it rounded away stays in the difference of its
adapter from what it announced, and is sent later. So errors do not add up, whether the differences of a round are dense
or those of the few numbers that changed most (`SparseLoCo`, 2508.15706).

Axis: T tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wire.errors import WireError
from wire.floats import F32
from wire.integers import MAX_NUMBERS, MOST, decode_integers, encode_integers
from wire.updates.tensors import Layout, TensorSpec, decode_update, encode_update

MAX_EXPONENT: Final = 120
"""Within it, steps and their inverses are normal numbers of float32."""
_CHUNK: Final = 4_096
"""Numbers among which the same share is sent in the form of few differences: SparseLoCo's."""
_KEEP: Final = 0.75
"""How far, in octaves, the best step may move before a tensor takes another one. A new step costs a round of
differences. Guess."""

Exponents: TypeAlias = Mapping[str, int]
Packing: TypeAlias = Literal["whole", "fine", "normal", "tight", "sparse"]
"""How finely an author rounds its updates; "whole" packs none. All receivers read all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fineness:
    """How an author rounds.

    `per_rms`: steps in the root mean square of a typical tensor. `dead`: part of a step by which a number must have
    moved to be sent, 0.5 for rounding to nearest. `share`: the part of each chunk of numbers that is sent at most, of
    those the ones that moved furthest, by `most` steps at most.
    """

    per_rms: float
    dead: float = 0.5
    share: float = 1.0
    most: int = MOST

    def __post_init__(self) -> None:
        if not 0.5 <= self.per_rms <= 128:
            # bfloat16 holds multiples up to 256 exactly, and the largest number of a tensor lies well above its rms.
            raise ValueError(f"per_rms must be in 0.5..128, got {self.per_rms}")
        if not 0.5 <= self.dead < 1:
            raise ValueError(f"dead must be in [0.5, 1), got {self.dead}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1], got {self.share}")
        if not 1 <= self.most <= MOST:
            raise ValueError(f"most must be in 1..{MOST}, got {self.most}")

    @property
    def dense(self) -> Fineness:
        """The same steps with all numbers sent: for what has no base."""
        return replace(self, share=1.0, most=MOST)


FINENESS: Final[Mapping[Packing, Fineness | None]] = {
    "whole": None,
    "fine": Fineness(per_rms=16.0),
    "normal": Fineness(per_rms=5.7),
    "tight": Fineness(per_rms=2.8),
    "sparse": Fineness(per_rms=2.0, share=0.03, most=2),
}
"""Chosen by `benchmarks/wire_sizes.py`, which shows what each costs in bytes and in loss. Few differences cannot follow
adapters that move much: "sparse" is for those that hardly learn any more."""


@dataclass(frozen=True, slots=True, eq=False)
class OnSteps:
    """An adapter on steps: `tensors` by name, as a receiver decodes them, each of multiples of 2^exponent."""

    tensors: Mapping[str, F32]
    exponents: Exponents


def on_steps(
    tensors: Mapping[str, F32],
    layout: Layout,
    fineness: Fineness,
    before: OnSteps | None = None,
    *,
    finer: Mapping[str, float] | None = None,
) -> OnSteps:
    """The adapter to announce for `tensors`, with no more differences from what was announced `before` than `fineness`
    says. `finer` is, by the names of tensors, how many times as many steps a tensor has as others; 1 where it names
    none. Raises `ValueError` for numbers that are not finite."""
    held = OnSteps({}, {}) if before is None else before
    sent: dict[str, F32] = {}
    exponents: dict[str, int] = {}
    for spec in layout.tensors:
        value = np.asarray(tensors[spec.name], np.float32)
        base = _matching(held.tensors, spec)
        form = fineness.dense if base is None else fineness
        steps = form.per_rms * (finer or {}).get(spec.name, 1.0)
        exponent = _exponent(value, steps, held.exponents.get(spec.name))
        start = _in_steps(base, spec, exponent)
        moved = np.ldexp(value, -exponent) - start
        # Plus zero, because a receiver's sum of integers is never a negative zero.
        sent[spec.name] = np.ldexp(start + _rounded(moved, form) + np.float32(0), exponent)
        exponents[spec.name] = exponent
    # As its receivers decode it: a number of more steps than bfloat16 can tell apart is rounded, to a multiple still.
    return OnSteps(decode_update(encode_update(sent, layout), layout), exponents)


def encode_packed(adapter: OnSteps, layout: Layout, base: Mapping[str, F32] | None = None) -> bytes:
    """Pack an adapter that is on steps; without `base` as a key frame.

    Raises `ValueError` where it differs from the base by more steps than can be told, or has more numbers than
    `MAX_NUMBERS`: it travels whole then.
    """
    exponents = np.array([adapter.exponents[spec.name] for spec in layout.tensors], np.int8)
    moved = [_difference(adapter, spec, base or {}) for spec in layout.tensors]
    return exponents.tobytes() + encode_integers(np.concatenate(moved) if moved else np.zeros(0, np.int32))


def decode_packed(data: bytes, layout: Layout, base: Mapping[str, F32] | None = None) -> bytes:
    """The tensors' bytes, as in the update that was packed, `layout.size` of them. Raises `WireError` and nothing else.

    `base` is that of the announcement, decoded; whether the result is what was announced, its digest tells.
    """
    if layout.count > MAX_NUMBERS:
        raise WireError("packed.count", f"{layout.count} numbers, at most {MAX_NUMBERS}")
    count = len(layout.tensors)
    exponents = np.frombuffer(data[:count], np.int8)
    if len(exponents) < count or int(np.abs(exponents.astype(np.int16)).max(initial=0)) > MAX_EXPONENT:
        raise WireError("packed.exponents", f"not {count} within {MAX_EXPONENT} of 0")
    moved = decode_integers(memoryview(data)[count:], layout.count)
    tensors: dict[str, F32] = {}
    at = 0
    for spec, exponent in zip(layout.tensors, exponents.tolist(), strict=True):
        steps = _in_steps(_matching(base or {}, spec), spec, exponent)
        steps += moved[at : at + spec.count].reshape(spec.shape)
        # Beyond float32's range is infinite, which the encoder below refuses.
        with np.errstate(over="ignore"):
            tensors[spec.name] = np.ldexp(steps, exponent)
        at += spec.count
    try:
        return encode_update(tensors, layout)
    except ValueError as error:
        raise WireError("packed.numbers", str(error)) from None


def _exponent(value: F32, per_rms: float, before: int | None) -> int:
    rms = math.sqrt(float(np.einsum("i,i->", value.ravel(), value.ravel(), dtype=np.float64)) / value.size)
    if not math.isfinite(rms):
        raise ValueError("numbers are not finite")
    if not rms:
        return 0 if before is None else before
    best = math.log2(rms / per_rms)
    wanted = round(best) if before is None or abs(best - before) > _KEEP else before
    return max(-MAX_EXPONENT, min(MAX_EXPONENT, wanted))


def _rounded(moved: F32, fineness: Fineness) -> F32:
    size = np.floor(np.abs(moved) + np.float32(1 - fineness.dead))
    np.minimum(size, np.float32(fineness.most), out=size)
    if fineness.share < 1:
        size *= _furthest(np.abs(moved), fineness.share)
    return np.copysign(size, moved)


def _furthest(moved: F32, share: float) -> NDArray[np.bool_]:
    """In each chunk, those that moved furthest."""
    flat = moved.ravel()
    chosen = np.zeros(flat.size, np.bool_)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        most = max(1, int(share * chunk.size))
        chosen[start + np.argpartition(-chunk, most - 1)[:most]] = True
    return chosen.reshape(moved.shape)


def _difference(adapter: OnSteps, spec: TensorSpec, base: Mapping[str, F32]) -> NDArray[np.int32]:
    exponent = adapter.exponents[spec.name]
    moved = np.ldexp(adapter.tensors[spec.name], -exponent) - _in_steps(_matching(base, spec), spec, exponent)
    if not float(np.abs(moved).max()) <= MOST:
        raise ValueError(f"{spec.name} differs by more than {MOST} steps")
    return moved.astype(np.int32).ravel()


def _matching(tensors: Mapping[str, F32], spec: TensorSpec) -> F32 | None:
    value = tensors.get(spec.name)
    return value if value is not None and value.shape == spec.shape else None


def _in_steps(base: F32 | None, spec: TensorSpec, exponent: int) -> F32:
    """A new array: the base in whole steps."""
    if base is None:
        return np.zeros(spec.shape, np.float32)
    with np.errstate(over="ignore"):
        return np.rint(np.ldexp(base, -exponent))
