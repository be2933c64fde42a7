"""Peers that take unequal numbers of steps in a round: token weights against FedNova's normalisation, on quadratics.

    python benchmarks/unequal_steps.py [--rounds 60] [--seeds 20]

Eight peers of speeds 1:2:4:8 take steps in proportion on losses 0.5 (x - m)' D (x - m) with noisy gradients, and merge
each round. Where their minima m are alike, more steps are only less noise; where they differ, steps are also a pull.
What is merged is the change since the last merge: "equal" weights, weights by "tokens", or "nova" (Wang et al. 2020,
2007.07481), each change divided by its number of steps and all multiplied by the mean number, with either weights. The
numbers are the excess over the least mean loss, a peer counting as much as each other ("by peer") or as its tokens.
"""

from __future__ import annotations

import argparse

import numpy as np

from trust.rows.evidence import F64

SPEEDS = np.array([1, 2, 4, 8, 1, 2, 4, 8])
DIMENSION = 20
BASE_STEPS = 5
RATE = 0.05
NOISE = 1.0
METHODS = ("equal", "tokens", "nova, equal", "nova, tokens")
LAST = 10
"""Rounds over which the end is averaged: one round of noise is not an end."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    print(f"{'texts':<8}{'merged by':<14}{'by peer':>18}{'by tokens':>18}{'rounds to 10 %':>16}")
    for texts, spread in (("alike", 0.05), ("unlike", 1.0)):
        for method in METHODS:
            found = np.array(
                [ended(method, spread, seed, rounds=arguments.rounds) for seed in range(arguments.seeds)]
            )
            mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(len(found))
            cells = [f"{mean[k]:.4f} +- {error[k]:.4f}" for k in (0, 1)]
            print(f"{texts:<8}{method:<14}{cells[0]:>18}{cells[1]:>18}{mean[2]:>16.1f}")


def ended(method: str, spread: float, seed: int, *, rounds: int) -> tuple[float, float, float]:
    """Excess by peer and by tokens, over the last rounds, and the rounds until the excess by peer is a tenth of that of
    the start."""
    rng = np.random.default_rng(seed)
    curvature = np.geomspace(0.1, 2.0, DIMENSION)
    minima = rng.normal(size=DIMENSION) + spread * rng.normal(size=(len(SPEEDS), DIMENSION))
    steps = BASE_STEPS * SPEEDS
    tokens = steps / steps.sum()
    equal = np.full(len(SPEEDS), 1 / len(SPEEDS))
    weights = tokens if "tokens" in method else equal
    x = np.zeros(DIMENSION)
    start = excess(x, minima, curvature, equal)
    tails: list[tuple[float, float]] = []
    soonest = float(rounds)
    for number in range(rounds):
        changes = np.array(
            [local(x, minima[i], curvature, int(steps[i]), rng) - x for i in range(len(SPEEDS))]
        )
        if method.startswith("nova"):
            changes = changes / steps[:, None] * (weights @ steps)
        x = x + weights @ changes
        now = excess(x, minima, curvature, equal)
        if now <= start / 10:
            soonest = min(soonest, number + 1)
        if number >= rounds - LAST:
            tails.append((now, excess(x, minima, curvature, tokens)))
    by_peer, by_tokens = np.array(tails).mean(axis=0)
    return float(by_peer), float(by_tokens), soonest


def local(
    x: np.ndarray, minimum: np.ndarray, curvature: np.ndarray, steps: int, rng: np.random.Generator
) -> np.ndarray:
    for _ in range(steps):
        x = x - RATE * (curvature * (x - minimum) + NOISE * rng.normal(size=DIMENSION))
    return x


def excess(x: F64, minima: F64, curvature: F64, weights: F64) -> float:
    """Of the weighted mean loss over its least, which lies at the weighted mean of the minima."""
    return float(0.5 * (curvature * (x - weights @ minima) ** 2).sum())


if __name__ == "__main__":
    main()
