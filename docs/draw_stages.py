"""Draw the stages of a round from `peers.core.round.stages.TRANSITIONS`: `python docs/draw_stages.py`.

Writes docs/pages/images/stages.svg. A test fails while the picture is not the one that the table gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from peers.core.round.stages import (
    FROM_NEIGHBOURS,
    STAGES,
    TRANSITIONS,
    Gathering,
    Kind,
    Opening,
    Saving,
    Stage,
)

PICTURE = Path(__file__).with_name("pages") / "images" / "stages.svg"

BOX_WIDTH, BOX_HEIGHT, PITCH = 120, 34, 78
CENTRE, TOP = 300, 16
LANE = 34
"""Pixels between arrows that pass other stages."""

Arrow = tuple[type[Stage], type[Stage]]


CAPTION = (
    "A stage with nothing to wait for is left at once, so arrows to and from Gathering may be one step.",
    "From every stage that waits for the learner, its death (Failed, LearnerLost) leads back to Opening.",
)


def svg() -> str:
    """The picture as the text of an SVG file: stages from top to bottom, events beside the arrows."""
    below = TOP + PITCH * (len(STAGES) - 1) + BOX_HEIGHT
    height = below + 52
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{height}" viewBox="0 0 640 {height}"',
        ' font-family="sans-serif" font-size="11">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"',
        ' orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>',
        f'<rect width="640" height="{height}" fill="#ffffff"/>',
    ]
    parts += _arrows()
    for stage in STAGES:
        y = _y(stage)
        parts.append(
            f'<rect x="{CENTRE - BOX_WIDTH // 2}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
            'fill="#eef3fa" stroke="#3b5b8c"/>'
        )
        parts.append(
            f'<text x="{CENTRE}" y="{y + 21}" text-anchor="middle" font-size="13" '
            f'fill="#1c2b45">{stage.__name__}</text>'
        )
    for number, line in enumerate(CAPTION):
        parts.append(f'<text x="40" y="{below + 24 + 16 * number}" fill="#333">{line}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _arrows() -> Iterator[str]:
    """An arrow to the next stage goes straight down, a longer one on the right, one back on the left."""
    lanes = {True: 0, False: 0}
    drawn = sorted(_drawn().items(), key=lambda arrow: abs(_y(arrow[0][1]) - _y(arrow[0][0])))
    for (before, after), kinds in drawn:
        start, end = _y(before), _y(after)
        label = escape(_words(kinds))
        step = STAGES.index(after) - STAGES.index(before)
        if step == 1:
            yield _line(f"M{CENTRE},{start + BOX_HEIGHT} L{CENTRE},{end}")
            middle = (start + BOX_HEIGHT + end) // 2 + 4
            yield _text(CENTRE - 8, middle, label)
            continue
        forward = step > 1
        side = 1 if forward else -1
        edge = CENTRE + side * (BOX_WIDTH // 2)
        lanes[forward] += 1
        out = edge + side * LANE * lanes[forward]
        from_y, to_y = start + BOX_HEIGHT // 2 + 6, end + BOX_HEIGHT // 2 - 6
        yield _line(f"M{edge},{from_y} C{out},{from_y} {out},{to_y} {edge},{to_y}")
        if not forward:
            yield _text(out - 4, (from_y + to_y) // 2, label)


def _drawn() -> dict[Arrow, list[Kind]]:
    """The arrows that are no path through Gathering in one step, and do not lead back to Opening: see the caption."""
    beyond = {after for row in TRANSITIONS if row.stage is Gathering for after in row.to} - {Gathering}
    return {
        (before, after): kinds
        for (before, after), kinds in _events().items()
        if after is not Opening and not (before in (Opening, Saving) and after in beyond)
    }


def _events() -> dict[Arrow, list[Kind]]:
    """Which kinds of events lead from a stage to another."""
    events: dict[Arrow, list[Kind]] = {}
    for row in TRANSITIONS:
        for after in row.to:
            if after is not row.stage:
                events.setdefault((row.stage, after), []).extend(row.events)
    return events


def _words(kinds: list[Kind]) -> str:
    names = [kind.__name__ for kind in kinds if kind not in FROM_NEIGHBOURS]
    return ", ".join(names + ["a neighbour's blob"] * (len(names) < len(kinds)))


def _y(stage: type[Stage]) -> int:
    return TOP + PITCH * STAGES.index(stage)


def _text(x: int, y: int, text: str) -> str:
    """Text that ends at x, on a white edge so that lines may pass behind it."""
    style = 'text-anchor="end" fill="#333" paint-order="stroke" stroke="#fff" stroke-width="3"'
    return f'<text x="{x}" y="{y}" {style}>{text}</text>'


def _line(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
