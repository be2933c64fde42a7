"""The tables of `honest_table.py`, in markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sim.comparison.targets import reached
from sim.comparison.users import (
    Interval,
    States,
    User,
    averaged_states,
    best_of,
    best_states,
    gain,
    gap_closed,
    mean_perplexity,
)
from sim.experiments.measuring.best_states import AVERAGES
from sim.experiments.measuring.metrics import RunMetrics, StateMetrics
from sim.experiments.method_settings import DECAY_ROUNDS
from sim.experiments.methods import method_named
from sim.experiments.scenarios import Scenario

HEADS: Final = (
    *("method", "rate", "best", "last", "against best local", "gap closed", "worst tenth", "harmed"),
    *("best round", "tokens to target", "kB to target", "compute"),
)
LEGEND: Final = """\
* best local: of all lone methods and their averages the state of least trust loss, for each user
* best: test perplexity of each user's best state by its own trust split, mean; last: after the last round
* against best local: change of the mean perplexity against each user's best lone state, and its 95 % interval
* mean, ema: the best mean and the best moving average of each user's own iterates, a rest for the noise of steps
* best pooled: likewise of the variants of pooled training, which have the text of all users of a kind
* gap closed: share of the way from the best local to the best pooled
* worst tenth: mean change of the users that fare worst; harmed: users more than 1 % worse, beyond one standard error
* target: the mean perplexity of the best local; tokens trained on and kB sent by a peer until it is reached
* compute: thousands of tokens of a peer through the model, forward and backward, but for tests, until the run's end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The runs of one setting by method, each at the rate that was chosen for it."""

    scenario: Scenario
    rates: Mapping[str, float]
    runs: Mapping[str, Sequence[RunMetrics]]


def page(name: str, results: Results, *, lone: Sequence[str]) -> str:
    """The table of one setting. `lone` are the methods among which a user's best local is chosen."""
    scenario, runs = results.scenario, results.runs
    states = {method: best_states(runs[method]) for method in runs}
    if "local+trust" in runs and "local" in runs:
        states["local+trust"] = stopped_with(runs["local+trust"], runs["local"])
    candidates = [states[method] for method in lone]
    averages = {
        (method, average): known
        for method in runs
        if method_named(method).text != "trust"
        for average in AVERAGES
        if (known := averaged_states(runs[method], average))
    }
    local = best_of([*candidates, *(known for (method, _), known in averages.items() if method in lone)])
    target = mean_perplexity(local)
    pooled = best_of(
        [
            *(states[method] for method in runs if _pools(method)),
            *(known for (method, _), known in averages.items() if _pools(method)),
        ]
    )
    lines = [
        _row("best local", "", local, local, pooled, None, target),
        *([_row("best pooled", "", pooled, local, {}, None, target)] if pooled else []),
    ]
    for method in runs:
        rate = f"{results.rates[method]:g}"
        lines.append(_row(method, rate, states[method], local, pooled, runs[method], target))
        lines += [
            _row(f"{method}, {average}", rate, known, local, pooled, None, target)
            for (of, average), known in averages.items()
            if of == method
        ]
    rule = ["---", *["---:"] * (len(HEADS) - 1)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (HEADS, rule, *lines))
    passes = (
        scenario.steps * scenario.training.batch_windows * scenario.data.window_tokens
    ) / scenario.data.partition.train_tokens
    bases = [peer.base for one in runs[lone[0]] for peer in one.peers if peer.base is not None]
    about = (
        f"{scenario.peers} peers of {scenario.data.partition.train_tokens:,} training tokens, "
        f"{scenario.round.rounds} rounds of {scenario.round.steps} steps ({passes:.0f} passes; up to {DECAY_ROUNDS} "
        f"times as many with +decay), seeds "
        f"{', '.join(str(one.seed) for one in runs[lone[0]])}; untrained {statistics.fmean(bases):.1f}"
    )
    return f"### {name}\n\n{about}\n\n{table}\n\n{_against_averaging(states)}"


def stopped_with(runs: Sequence[RunMetrics], local: Sequence[RunMetrics]) -> dict[User, StateMetrics]:
    """The states of users that trained on their trust split, at the rounds at which they stopped without.

    Only their mean test loss is known, so they have no windows.
    """
    stops = best_states(local)
    found: dict[User, StateMetrics] = {}
    for one in runs:
        for place, peer in enumerate(one.peers):
            stop = stops[one.seed, place]
            point = next((point for point in peer.course if point.round == stop.round), peer.course[-1])
            found[one.seed, place] = StateMetrics(
                round=point.round, merged=False, trust=stop.trust, test=point.before, windows=()
            )
    return found


def _row(
    label: str,
    rate: str,
    states: States,
    local: States,
    pooled: States,
    runs: Sequence[RunMetrics] | None,
    target: float,
) -> list[str]:
    change = None if states is local else gain(states, local)
    gap = gap_closed(states, local, pooled) if pooled and _merges(label) else None
    last = "" if runs is None else f"{statistics.fmean(_last(runs)):.2f}"
    return [
        label,
        rate,
        f"{mean_perplexity(states):.2f}",
        last,
        "" if change is None else _percent(change.change),
        "" if gap is None else _share(gap),
        "" if change is None else f"{100 * change.worst:+.1f} %",
        "" if change is None else f"{change.harmed} of {change.users}",
        f"{statistics.fmean(state.round + 1 for state in states.values()):.1f}",
        *_to_target(runs, target),
        "" if runs is None else f"{_compute(runs) / 1e3:,.0f}",
    ]


def _last(runs: Sequence[RunMetrics]) -> list[float]:
    return [peer.after for one in runs for peer in one.peers if peer.after is not None]


def _compute(runs: Sequence[RunMetrics]) -> float:
    """Tokens of a peer through the model, forward and backward, but for tests, which only report."""
    return statistics.fmean(
        sum(tokens for purpose, tokens in (*one.forward.items(), *one.backward.items()) if purpose != "test")
        / len(one.peers)
        for one in runs
    )


def _merges(label: str) -> bool:
    """Whether a row is of a method that merges: only such a one is on the way from the best local to the pooled."""
    name = label.partition(",")[0]
    return not name.startswith("best ") and method_named(name).merging


def _pools(method: str) -> bool:
    return method_named(method).text == "kind"


def _to_target(runs: Sequence[RunMetrics] | None, target: float) -> tuple[str, str]:
    if runs is None or method_named(runs[0].method).text == "trust":
        return "", ""
    came = [reached(one, target) for one in runs]
    whole = [one for one in came if one is not None]
    if len(whole) < len(came):
        return "-", "-"
    tokens, sent = (
        statistics.fmean(values) for values in zip(*((x.tokens, x.sent) for x in whole), strict=True)
    )
    return f"{tokens:,.0f}", f"{sent / 1e3:,.0f}"


def _against_averaging(states: Mapping[str, States]) -> str:
    """How far each method is from plain averaging: what counts where peers are identical."""
    if "fedavg" not in states:
        return ""
    lines = [
        f"{method} {_percent(change.change)}"
        for method in states
        if method != "fedavg" and method_named(method).merging
        if (change := gain(states[method], states["fedavg"])) is not None
    ]
    return f"Against plain averaging: {', '.join(lines)}.\n\n" if lines else ""


def _percent(value: Interval) -> str:
    return f"{100 * value.value:+.1f} % [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def _share(value: Interval) -> str:
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"
