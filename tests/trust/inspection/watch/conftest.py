"""Histories that grow while a test looks on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from trust.inspection.watch.app import WatchApp
from trust.inspection.watch.following import Following
from trust.record.history import HISTORY_FILE, Entry, Record, Traffic
from trust.record.log import HistoryWriter

Append = Callable[..., None]
Script = Callable[[WatchApp, Pilot[None]], Awaitable[None]]


@pytest.fixture
def append() -> Append:
    """`append(home, "id-a", record, at_s=3.0, blob=100)`: as the peer's own process does it."""

    def write(home: Path, peer: str, *records: Record, at_s: float = 1.5, blob: int = 7) -> None:
        traffic = Traffic(sent={"blob": blob}, received={})
        with HistoryWriter(home / HISTORY_FILE, peer=peer, now=0.0) as writer:
            for record in records:
                writer.append(Entry(at_s=at_s, traffic=traffic, record=record))

    return write


@pytest.fixture
def play() -> Callable[..., None]:
    """Runs the view of a folder in a terminal of that size; the script presses keys. It never looks by itself."""

    def run(path: Path, script: Script, size: tuple[int, int] = (80, 24)) -> None:
        async def with_pilot() -> None:
            app = WatchApp(Following([path]), every_s=3600)
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                await script(app, pilot)

        asyncio.run(with_pilot())

    return run


@pytest.fixture
def screen() -> Callable[[WatchApp], list[str]]:
    """What the uppermost screen shows, line by line, without the blanks at the ends."""

    def lines(app: WatchApp) -> list[str]:
        return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]

    return lines
