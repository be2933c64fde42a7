"""Records of starts and rounds for the history, and the merge inputs that are kept for `gossipllm trust explain`."""

from __future__ import annotations

import math

import msgspec

from gossipllm import __version__
from gossipllm.work import Merged, Opened
from peers.core.asking import ASKING, Asking
from peers.core.config import CoreConfig
from peers.core.events import PeerId
from peers.core.merge_inputs import MergeInput, MergeInputs
from peers.core.round.stages import Merging, Participant
from peers.core.saved import Saved, announced_of
from trust.record.history import Begun, Round, Seen
from trust.rows.rows import TrustConfig, alpha_of


def begun_record(peer: PeerId, config: CoreConfig, *, round_: int, opened: Opened) -> Begun:
    return Begun(
        peer=peer,
        name=config.name,
        round=round_,
        base=opened.fingerprints.base.hex(),
        tokenizer=opened.fingerprints.tokenizer.hex(),
        reference=opened.fingerprints.reference.hex(),
        layout=opened.fingerprints.layout.hex(),
        strategy=_strategy(config.trust),
        merge=config.learner.merge if config.merges else "none",
        test_loss=opened.test_loss,
        program=__version__,
        trust=msgspec.json.encode(config.trust).decode(),
        alpha=alpha_of(config.trust, config.learner.training.reduction),
        guarded=config.round.guard,
        newcomers=config.defence.newcomers if config.confirms else 1.0,
        own_share=config.defence.own_share if config.round.guard else 0.0,
        share=config.defence.share if config.confirms else 0.0,
        train_tokens=opened.train_tokens,
        credit=(config.defence.credit or msgspec.UNSET) if config.confirms else msgspec.UNSET,
    )


def round_record(
    peer: PeerId,
    *,
    saved: Saved,
    stage: Merging,
    merged: Merged,
    rate: float = 1.0,
    settled: bool = False,
    asking: Asking = ASKING,
) -> Round:
    """A round without local steps counts no text, whatever its announcement says of the last ones."""
    local = announced_of(saved).local
    return Round(
        peer=peer,
        round=saved.round,
        self_weight=stage.choice.row[0],
        seen=_all_seen(stage),
        train_loss=local.train_loss,
        trust_alone=stage.participants.own_loss,
        trust_merged=merged.trust_loss,
        test_alone=merged.test_alone,
        test_merged=merged.test_merged,
        temperature=stage.choice.temperature,
        tried=stage.tried,
        guard=stage.choice.guard,
        tokens=local.tokens if local.steps else 0,
        samples=local.samples if local.steps else 0,
        steps=local.steps,
        train_s=local.seconds,
        gather_s=stage.participants.gathered_s,
        merge_s=merged.seconds,
        discarded=merged.discarded,
        tokens_total=saved.tokens_total,
        samples_total=saved.samples_total,
        offered=local.offered,
        window=local.first_block if local.first_block >= 0 else None,
        importance=saved.importance,
        absorbed=len(stage.participants.shares) - len(merged.refused),
        fruitless=asking.fruitless,
        asks_in=asking.waits,
        judged=None if stage.choice.gain is None else _known(stage.choice.gain),
        judged_error=stage.choice.gain_error if math.isfinite(stage.choice.gain_error) else 0.0,
        certainty=stage.choice.certainty if stage.choice.certainty < 1 else msgspec.UNSET,
        alone=saved.course.alone,
        average=local.average_loss,
        rate=rate,
        settled=settled,
        distilled=merged.distilled,
        forgotten=msgspec.UNSET if merged.forgotten is None else merged.forgotten,
        clock=saved.clock or msgspec.UNSET,
    )


def merge_inputs(peer: PeerId, *, saved: Saved, stage: Merging) -> MergeInputs | None:
    """The updates that this round's row was over, and those that were left out of it; None where there was none."""
    participants = stage.participants
    taken = [
        *zip(participants.members, stage.choice.row[1:], strict=True),
        *((one, 0.0) for one in participants.left),
    ]
    taken.sort(key=lambda pair: pair[0].received.author)
    kept = tuple(
        MergeInput(
            peer=one.received.author,
            name=one.received.announcement.name,
            its_round=one.received.announcement.round,
            weight=weight,
            update=one.update,
            evidence=one.evidence,
        )
        for one, weight in taken
        if one.update is not None
    )
    if not kept:
        return None
    assert saved.snapshot is not None, "a merge follows local steps"
    return MergeInputs(
        peer=peer,
        round=saved.round,
        snapshot=saved.snapshot,
        self_weight=stage.choice.row[0],
        members=kept,
        text=saved.text,
    )


def _all_seen(stage: Merging) -> tuple[Seen, ...]:
    """The members of the row with their weights, and those with none: left out of it, or of another base; sorted by
    author."""
    taken = zip(stage.participants.members, stage.choice.row[1:], strict=True)
    seen = [
        *(_seen(one, weight) for one, weight in taken),
        *(_seen(one, 0.0) for one in (*stage.participants.left, *stage.participants.foreign)),
    ]
    return tuple(sorted(seen, key=lambda one: one.peer))


def _known(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _seen(participant: Participant, weight: float) -> Seen:
    one, announced = participant, participant.received.announcement
    several = len(one.distances) > 1
    return Seen(
        peer=one.received.author,
        name=announced.name,
        its_round=announced.round,
        age=one.staleness,
        distance=one.distances[0].mean if one.distances else 0.0,
        error=one.distances[0].error if one.distances else 0.0,
        distances=tuple(each.mean for each in one.distances) if several else (),
        errors=tuple(each.error for each in one.distances) if several else (),
        own=one.own_measures if any(one.own_measures) else (),
        weight=weight,
        tokens=announced.tokens,
        samples=announced.samples,
        tokens_total=announced.tokens_total,
        samples_total=announced.samples_total,
        rank=announced.offer.rank,
        gain=None if one.gain is None else _known(one.gain),
        gain_error=one.gain_error if math.isfinite(one.gain_error) else 0.0,
        left=one.left,
        twin_of=one.twin_of,
        mismatch=one.mismatch if math.isfinite(one.mismatch) else 1.0,
        standing=one.standing,
        relation=one.received.relation,
        teaches=one.teaches,
        by_bytes=one.byte_rows is not None,
    )


def _strategy(trust: TrustConfig) -> str:
    return trust.strategy if trust.form == "ours" else f"{trust.strategy} {trust.form}"
