"""The acts of hostile peers by name, one fault each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sim.exploration.hostile import contents, floods, forms, messages
from sim.exploration.hostile.peer import HostilePeer
from sim.world.simulated_peer import SimulatedPeer


@dataclass(frozen=True, slots=True)
class Act:
    about: str
    act: Callable[[HostilePeer, SimulatedPeer], None]


ACTS: Final[Mapping[str, Act]] = MappingProxyType(
    {
        "garbage": Act("bytes that are no message, and messages that are cut off", messages.garbage),
        "bit-flips": Act("honest announcements with one bit flipped", messages.flip_a_bit),
        "forgery": Act("announcements in the names of honest peers, signed by nobody", messages.forge),
        "replay": Act("old announcements of honest peers again", messages.replay),
        "stripping": Act(
            "honest announcements without their predictions, or with others", messages.strip_payload
        ),
        "equivocation": Act("several announcements of one round", messages.equivocate),
        "running-ahead": Act("rounds of the far future, then earlier ones", messages.run_ahead),
        "flood": Act("announcements without end, none with an update", floods.flood),
        "strangers": Act("announcements of ever new authors", floods.flood_of_strangers),
        "greetings": Act("greetings without end", floods.flood_of_greetings),
        "complaints": Act("announcements of ever other networks", floods.flood_of_complaints),
        "copying": Act("honest updates as one's own", contents.copy),
        "withholding": Act("announcements of blobs that nobody has", contents.withhold),
        "other-bytes": Act("other bytes than those of the digest", contents.serve_other_bytes),
        "random-update": Act("an update of random bytes", contents.random_update),
        "not-finite": Act("updates with numbers that are not finite", contents.not_finite),
        "loud": Act("updates much larger than those of honest peers", contents.loud),
        "opposite": Act("updates of a plausible size in a wrong direction", contents.opposite),
        "false-greetings": Act("greetings that lie about rounds and networks", messages.greet_with_lies),
        "false-replies": Act(
            "replies full of strangers and of bytes that are no announcement", messages.reply_with_lies
        ),
        "claims": Act("claims as large as their types allow", contents.claim),
        "pushing": Act("shares of mass of any size", contents.push),
        "flapping": Act("connections that end as soon as they stand", messages.flap),
        # Behind the others, so that seeds keep the acts that they drew before these were known.
        "false-packing": Act("packed forms of other updates than the announced one", forms.pack_falsely),
        "false-byte-rows": Act("byte rows of another tokenizer that are none", forms.forge_byte_rows),
    }
)
