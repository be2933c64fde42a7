"""The live view of histories, run in a terminal that only the test sees."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from trust.inspection.watch.app import WatchApp
from trust.inspection.watch.following import Following

Script = Callable[[WatchApp, Pilot[None]], Awaitable[None]]
"""What a user does: it presses keys and looks at the screen."""


def play(path: Path, script: Script, size: tuple[int, int] = (80, 24)) -> None:
    """Run the view of a folder in a terminal of that size. It never looks at the files by itself."""

    async def with_pilot() -> None:
        app = WatchApp(Following([path]), every_s=3600)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(with_pilot())


def screen_lines(app: WatchApp) -> list[str]:
    """What the uppermost screen shows, line by line, without the blanks at the ends."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]
