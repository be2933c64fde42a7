"""Relations: what two peers of one network can do for each other, from their fingerprints and this peer's settings.

This file decides it, and everything else asks it:

    merges      equal base, tokenizer and layout: updates are mixed
    distils     another base, layout or tokenizer, and this peer distils: it learns from their predictions, across
                tokenizers from byte rows, where it makes such rows itself
    compares    the same where this peer does not distil: their predictions are measured and recorded
    apart       nothing that this peer can use: a tokenizer without byte rows, or a strategy that measures updates

A network is a name, a reference set and a version of the protocol, which its id holds. Base, tokenizer and layout are
properties of a peer, and may differ from one announcement to the next: each announcement is taken by what it says of
itself. To say another base proves nothing and breaks no promise, so it is no equivocation. Whoever claims a base that
it does not hold sends updates that do not fit, or that do not help.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from peers.core.config import CoreConfig
from peers.core.terms import Terms
from trust.record.history import Relation
from trust.rows.config import evidence_of, strategy_of
from trust.rows.evidence_kinds import EVIDENCE
from wire.digest import short
from wire.messages import PROTOCOL_VERSION, Fingerprints, version_of

OWN_FIELDS: Final = ("base", "tokenizer", "layout")
"""The fingerprints in which peers of one network may differ."""
FIELDS: Final = ("base", "tokenizer", "reference", "layout")

CURES: Final = {
    "base": "Set [model] name in peer.toml to its base model to merge with it",
    "tokenizer": "Use the base model that it holds to merge with it",
    "layout": "Set [adapter] in peer.toml as it has it to merge with it",
    "reference": "Set [reference] in peer.toml as that network has it",
    "version": "Peers of one network run one version: update gossipllm where it is older",
    "net": "Set [peer] network in peer.toml to that network's name",
}
"""What to do about a field in which two peers differ."""


class Relations:
    """The relation of this peer to others."""

    def __init__(self, config: CoreConfig, terms: Terms) -> None:
        self._ours = terms.fingerprints
        self._own = _own_fields(terms.fingerprints)
        strategy, kinds = strategy_of(config.trust), evidence_of(config.trust)
        # A row that is fitted, and every other kind of evidence, needs an update that this peer's base can compute.
        comparable = (
            not terms.pushes
            and strategy.merges
            and not strategy.fitted
            and all(EVIDENCE[kind].positions is not None for kind in kinds)
        )
        self._foreign: Relation = "compares" if comparable and kinds else "apart"
        if comparable and config.distils and not terms.rows.raw:
            self._foreign = "distils"
        self._by_bytes: Relation = self._foreign if terms.makes_byte_rows else "apart"
        """Of peers with another tokenizer."""

    def to(self, theirs: Fingerprints) -> Relation:
        if _own_fields(theirs) == self._own:
            return "merges"
        return self._foreign if self.same_tokenizer(theirs) else self._by_bytes

    def same_tokenizer(self, theirs: Fingerprints) -> bool:
        """Whether this peer can read predictions of tokens, and not only byte rows."""
        return theirs.tokenizer == self._ours.tokenizer


def mismatch(
    theirs: Fingerprints, ours: Fingerprints, fields: tuple[str, ...] = FIELDS
) -> tuple[str, str] | None:
    """The first fingerprint of these in which two peers differ, as (field, why); None where all are equal."""
    for name in fields:
        their, our = getattr(theirs, name), getattr(ours, name)
        if their != our:
            return name, f"theirs {short(their)}, ours {short(our)}"
    return None


def other_network(
    net: bytes, theirs: Fingerprints, ours: Fingerprints, *, name: str, our_net: bytes
) -> tuple[str, str] | None:
    """In what another peer's network differs from ours, as (field, why); None where it is the same network."""
    version = PROTOCOL_VERSION if net == our_net else version_of(net, name, theirs)
    if version is not None and version != PROTOCOL_VERSION:
        older = "theirs" if version < PROTOCOL_VERSION else "ours"
        return "version", f"theirs speaks protocol {version}, ours {PROTOCOL_VERSION}; {older} is older"
    differs = mismatch(theirs, ours, ("reference",))
    if differs is not None or net == our_net:
        return differs
    return "net", f"another network name than {name!r}"


_own_fields = attrgetter(*OWN_FIELDS)
