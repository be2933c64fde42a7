"""What a remote can do wrong below the announcements, and what it costs.

The fines are guesses in proportion to scores, where -20 disconnects and -50 bans. They are only reported
here: what a score does is decided above. Whatever text goes along is ours or is escaped and cut before it
gets here.
"""

from __future__ import annotations

from typing import Final

MALFORMED: Final = -10.0
SLOW: Final = -10.0
OVERSIZE: Final = -25.0
FORGED: Final = -25.0
FLOOD: Final = -5.0
UNKNOWN_TOPIC: Final = -5.0
WITHHELD: Final = -5.0
WRONG_BLOB: Final = -50.0


class ProtocolFault(Exception):
    """A remote broke the protocol. Becomes `Peer.misbehaved`, never a traceback."""

    def __init__(self, field: str, why: str, fine: float) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why
        self.fine = fine
