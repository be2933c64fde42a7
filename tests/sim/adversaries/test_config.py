"""How many attackers a configuration means."""

from __future__ import annotations

import pytest

from sim.adversaries.config import AttackConfig


@pytest.mark.parametrize(("attackers", "count"), [(1.0, 1), (0.3, 3), (0.5, 7), (7.0, 7), (0.01, 1)])
def test_below_one_attackers_are_a_share_of_all_peers_and_from_one_on_a_number(
    attackers: float, count: int
) -> None:
    assert AttackConfig(name="bait", attackers=attackers).count(7) == count


def test_without_an_attack_there_are_no_attackers() -> None:
    assert AttackConfig().count(7) == 0


@pytest.mark.parametrize("attackers", [0.0, -1.0, 1.5, 1e9, float("nan")])
def test_other_numbers_of_attackers_are_refused(attackers: float) -> None:
    with pytest.raises(ValueError, match="attackers"):
        AttackConfig(name="bait", attackers=attackers)
