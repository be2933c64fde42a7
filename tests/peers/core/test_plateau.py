"""The plateau of a peer: what counts as a gain, when patience ends, at what rate training goes on."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import pytest

from peers.core.plateau import DECAY, FLOOR, GAIN, MOST_HELD, MOST_PAUSE_S, PAUSE_S, Plateau, SettleConfig

CONSTANT = SettleConfig(patience=3, schedule="constant")
DECAYING = SettleConfig(patience=3, schedule="decay", decays=2)
RESTARTING = SettleConfig(patience=4, schedule="restarts")


def after(*losses: float, begun: Plateau | None = None) -> Plateau:
    """The plateau after rounds alone with these losses; the test loss is ten times the trust loss."""
    plateau = begun or Plateau()
    for round_, loss in enumerate(losses):
        plateau = plateau.stepped(loss, round_).ended(loss, round_, test_before=10 * loss, test=10 * loss)
    return plateau


def test_the_least_loss_is_that_of_the_best_state_after_steps_or_after_a_merge() -> None:
    plateau = Plateau().stepped(4.0, 0)
    assert (plateau.least, plateau.least_test) == (4.0, None)
    plateau = plateau.ended(3.0, 0, test_before=5.0, test=4.5)
    assert (plateau.least, plateau.least_round, plateau.least_test) == (3.0, 0, 4.5)
    plateau = plateau.stepped(3.5, 1).ended(3.2, 1, test_before=1.0, test=1.0)
    assert (plateau.least, plateau.least_round, plateau.least_test) == (3.0, 0, 4.5)
    plateau = plateau.stepped(2.5, 2).ended(2.6, 2, test_before=4.0, test=4.1)
    assert (plateau.least, plateau.least_round, plateau.least_test) == (2.5, 2, 4.0)


def test_patience_ends_after_so_many_rounds_without_a_gain() -> None:
    assert not after(3.0, 3.1).stepped(3.1, 20).spent(CONSTANT)
    assert after(3.0, 3.1, 3.1).stepped(3.1, 20).spent(CONSTANT)
    assert not after(3.0, 3.1, 3.1).stepped(2.9, 20).spent(CONSTANT), "this very round gained"
    assert not after(3.0, 3.1, 3.1, 3.2).stepped(3.1, 20).spent(replace(CONSTANT, patience=0)), (
        "0 is for ever"
    )


def test_slow_gains_add_up() -> None:
    slow = [3.0 - 0.4 * GAIN * number for number in range(20)]
    assert not any(after(*slow[:count]).stepped(slow[count], 20).spent(CONSTANT) for count in range(1, 20))
    slower = [3.0 - 0.2 * GAIN * number for number in range(20)]
    assert any(after(*slower[:count]).stepped(slower[count], 20).spent(CONSTANT) for count in range(1, 20))


def test_the_rate_falls_a_bounded_number_of_times_before_the_peer_settles() -> None:
    plateau, rates = after(3.0, 3.1, 3.1), list[float]()
    while not plateau.settled:
        rates.append(plateau.rate(DECAYING))
        plateau = after(3.1, 3.1, begun=plateau.recalled(DECAYING, 0, test=1.0))
    assert rates == pytest.approx([1.0, DECAY, DECAY**2])
    assert not plateau.spent(DECAYING), "a settled peer has no patience to lose"


def test_a_cycle_of_the_rate_is_never_cut_short() -> None:
    rates = [after(*([3.0] * count)).rate(RESTARTING) for count in range(9)]
    assert rates[0] == rates[4] == rates[8] == 1.0
    assert rates[3] == rates[7] == pytest.approx(FLOOR)
    assert rates[:4] == sorted(rates[:4], reverse=True)
    spent = [count for count in range(1, 13) if after(*([3.0] * count)).stepped(3.0, 20).spent(RESTARTING)]
    assert spent == [7, 11], "at the end of a whole cycle without a gain"


def test_a_look_that_gains_wakes_and_one_in_vain_doubles_the_pause() -> None:
    settled = after(3.0, 3.1, 3.1).recalled(CONSTANT, 7, test=1.0)
    assert settled.settled
    assert settled.looks, "the best state is announced once"
    plateau, pauses = settled, list[float]()
    for _ in range(12):
        plateau = plateau.ended(3.0, 9, test_before=1.0, test=1.0)
        assert plateau.rests
        pauses.append(plateau.pause_s)
        plateau = plateau.looking()
    assert pauses[:3] == [2 * PAUSE_S, 4 * PAUSE_S, 8 * PAUSE_S]
    assert pauses[-1] == MOST_PAUSE_S
    woken = plateau.ended(3.0 - 2 * GAIN, 9, test_before=1.0, test=0.9)
    assert (woken.settled, woken.vain, woken.idle, woken.rate(DECAYING)) == (False, 0, 0, 1.0)
    assert (woken.least, woken.least_test) == (3.0 - 2 * GAIN, 0.9)


def test_small_gains_of_looks_add_up_to_one_that_wakes() -> None:
    plateau = after(3.0, 3.1, 3.1).recalled(CONSTANT, 0, test=1.0)
    for number in (1, 2):
        plateau = plateau.looking().ended(3.0 - 0.4 * number * GAIN, 5, test_before=1.0, test=1.0)
        assert plateau.rests
    assert not plateau.looking().ended(3.0 - 1.2 * GAIN, 5, test_before=1.0, test=1.0).settled


def test_a_loss_that_is_no_number_is_neither_the_least_nor_a_gain() -> None:
    plateau = after(3.0, math.nan, math.inf)
    assert (plateau.least, plateau.idle) == (3.0, 2)
    assert plateau.stepped(math.nan, 3).spent(CONSTANT)
    assert Plateau().ended(math.nan, 0, test_before=1.0, test=1.0).least is None


def test_a_plateau_survives_the_disk() -> None:
    plateau = after(3.0, 2.9, 3.1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(plateau), type=Plateau) == plateau
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([2.5, 3]), type=Plateau).least_round == 3


def test_settings_out_of_range_are_refused() -> None:
    for patience in (-1, 10_001):
        with pytest.raises(ValueError, match="patience"):
            SettleConfig(patience=patience)
    for decays in (-1, 11):
        with pytest.raises(ValueError, match="decays"):
            SettleConfig(decays=decays)


def test_an_average_of_less_loss_is_the_best_state_and_a_gain() -> None:
    plateau = after(3.0, 3.1, 3.1).stepped(3.1, 3, average=2.9)
    assert (plateau.least, plateau.least_round, plateau.averaged) == (2.9, 3, True)
    assert not plateau.spent(CONSTANT)
    plateau = plateau.ended(3.1, 3, test_before=5.0, test=5.0)
    assert (plateau.idle, plateau.mark) == (0, 2.9)
    assert plateau.least_test is None, "that of the last iterate is not its own"
    assert plateau.recalled(CONSTANT, 0, test=4.0).least_test == 4.0


def without_mark(plateau: Plateau) -> Plateau:
    return msgspec.structs.replace(plateau, average_mark=None)


def test_while_the_average_falls_patience_does_not_end_although_one_merge_was_luckier() -> None:
    lucky = after(3.0, 3.1).stepped(3.1, 2, average=3.06).ended(3.1, 2, test_before=1.0, test=1.0)
    assert lucky.stepped(3.1, 3).spent(CONSTANT)
    assert lucky.stepped(3.1, 3, average=3.06 - GAIN / 2).spent(CONSTANT)
    falling = lucky.stepped(3.1, 3, average=3.06 - 2 * GAIN)
    assert not falling.spent(CONSTANT)
    assert (falling.least, falling.mark, falling.averaged) == (3.0, 3.0, False), "it is not the best state"


def test_an_average_that_falls_only_to_where_it_was_does_not_count_again() -> None:
    plateau = after(3.0, 3.1).stepped(3.1, 2, average=3.05).ended(3.1, 2, test_before=1.0, test=1.0)
    plateau = plateau.stepped(3.1, 3, average=3.2).ended(3.1, 3, test_before=1.0, test=1.0)
    assert plateau.stepped(3.1, 4, average=3.05).spent(CONSTANT)


def test_an_average_of_more_loss_changes_nothing_and_a_better_iterate_takes_its_place() -> None:
    worse = after(3.0).stepped(3.2, 1, average=3.1)
    assert without_mark(worse) == after(3.0).stepped(3.2, 1)
    averaged = after(3.0).stepped(3.2, 1, average=2.9).ended(3.2, 1, test_before=1.0, test=1.0)
    assert averaged.averaged
    assert not averaged.stepped(2.8, 2).averaged
    assert not averaged.stepped(3.2, 2).ended(2.8, 2, test_before=1.0, test=1.0).averaged


@pytest.mark.parametrize(("error", "held"), [(0.003, 0.003), (MOST_HELD, MOST_HELD), (0.05, MOST_HELD)])
def test_another_state_takes_the_place_of_an_average_only_where_it_is_lower_by_more_than_the_error(
    error: float, held: float
) -> None:
    averaged = after(3.0).stepped(3.2, 1, average=2.9, error=error).ended(3.2, 1, test_before=1.0, test=1.0)
    lucky, better = 2.9 - 0.9 * held, 2.9 - 1.1 * held
    assert averaged.stepped(lucky, 2).least == 2.9
    assert averaged.stepped(3.2, 2).ended(lucky, 2, test_before=1.0, test=1.0).averaged
    assert averaged.stepped(better, 2).least == better
    assert not averaged.stepped(3.2, 2).ended(better, 2, test_before=1.0, test=1.0).averaged


def test_a_later_average_takes_the_place_of_an_earlier_one_as_soon_as_it_is_lower() -> None:
    averaged = after(3.0).stepped(3.2, 1, average=2.9, error=0.05)
    later = averaged.stepped(3.2, 2, average=2.89, error=0.01)
    assert (later.least, later.averaged, later.average_error) == (2.89, True, 0.01)


def test_who_wakes_a_settled_peer_must_beat_its_average_by_the_error_too() -> None:
    settled = after(3.0).stepped(3.2, 1, average=2.9, error=0.004).recalled(CONSTANT, 0, test=1.0)
    settled = msgspec.structs.replace(settled, settled=True)
    assert settled.ended(2.9 - 0.003, 2, test_before=1.0, test=1.0).settled
    assert not settled.ended(2.9 - 0.005, 2, test_before=1.0, test=1.0).settled
