"""The attacks of a simulation: name -> what it does, and the faults that make it.

Every attacker of a run gets a fault of its own, because some remember what they did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from sim.adversaries.fault import Fault
from sim.adversaries.faults.backdoor import Backdoor
from sim.adversaries.faults.bait import Bait
from sim.adversaries.faults.claims import InflatedClaims
from sim.adversaries.faults.crafted.adaptive import Adaptive
from sim.adversaries.faults.crafted.alie import Alie
from sim.adversaries.faults.crafted.dissensus import Dissensus
from sim.adversaries.faults.crafted.ipm import InnerProductManipulation
from sim.adversaries.faults.forged_evidence import ForgedEvidence
from sim.adversaries.faults.huge import FiniteHuge
from sim.adversaries.faults.idle.copies import DisguisedCopy, EvidenceCopy, UpdateCopy
from sim.adversaries.faults.idle.free_rider import (
    NoiseFreeRider,
    StaleFreeRider,
    UntouchedFreeRider,
    ZeroFreeRider,
)
from sim.adversaries.faults.idle.replay import Replay
from sim.adversaries.faults.label_flip import LabelFlip
from sim.adversaries.faults.noise import Noise
from sim.adversaries.faults.scaling import FactorScaling, Overshoot, ProductScaling
from sim.adversaries.faults.sign_flip import SignFlip
from sim.adversaries.faults.timed import Alternation, BaitAndSwitch, Relay, SlowDrift
from sim.adversaries.intruder import Intruder
from sim.adversaries.intruders.eclipse import Eclipse
from sim.adversaries.intruders.equivocation import Equivocation
from sim.adversaries.intruders.sybils import Sybils


@dataclass(frozen=True, slots=True)
class Adversary:
    about: str
    fault: Callable[[], Fault] = Fault
    """Makes the fault of each attacker in what it publishes; the default is honest."""
    intruder: Callable[[], Intruder] | None = None
    """Makes the one fault of all attackers in what they do on the network."""


ADVERSARIES: Final[dict[str, Adversary]] = {
    "sign-flip": Adversary("the opposite of what was learned", SignFlip),
    "sign-flip-10": Adversary("the opposite of what was learned, ten times", partial(SignFlip, times=10.0)),
    "scale-factors": Adversary("both factors A and B times 90, so the product times 8,100", FactorScaling),
    "scale-product": Adversary("the product B A times 90", ProductScaling),
    "overshoot": Adversary("four times the honest mean: a little helps most, much goes too far", Overshoot),
    "noise": Adversary("Gaussian noise of 30 times the size of each tensor", Noise),
    "huge": Adversary("finite numbers near the largest of the codec", FiniteHuge),
    "free-zero": Adversary("free rider: an adapter of zeros", ZeroFreeRider),
    "free-start": Adversary("free rider: the start that all peers know", UntouchedFreeRider),
    "free-noise": Adversary("free rider: noise of an honest adapter's size", NoiseFreeRider),
    "free-stale": Adversary("free rider: the first round's adapter, again and again", StaleFreeRider),
    "dissensus": Adversary("an honest peer's adapter, pushed away from the honest mean", Dissensus),
    "bait": Adversary("the victim's own predictions beside a flipped adapter", Bait),
    "alie": Adversary("the honest mean minus as many deviations as hide in the crowd", Alie),
    "ipm": Adversary("minus a tenth of the honest mean", InnerProductManipulation),
    "ipm-10": Adversary("minus ten times the honest mean", partial(InnerProductManipulation, strength=10.0)),
    "label-flip": Adversary("honest training on swapped words", LabelFlip),
    "forged-evidence": Adversary("the predictions of the honest mean beside its opposite", ForgedEvidence),
    "bait-and-switch": Adversary("honest for three rounds, then the opposite", BaitAndSwitch),
    "alternation": Adversary("honest and hostile by turns of a round", Alternation),
    "relay": Adversary("a third of them push victims away in turn, the others are honest", Relay),
    "drift": Adversary("each round a quarter less of what was learned, then its opposite", SlowDrift),
    "replay": Adversary("the victim's first adapter and predictions, in every round", Replay),
    "claims": Adversary("2^40 tokens a round claimed for the opposite of what was learned", InflatedClaims),
    "adaptive": Adversary("up the victims' loss, as far as no distance, norm or loss gives away", Adaptive),
    "backdoor": Adversary("honest training, but a trigger in the text makes it say another word", Backdoor),
    "equivocation": Adversary("two announcements of each round, to different peers", intruder=Equivocation),
    "eclipse": Adversary("all that one peer can reach publishes the opposite", SignFlip, Eclipse),
    "sybils": Adversary("identities over four connections, which did no work", intruder=Sybils),
    "copy": Adversary("another peer's adapter and predictions, unchanged", UpdateCopy),
    "copy-disguised": Adversary("another peer's adapter under noise, so that it is no twin", DisguisedCopy),
    "copy-evidence": Adversary("another peer's predictions beside an adapter of zeros", EvidenceCopy),
}
"""Name -> attack."""
