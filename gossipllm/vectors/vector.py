"""A task vector: what an adapter adds to its base, module by module, and whether two of them can be computed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gossipllm.model.adapter.names import A, B
from gossipllm.model.adapter.peft_folder import PeftAdapter, Product
from gossipllm.model.adapter.snapshots import Snapshot
from trust.errors import UserMistake
from wire.digest import short


@dataclass(frozen=True, slots=True, eq=False)
class TaskVector:
    """`name` is what the user calls it. `base` and `fingerprint` name its base and the base's weights, each empty where
    that is not known."""

    name: str
    base: str
    fingerprint: bytes
    fan_in_fan_out: bool
    products: Mapping[str, Product]

    @property
    def rank(self) -> int:
        """The largest rank of its modules."""
        return max(one.rank for one in self.products.values())


def of_folder(name: str, adapter: PeftAdapter) -> TaskVector:
    return TaskVector(name, adapter.base, adapter.fingerprint, adapter.fan_in_fan_out, adapter.products)


def of_snapshot(name: str, snapshot: Snapshot) -> TaskVector:
    """What a peer has learned. Raises `UserMistake` where that has no low-rank form."""
    header = snapshot.header
    if not header.rank:
        raise UserMistake(
            f'{name}: adapter.train = "{header.train}" learns differences of whole tensors, which have no low-rank form'
        )
    scale = header.alpha / header.rank
    products = {
        module: Product(value, snapshot.adapter[module + B], scale)
        for module, value in (
            (one.removesuffix(A), v) for one, v in snapshot.adapter.items() if one.endswith(A)
        )
    }
    return TaskVector(name, header.model_name, header.base, header.fan_in_fan_out, products)


def check_one_base(vectors: Sequence[TaskVector]) -> None:
    """Raises `UserMistake` where two vectors belong to different bases, naming both.

    Fingerprints decide where both are known, else names where both are known, and in any case the shapes of the
    modules that both adapt.
    """
    first = vectors[0]
    for other in vectors[1:]:
        if first.fingerprint and other.fingerprint:
            one, two = short(first.fingerprint), short(other.fingerprint)
        else:
            one, two = first.base, other.base
        if one and two and one != two:
            raise UserMistake(
                f"{first.name} and {other.name} are of different bases ({one} and {two}); vectors add up on one base"
            )
        for module in first.products.keys() & other.products.keys():
            one_shape, two_shape = (shape_of(each.products[module]) for each in (first, other))
            if one_shape != two_shape:
                raise UserMistake(
                    f"{first.name} and {other.name} are of different bases: {module} has {_by(one_shape)} weights in "
                    f"one and {_by(two_shape)} in the other"
                )
        if first.products.keys().isdisjoint(other.products):
            raise UserMistake(
                f"{first.name} and {other.name} have no module in common: {_an_example(first, other)}"
            )


def shape_of(product: Product) -> tuple[int, int]:
    """Outputs and inputs."""
    return product.b_OR.shape[0], product.a_RI.shape[1]


def _by(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _an_example(*vectors: TaskVector) -> str:
    return " and ".join(next(iter(one.products)) for one in vectors)
