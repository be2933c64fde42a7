"""What is held against a neighbour whatever its distance: age."""

from __future__ import annotations

from collections.abc import Sequence


def age_priors(ages: Sequence[int], *, decay: float, max_age: int) -> tuple[float, ...]:
    """A factor in [0, 1] for each neighbour: `(1 + age) ** -decay`, and 0 above `max_age` rounds.

    The polynomial discount of asynchronous federated learning (Xie et al. 2019, arXiv 1903.03934):
    1 for fresh news, slower than exponential, so that one missed round costs little.
    """
    for age in ages:
        if age < 0:
            raise ValueError(f"age must be at least 0, got {age}")
    return tuple((1.0 + age) ** -decay if age <= max_age else 0.0 for age in ages)
