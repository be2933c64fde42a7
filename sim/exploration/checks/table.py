"""The table of invariants, and the checker that holds one world against all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sim.exploration.checks.announcements import AcceptedOnce, OneAnnouncementPerRound, RoundsNeverFall
from sim.exploration.checks.bases import OwnBaseOnly
from sim.exploration.checks.caps import EverythingIsBounded
from sim.exploration.checks.recovery import AllKnowTheLatest, EveryPeerGoesOn, NoHonestPeerIsFined
from sim.exploration.checks.rest import SettledPeersRest
from sim.exploration.checks.rows import GatesBeforeWeight, RowsAreDistributions
from sim.exploration.checks.violation import Check, Violation
from sim.exploration.plan import Plan
from sim.exploration.run import Explored, run
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened


@dataclass(frozen=True, slots=True)
class Invariant:
    about: str
    check: Callable[[Plan], Check]


INVARIANTS: Final[Mapping[str, Invariant]] = MappingProxyType(
    {
        "accepted-once": Invariant("nothing is accepted twice", lambda _: AcceptedOnce()),
        "gates-before-weight": Invariant(
            "no update has a weight that skipped a gate", lambda plan: GatesBeforeWeight(plan.form)
        ),
        "one-announcement": Invariant(
            "a peer announces a round once, over crashes too", lambda _: OneAnnouncementPerRound()
        ),
        "own-base": Invariant("no update of another base is fetched or merged", lambda _: OwnBaseOnly()),
        "rows": Invariant("rows are distributions that do no harm", lambda _: RowsAreDistributions()),
        "caps": Invariant("memory, fetches, rows and histories are bounded", lambda _: EverythingIsBounded()),
        "news": Invariant(
            "after quiet, all honest peers know all honest rounds", lambda _: AllKnowTheLatest()
        ),
        "rounds-never-fall": Invariant("a restart never lowers the round", lambda _: RoundsNeverFall()),
        "no-honest-fined": Invariant("no honest peer is fined", lambda _: NoHonestPeerIsFined()),
        "progress": Invariant("after quiet, every honest peer goes on", lambda _: EveryPeerGoesOn()),
        "rest": Invariant(
            "a settled peer rests at its best state, and news wakes it seldom", lambda _: SettledPeersRest()
        ),
    }
)
RAISED: Final = "raised"
"""The invariant that no core ever raises."""
TRACE: Final = "same-trace"
"""The invariant that equal plans have equal traces."""
REPEAT_EVERY: Final = 10
"""Worlds whose seed is a multiple of this run twice, to compare traces."""


class Checker:
    """Holds one world against the table. It keeps the first violation of each invariant."""

    def __init__(self, plan: Plan) -> None:
        self._checks = {name: one.check(plan) for name, one in INVARIANTS.items()}
        self.violations: dict[str, Violation] = {}
        self.explored: Explored | None = None

    def watch(self, explored: Explored) -> None:
        """Begin to watch; called before anything happens."""
        self.explored = explored
        explored.world.watch = self._see

    def _see(self, happened: Happened) -> None:
        assert self.explored is not None, "called by the world that is watched"
        node = self.explored.world.nodes[happened.peer]
        for name, check in self._checks.items():
            for text in check.see(node, happened):
                # A liar's core is like any other: nothing of what is seen here may it do either.
                self._found(name, node, text)

    def sample(self, explored: Explored) -> None:
        for name, check in self._checks.items():
            for node, text in check.sample(explored):
                self._found(name, node, text)

    def end(self, explored: Explored) -> None:
        for name, check in self._checks.items():
            for node, text in check.end(explored):
                self._found(name, node, text)

    def _found(self, invariant: str, node: SimulatedPeer, text: str) -> None:
        assert self.explored is not None, "called by the world that is watched"
        event = len(self.explored.world.log) - 1
        self.violations.setdefault(invariant, Violation(invariant, node.config.name, text, event))


@dataclass(frozen=True, slots=True)
class Outcome:
    """`trace` is the digest of all events, empty where a core raised."""

    plan: Plan
    violations: tuple[Violation, ...]
    explored: Explored | None
    events: int
    trace: str


def checked(plan: Plan) -> Outcome:
    """Run the world of a plan and hold it against every invariant."""
    checker = Checker(plan)
    trace = ""
    try:
        explored = run(plan, begin=checker.watch, sample=checker.sample)
        checker.end(explored)
        trace = explored.world.trace
    except Exception as error:  # noqa: BLE001 - whatever a core raises is what this looks for
        seen = checker.explored
        event = len(seen.world.log) - 1 if seen else 0
        text = f"{type(error).__name__}: {error} ({_where(error)})"
        checker.violations[RAISED] = Violation(RAISED, "", text, event)
    if trace and plan.seed % REPEAT_EVERY == 0:
        again = run(plan, begin=lambda _: None, sample=lambda _: None).world.trace
        if again != trace:
            checker.violations[TRACE] = Violation(TRACE, "", f"ran to {trace[:16]} and to {again[:16]}", 0)
    seen = checker.explored
    found = tuple(checker.violations.values())
    return Outcome(plan, found, seen, seen.world.events if seen else 0, trace)


def _where(error: BaseException) -> str:
    """The line that raised."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "nowhere"
