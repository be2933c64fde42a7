"""A peer's learner: performs the requests of `work.py` on one model, one adapter and one text.

    Open      base, adapter, splits, reference set; the state to go on from
    Train     local steps, then the adapter's bytes and predictions as others will see them
    Weigh     a neighbour's bytes -> its distance, or `Declined`
    Evaluate  rows -> the trust loss that each merge would give
    Merge     a row -> the adapter

What a request needs of neighbours comes with it as contents; decoded updates, their common bases and the
merges that `Evaluate` tried are kept until the next `Merge` or `Train`, so that merging what was tried is
free (`neighbours.py`).

An adapter is changed by `Train` and `Merge` only, and only if they end well: whatever fails leaves adapter
and optimiser as they were.

Axes: W windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, assert_never

import numpy as np
import torch

from gossipllm.config import LearnerConfig
from gossipllm.learning.evaluation import window_losses
from gossipllm.learning.materials import Materials, load_materials
from gossipllm.learning.neighbours import Neighbours
from gossipllm.learning.predictions import predict
from gossipllm.learning.training import Moments, Trainer
from gossipllm.mistakes import UserMistake
from gossipllm.model.names import A, B, State, modules_of
from gossipllm.model.snapshots import (
    Snapshot,
    SnapshotHeader,
    check_snapshot,
    decode_snapshot,
    encode_snapshot,
)
from gossipllm.text.data import Windows
from gossipllm.work import (
    Answer,
    Declined,
    Evaluate,
    Evaluated,
    Failed,
    Merge,
    Merged,
    Open,
    Opened,
    Progress,
    Request,
    Train,
    Trained,
    Weigh,
    Weighed,
    Work,
)
from trust.evidence import Distance, Factors, prediction_distance, validation_distance, weight_distance
from wire.digest import Content
from wire.errors import WireError
from wire.floats import F32
from wire.logits import SparseRows, decode_rows, encode_rows
from wire.tensors import encode_update

OnProgress = Callable[[Progress], None]

OPENING_STEPS: Final = 5


class Learner:
    """Made by `Learner.open`; `opened` is the answer to that request."""

    def __init__(self, config: LearnerConfig, materials: Materials) -> None:
        self.config = config
        self.adapter = materials.adapter
        self.trainer = Trainer(self.adapter, config.training)
        self.round = 0
        self._materials = materials
        self._reference = materials.reference
        self._trust_WT = materials.splits.trust_WT[: config.data.trust_windows]
        self._test_WT = materials.splits.test_WT[: config.data.test_windows]
        self._neighbours = Neighbours(self.adapter, config)
        self._published: SparseRows | None = None
        self._trust_losses_W: F32 | None = None
        self.opened: Opened

    @classmethod
    def open(cls, request: Open, on_progress: OnProgress) -> Learner:
        """Raises `UserMistake` where model, data or state cannot be had."""

        def on_phase(name: str, step: int) -> None:
            on_progress(opening(request.request, name, step))

        learner = cls(request.config, load_materials(request.config, on_phase))
        if request.snapshot is not None:
            learner._resume(decode_snapshot(request.snapshot.data))
        on_phase("first loss", OPENING_STEPS - 1)
        learner.opened = learner._introduction(request.request)
        return learner

    def perform(self, request: Work, on_progress: OnProgress) -> Answer:
        """Raises `UserMistake` for what the user can mend; see `answer` for the rest."""
        match request:
            case Train():
                return self._train(request, on_progress)
            case Weigh():
                return self._weigh(request)
            case Evaluate():
                return self._evaluate(request)
            case Merge():
                return self._merge(request)
            case _:
                assert_never(request)

    def _train(self, request: Train, on_progress: OnProgress) -> Trained:
        before, moments = self.adapter.state(), self.trainer.moments()

        def on_step(step: int, loss: float, tokens_per_s: float) -> None:
            on_progress(
                Progress(
                    request=request.request,
                    phase="training",
                    step=step,
                    steps=request.steps,
                    loss=loss,
                    tokens_per_s=tokens_per_s,
                )
            )

        try:
            done = self.trainer.run(
                self._materials.splits.train_WT,
                round_number=request.round,
                steps=request.steps,
                on_step=on_step,
            )
            self._changed()
            update, evidence = self._encoded()
        except BaseException:
            self._restore(before, moments)
            raise
        self._published = decode_rows(evidence, self._reference.shape)
        self.round = request.round
        return Trained(
            request=request.request,
            round=request.round,
            update=Content.of(update),
            evidence=Content.of(evidence),
            snapshot=self.snapshot(),
            tokens=done.tokens,
            samples=done.samples,
            steps=done.steps,
            train_loss=done.loss,
            trust_loss=_mean(self._own_trust_losses()),
            seconds=done.seconds,
        )

    def _encoded(self) -> tuple[bytes, bytes]:
        """The adapter as it is, and what it predicts, as others receive them."""
        shape = self._reference.shape
        rows = predict(self.adapter.model, self._reference.windows_WT, shape)
        try:
            return encode_update(self.adapter.state(), self.adapter.layout), encode_rows(rows, shape)
        except ValueError as error:
            raise UserMistake(f"training diverged ({error}); lower training.learning_rate") from None

    def _weigh(self, request: Weigh) -> Weighed | Declined:
        try:
            distance = self._distance(request)
        except WireError as error:
            return Declined(request=request.request, author=request.author, field=error.field, why=error.why)
        return Weighed(
            request=request.request, author=request.author, distance=distance.mean, error=distance.error
        )

    def _distance(self, request: Weigh) -> Distance:
        update = self._neighbours.decoded(request.update)
        match self.config.evidence:
            case "predictions":
                theirs = decode_rows(request.evidence.data, self._reference.shape)
                return prediction_distance(self._own_predictions(), theirs)
            case "weights":
                modules = modules_of(self.adapter.layout)
                return weight_distance(_factors(self.adapter.state(), modules), _factors(update, modules))
            case "validation":
                mine_W = self._own_trust_losses()
                theirs_W = self._losses_with(update, self._trust_WT)
                if not np.all(np.isfinite(theirs_W)):
                    raise WireError("update", "its loss on this peer's text is not finite")
                return validation_distance(mine_W, theirs_W)
            case "none":
                return Distance(0.0, 0.0)

    def _evaluate(self, request: Evaluate) -> Evaluated:
        own_W = self._own_trust_losses()
        losses: list[float] = []
        errors: list[float] = []
        for row in request.rows:
            merged = self._neighbours.merged(row, request.updates)
            loss_W = own_W if merged is None else self._losses_with(merged.state, self._trust_WT)
            losses.append(_mean(loss_W))
            errors.append(_standard_error(loss_W - own_W))
        return Evaluated(request=request.request, losses=tuple(losses), errors=tuple(errors))

    def _merge(self, request: Merge) -> Merged | Failed:
        began = time.perf_counter()
        test_alone = self._test_loss()
        merged = self._neighbours.merged(request.row, request.updates)
        test_merged, discarded = test_alone, 0.0
        if merged is not None:
            before = self.adapter.state()
            try:
                self.adapter.set_state(merged.state)
                self._changed()
                test_merged, discarded = self._test_loss(), merged.discarded
                sane = np.isfinite(test_merged) and np.isfinite(self._own_trust_losses()).all()
            except BaseException:
                self._restore(before, self.trainer.moments())
                raise
            if not sane:
                # Finite numbers can still be too large to compute with; nothing that follows would recover.
                self._restore(before, self.trainer.moments())
                why = "refused a merge whose loss is not finite"
                return Failed(request=request.request, why=why, users_fault=False)
        self._neighbours.forget()
        return Merged(
            request=request.request,
            snapshot=self.snapshot(),
            trust_loss=_mean(self._own_trust_losses()),
            test_alone=test_alone,
            test_merged=test_merged,
            discarded=discarded,
            seconds=time.perf_counter() - began,
        )

    def snapshot(self) -> Content:
        """All that resuming needs; equal states give equal bytes."""
        moments = self.trainer.moments()
        header = SnapshotHeader(
            base=self._materials.fingerprints.base,
            tokenizer=self._materials.fingerprints.tokenizer,
            layout=self._materials.fingerprints.layout,
            model_name=self.config.model.name,
            rank=self.config.adapter.rank,
            alpha=self.config.adapter.alpha,
            fan_in_fan_out=self.adapter.fan_in_fan_out,
            round=self.round,
            steps=moments.steps,
        )
        state = Snapshot(header, self.adapter.state(), moments.first, moments.second)
        return Content.of(encode_snapshot(state))

    def _resume(self, snapshot: Snapshot) -> None:
        header, mine = snapshot.header, self._materials.fingerprints
        check_snapshot(header, base=mine.base, tokenizer=mine.tokenizer, layout=mine.layout)
        self._restore(snapshot.adapter, Moments(header.steps, snapshot.first, snapshot.second))
        self.round = header.round

    def _introduction(self, request: int) -> Opened:
        shape = self._reference.shape
        return Opened(
            request=request,
            fingerprints=self._materials.fingerprints,
            shapes=tuple((spec.name, spec.shape) for spec in self.adapter.layout.tensors),
            codec=self.adapter.layout.codec,
            rows=shape.rows,
            top=shape.top,
            vocabulary=shape.vocabulary,
            round=self.round,
            train_tokens=self._materials.splits.train_WT.size,
            trust_tokens=self._trust_WT.size,
            test_tokens=self._test_WT.size,
            test_loss=self._test_loss(),
            device=str(self._materials.base.device),
            dtype=str(self._materials.base.dtype).removeprefix("torch."),
        )

    def _losses_with(self, state: State, windows_WT: Windows) -> F32:
        """Losses of another adapter; the own one is in place again afterwards, bit for bit."""
        own = self.adapter.state()
        try:
            self.adapter.set_state(state)
            return window_losses(self.adapter.model, windows_WT, self._reference.shape.vocabulary)
        finally:
            self.adapter.set_state(own)

    def _own_trust_losses(self) -> F32:
        if self._trust_losses_W is None:
            self._trust_losses_W = window_losses(
                self.adapter.model, self._trust_WT, self._reference.shape.vocabulary
            )
        return self._trust_losses_W

    def _own_predictions(self) -> SparseRows:
        """Those last published; after a restart, those of the adapter as it is."""
        if self._published is None:
            rows = predict(self.adapter.model, self._reference.windows_WT, self._reference.shape)
            self._published = decode_rows(encode_rows(rows, self._reference.shape), self._reference.shape)
        return self._published

    def _test_loss(self) -> float:
        return _mean(window_losses(self.adapter.model, self._test_WT, self._reference.shape.vocabulary))

    def _restore(self, state: State, moments: Moments) -> None:
        self.adapter.set_state(state)
        self.trainer.set_moments(moments)
        self._changed()

    def _changed(self) -> None:
        self._trust_losses_W = None
        self._neighbours.forget_merges()


def answer(
    learner: Learner | None, request: Request, on_progress: OnProgress
) -> tuple[Learner | None, Answer]:
    """Perform any request; what was expected to go wrong becomes `Failed` with one line.

    For whoever drives a learner, in this process or another. What nobody expected is raised.
    """
    try:
        if isinstance(request, Open):
            learner = Learner.open(request, on_progress)
            return learner, learner.opened
        if learner is None:
            raise ValueError("the first request must be Open")
        return learner, learner.perform(request, on_progress)
    except UserMistake as mistake:
        return learner, Failed(request=request.request, why=str(mistake), users_fault=True)
    except WireError as error:
        why = f"a neighbour's content: {error}"
        return learner, Failed(request=request.request, why=why, users_fault=False)
    except np.linalg.LinAlgError as error:
        return learner, Failed(request=request.request, why=f"the merge: {error}", users_fault=False)
    except (MemoryError, OSError, RuntimeError) as error:
        if not _is_exhaustion(error):
            raise
        line = " ".join(str(error).split())[:200] or type(error).__name__
        return learner, Failed(request=request.request, why=line, users_fault=False)


def opening(request: int, phase: str, step: int) -> Progress:
    """How far `Open` is, for people."""
    return Progress(request=request, phase=phase, step=step, steps=OPENING_STEPS, loss=0.0, tokens_per_s=0.0)


def _is_exhaustion(error: Exception) -> bool:
    """torch says that a processor's memory is full with a bare RuntimeError."""
    if isinstance(error, RuntimeError):
        return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
    return True


def _factors(state: State, modules: Sequence[str]) -> dict[str, Factors]:
    return {module: Factors(state[module + A], state[module + B]) for module in modules}


def _mean(losses_W: F32) -> float:
    return float(losses_W.mean(dtype=np.float64))


def _standard_error(differences_W: F32) -> float:
    return float(differences_W.std(ddof=1, dtype=np.float64)) / len(differences_W) ** 0.5
