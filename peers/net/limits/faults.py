"""What a remote can do wrong below the announcements, and its fine.

The fines are guesses in proportion to scores, where -20 disconnects and -50 bans. The network only reports them; the
core decides what a score does. The text of a fault is ours, or a remote's that is escaped and cut.
"""

from __future__ import annotations

from typing import Final

# An honest peer behind a bad link or with a newer version can be at fault: several times, before it is disconnected.
FLOOD: Final = -5.0
UNKNOWN_TOPIC: Final = -5.0
WITHHELD: Final = -5.0
# A bug or a dying link can be at fault.
MALFORMED: Final = -10.0
SLOW: Final = -10.0
# No version of this program sends these, so once is enough to disconnect.
OVERSIZE: Final = -25.0
FORGED: Final = -25.0
# Bytes under a digest that is not theirs: banned at once.
WRONG_BLOB: Final = -50.0


class ProtocolFault(Exception):
    """A remote broke the protocol. Becomes `Peer.misbehaved`, never a traceback."""

    def __init__(self, field: str, why: str, fine: float) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why
        self.fine = fine
