"""What the history is told about refusals, under a flood of them."""

from __future__ import annotations

import msgspec

from peers.core.effects import Log
from peers.core.others.standing.budgets import LINES, LINES_OF_SOURCE
from peers.core.others.standing.complaints import REPORT_AGAIN_S, SUMMARY_AFTER_S, Complaints
from trust.record.history import Note, Refusal


def complaints(sources: dict[str, str] | None = None) -> Complaints:
    known = sources or {}
    return Complaints("me", lambda peer: known.get(peer, peer))


def refusals(logs: list[Log]) -> int:
    return sum(isinstance(log.record, Refusal) for log in logs)


def notes(logs: list[Log]) -> list[str]:
    return [log.record.text for log in logs if isinstance(log.record, Note)]


def test_the_same_about_the_same_peer_is_told_once_an_hour() -> None:
    told = complaints()
    times = (0.0, 60.0, REPORT_AGAIN_S - 1, REPORT_AGAIN_S)
    assert [refusals(told.about("a", "net", "why", now)) for now in times] == [1, 0, 0, 1]


def test_four_hundred_new_identities_of_one_source_write_a_few_lines() -> None:
    told = complaints({f"key{number}": "v4:203.0.113.7" for number in range(400)})
    lines = sum(refusals(told.about(f"key{number}", "net", "why", number / 400)) for number in range(400))
    assert lines == LINES_OF_SOURCE.burst
    assert refusals(told.about("honest", "net", "why", 1.0)) == 1, "another source is still reported"
    assert refusals(told.about("key0", "rank", "why", 1.0)) == 1, "and so is another reason"


def test_what_was_not_told_is_told_in_one_line_later() -> None:
    told = complaints({f"key{number}": f"group{number % 2}" for number in range(4_000)})
    for number in range(4_000):
        told.about(f"key{number}", f"field{number % 3}", "why", 0.0)
    assert notes(told.summary(SUMMARY_AFTER_S - 1)) == []
    kept = 2 * 3 * int(LINES_OF_SOURCE.burst)
    assert notes(told.summary(SUMMARY_AFTER_S)) == [
        f"and {4_000 - kept:,} more refusals of 3 kinds by 2 connections, not listed one by one"
    ]
    assert notes(told.summary(10 * SUMMARY_AFTER_S)) == []


def test_a_flood_from_a_thousand_addresses_for_an_hour_writes_less_than_a_megabyte() -> None:
    told = complaints()
    size = lines = 0
    for second in range(3600):
        for number in range(3):
            about = f"{second}-{number}".ljust(52, "x")
            logs = told.about(about, "announcement.evidence.size", "y" * 200, float(second))
            lines += len(logs)
            size += sum(len(msgspec.msgpack.encode(log.record)) for log in logs)
    assert lines <= LINES.burst + 3600 * LINES.per_second + 3600 / SUMMARY_AFTER_S
    assert size < 1_000_000
