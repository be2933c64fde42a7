"""Offers: is an announced offer valid, and can this peer merge it?

Validity follows from the base and the layout, so a peer of the same ones that relays an invalid announcement is at
fault. What a peer of another base announces cannot be checked here, and its update is never fetched.
Whether it can be merged depends on this peer's own settings, as its merge rule or the largest rank that it takes.
Other peers may have set these otherwise, so an announcement that cannot be merged is relayed like any other, but its
blobs are not fetched, and the user is told why.
"""

from __future__ import annotations

from collections.abc import Mapping

from gossipllm.config.choices import MERGE_RULES, rules_for_unequal_ranks
from peers.core.config import CoreConfig
from peers.core.others.connected.relation import Relations
from peers.core.others.inbox import Kind
from peers.core.terms import Terms
from trust.rows.config import evidence_of
from trust.rows.evidence_kinds import EVIDENCE
from wire.errors import WireError
from wire.importance import decode_importance
from wire.messages import Announcement, BlobRef
from wire.updates.units import Offer


class Offers:
    def __init__(self, terms: Terms, config: CoreConfig, key: bytes) -> None:
        self._terms = terms
        self._adapter = config.learner.adapter
        self._unequal_ranks = MERGE_RULES[config.learner.merge].unequal_ranks
        self._whole_only = any(EVIDENCE[kind].whole_adapters for kind in evidence_of(config.trust))
        compares = any(EVIDENCE[kind].positions is not None for kind in evidence_of(config.trust))
        self._reads_predictions = compares or config.distils
        self._key = key
        self.relations = Relations(config, terms)

    def check(self, announcement: Announcement) -> None:
        """Raise `WireError` for an announcement that no honest peer of this base and layout makes."""
        size = self._terms.schema.size(announcement.offer)
        if announcement.update.size != size:
            raise WireError(
                "announcement.update.size", f"{announcement.update.size} bytes, what it offers takes {size}"
            )
        for one in announcement.packed or ():
            if one.blob.size >= size:
                raise WireError("announcement.packed.size", f"{one.blob.size} bytes, the update has {size}")
        if announcement.importance:
            decode_importance(announcement.importance, self._terms.layers)
        self._check_shares(announcement)

    def obstacle(self, offer: Offer) -> tuple[str, str] | None:
        """Which of this peer's own settings keeps it from merging the offer, as (field, why); None where none does."""
        own, most = self._terms.offer, self._adapter.most_rank
        if offer.rank > most:
            return "offer.rank", f"rank {offer.rank}, and adapter.most_rank is {most}; raise that to merge it"
        if self._terms.pushes and offer != own:
            return "offer", "another rank or other modules, and push-sum needs the same of all peers"
        if offer.rank != own.rank and not self._unequal_ranks:
            why = f"rank {offer.rank}, ours {own.rank}; only merge.rule = {rules_for_unequal_ranks()} can merge them"
            return "offer.rank", why
        if self._whole_only and offer != own:
            return "offer", "another rank or other modules, and this trust.form compares whole adapters only"
        if not self._has_common(offer):
            return "offer.units", "nothing of what this peer's adapter has; see adapter.modules"
        return None

    def wanted(self, announcement: Announcement) -> Mapping[Kind, BlobRef]:
        """The blobs to fetch of an announcement: predictions only where this peer's strategy compares or distils them,
        byte rows only of another tokenizer, with push-sum only the share for this peer, and no update that this peer
        cannot merge."""
        relation = self.relations.to(announcement.fingerprints)
        if relation == "apart":
            return {}
        if not self.relations.same_tokenizer(announcement.fingerprints):
            rows = announcement.byte_rows
            return {"byte_rows": rows} if isinstance(rows, BlobRef) else {}
        if relation != "merges":
            return {"evidence": announcement.evidence}
        if not self._terms.pushes:
            update: dict[Kind, BlobRef] = {"update": announcement.update}
            return {"evidence": announcement.evidence, **update} if self._reads_predictions else update
        ours = next((one.blob for one in announcement.shares if one.to == self._key), None)
        return {} if ours is None else {"update": ours}

    def _check_shares(self, announcement: Announcement) -> None:
        shares = announcement.shares
        if not shares:
            return
        if not self._terms.pushes:
            raise WireError("announcement.shares", f"{len(shares)}, in a network that pushes no mass")
        if announcement.offer != self._terms.offer:
            return
        for one in shares:
            if one.blob.size != self._terms.share_bytes:
                why = f"{one.blob.size} bytes, a share has {self._terms.share_bytes}"
                raise WireError("announcement.shares.size", why)

    def _has_common(self, offer: Offer) -> bool:
        theirs, ours = (int.from_bytes(one.units, "little") for one in (offer, self._terms.offer))
        return not theirs or not ours or bool(theirs & ours)
