"""A toy learner with arithmetic that can be checked by hand, for tests of everything but learning.

The adapter is a vector of `DIMENSION` numbers, the loss its mean squared distance from the peer's target. A training
step moves a tenth of the way to the target plus `lean`, the peculiarity of the peer's own text. So a peer alone
converges to its target plus its lean, and peers with one target and different leans help each other.

All peers of a network have one `Form`. In the form "whole" the vector is one unit. In "split" each number is a unit of
the block with its index, so that peers may have some of them only (`AdapterConfig.modules`) and train block windows or
their own heads. In "ranked" each number is repeated as often as the adapter's rank says. Merging averages number by
number over the peers that offer it.

No numpy: on four numbers it takes several times as long as the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from gossipllm.config import LearnerConfig
from gossipllm.work import (
    Absorb,
    Confirm,
    Confirmation,
    Confirmed,
    Evaluate,
    Evaluated,
    Fit,
    Fitted,
    MadeContext,
    Merge,
    Merged,
    Open,
    Opened,
    PushedShare,
    Request,
    Restore,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from peers.core.events import LearnerAnswer
from sim.toy.mass import ToyMass
from sim.toy.stack import ToyStack, loss_of
from sim.toy.units import (
    BYTE_ROWS,
    BYTE_SHAPE,
    CONTEXT_BYTES,
    DIMENSION,
    EVIDENCE,
    ROWS,
    SCHEMAS,
    Form,
    Held,
    Vector,
    context_key,
    fingerprints,
    part_bytes,
    whole_bytes,
    whole_vector,
)
from wire.digest import Content
from wire.updates.units import Offer

STEP = 0.1
TRAIN_S = 1.0
"""Seconds of training in `Trained`, where no world replaces them."""
ZERO: Vector = (0.0,) * DIMENSION

SCHEMA = SCHEMAS["whole"]
WHOLE = Offer(0)


class _Kept(msgspec.Struct):
    """A snapshot with more than the vector."""

    w: Vector
    trained: tuple[int, ...]
    mass: ToyMass | None


class ToyLearner:
    """Answers every question at once, with `train_s` as the seconds of training.

    A step counts `tokens` tokens. After `busy` rounds, if given, steps change nothing, so that the effect of mixing
    alone can be seen.
    """

    def __init__(
        self,
        target: Sequence[float],
        *,
        lean: Sequence[float] = ZERO,
        base: str = "toy",
        form: Form = "whole",
        tokens: int = 1,
        busy: int | None = None,
        train_s: float = TRAIN_S,
    ) -> None:
        self._target: Vector = tuple(map(float, target))
        self._aim: Vector = tuple(float(t) + float(own) for t, own in zip(target, lean, strict=True))
        self._distinct = any(lean)
        self._fingerprints = fingerprints(base, form)
        self._form: Form = form
        self._schema = SCHEMAS[form]
        self._tokens = tokens
        self._busy = busy
        self._train_s = train_s
        self._config = LearnerConfig()
        self._w: Vector = ZERO
        self._own: tuple[int, ...] = ()
        self._trained: tuple[int, ...] = ()
        self.mass: ToyMass | None = None
        self.text: Content | None = None
        """The ledger that opening answers with; tests change it for a text that grew."""

    def ask(self, request: Request) -> Callable[[], LearnerAnswer]:
        answer = self.answer(request)
        return lambda: answer

    def answer(self, request: Request) -> LearnerAnswer:
        match request:
            case Open():
                return self._open(request)
            case Train():
                return self._train(request)
            case Weigh():
                return self._weigh(request)
            case Confirm():
                return self._confirm(request)
            case Evaluate():
                stack = self._stack(request.updates)
                losses = stack.losses(request.rows, self._target, self._config.layers.missing)
                own = self._loss(self._w)
                return Evaluated(
                    request=request.request,
                    losses=losses,
                    proposed=losses,
                    gains=tuple(own - loss for loss in losses),
                    errors=(0.0,) * len(losses),
                )
            case Fit():
                return self._fit(request)
            case Merge():
                return self._merge(request)
            case Absorb():
                return self._absorb(request)
            case Restore():
                return self._restore(request)

    # -- opening ------------------------------------------------------------------------------------

    def _open(self, request: Open) -> Opened:
        config = self._config = request.config
        names = config.adapter.named_modules
        units = self._schema.units
        self._own = tuple(n for n, unit in enumerate(units) if not names or unit.name in names)
        self._trained = self._own
        pushes = not config.rows
        if request.snapshot is None:
            self.mass = ToyMass.begin(self._w, self._weight()) if pushes else None
        else:
            self._resume(request.snapshot)
        layers = config.layers
        window = (layers.count or 1) if layers.partial else 0
        starts = range(DIMENSION - window + 1) if layers.context == "distil" else ()
        return Opened(
            request=request.request,
            fingerprints=self._fingerprints,
            units=units,
            codec=self._schema.codec,
            offer=self._schema.offer(self._own, config.adapter.rank),
            layers=DIMENSION,
            window=window,
            context_keys=tuple(context_key(start) for start in starts),
            context_bytes=CONTEXT_BYTES if starts else 0,
            mass=DIMENSION + 1 if pushes else 0,
            offsets=BYTE_SHAPE.offsets,
            spans=BYTE_SHAPE.spans,
            rows=ROWS.rows,
            top=ROWS.top,
            vocabulary=ROWS.vocabulary,
            raw=False,
            round=0,
            train_tokens=1,
            trust_tokens=1,
            test_tokens=1,
            test_loss=self._loss(self._w),
            device="none",
            dtype="float32",
            text=self.text,
        )

    def _resume(self, snapshot: Content) -> None:
        if self._form == "whole" and self._config.rows:
            self._w = whole_vector(snapshot.data)
            return
        kept = msgspec.msgpack.decode(snapshot.data, type=_Kept)
        self._w, self._trained, self.mass = kept.w, kept.trained, kept.mass

    def _weight(self) -> float:
        """Weight of this peer's mass, from the tokens and the one sample that it trains on in a step."""
        alpha = self._config.tokens_alpha
        return alpha * self._tokens + (1 - alpha)

    # -- training -----------------------------------------------------------------------------------

    def _train(self, request: Train) -> Trained:
        self._trained = self._indices(request.units)
        importance = self._importance(probe=request.probe)
        self._step(request)
        shares: tuple[PushedShare, ...] = ()
        if self.mass is not None:
            shares = tuple(
                PushedShare(peer=peer, round=request.round, content=Content.of(told))
                for peer, told in self.mass.push(request.receivers).items()
            )
        loss = self._loss(self._w)
        update = self._update()
        return Trained(
            request=request.request,
            round=request.round,
            update=update,
            offer=self._offer(),
            evidence=EVIDENCE,
            snapshot=self._snapshot(update),
            tokens=request.steps * self._tokens,
            samples=request.steps,
            steps=request.steps,
            train_loss=loss,
            trust_loss=loss,
            seconds=self._train_s,
            importance=importance,
            shares=shares,
            contexts=self._contexts(),
            byte_rows=BYTE_ROWS if request.byte_rows else None,
        )

    def _step(self, request: Train) -> None:
        if self._busy is not None and request.round >= self._busy:
            return
        kept = (1 - STEP * request.rate) ** request.steps
        moving = range(DIMENSION) if self._form == "whole" else self._trained
        w = [
            aim + (now - aim) * kept if n in moving else now
            for n, (aim, now) in enumerate(zip(self._aim, self._w, strict=True))
        ]
        if self.mass is not None:
            self.mass.add([new - old for new, old in zip(w, self._w, strict=True)], self._weight())
            w = self.mass.estimate()
        self._become(w)

    def _importance(self, *, probe: bool) -> Held:
        """(gradient * parameter)^2 with parameters measured from the aim; of the trained units, or of all."""
        if not self._config.layers.partial:
            return ()
        held = range(DIMENSION) if probe else self._trained
        return tuple(
            (now - aim) ** 4 if n in held else None
            for n, (now, aim) in enumerate(zip(self._w, self._aim, strict=True))
        )

    def _contexts(self) -> tuple[MadeContext, ...]:
        layers = self._config.layers
        if layers.context != "distil" or layers.contexts != "make":
            return ()
        key = context_key(self._trained[0])
        return (MadeContext(key=key, content=Content.of(key * (CONTEXT_BYTES // len(key)))),)

    def _indices(self, bitmap: bytes) -> tuple[int, ...]:
        if not bitmap:
            return self._own
        held = int.from_bytes(bitmap, "little")
        return tuple(n for n in range(len(self._schema.units)) if held >> n & 1)

    # -- neighbours ---------------------------------------------------------------------------------

    def _weigh(self, request: Weigh) -> Weighed:
        """Distances of the vectors, for every kind of evidence. The predictions of all toys are equal, and so are those
        of another base."""
        (apart,) = (0.0,) if request.update is None else self._stack([request.update]).apart()
        kinds = len(self._config.evidence)
        nothing = (0.0,) * kinds
        return Weighed(
            request=request.request,
            author=request.author,
            distances=(apart,) * kinds,
            errors=nothing,
            own=nothing,
        )

    def _confirm(self, request: Confirm) -> Confirmed:
        """Equal updates are copies only where this peer's text is peculiar, because peers of one target and without a
        lean take equal steps."""
        digests = [one.update.digest for one in request.finalists]
        if self._distinct:
            own = self._update().digest
            twins = [-1 if digest == own else digests.index(digest) for digest in digests]
        else:
            twins = list(range(len(digests)))
        own_loss = self._loss(self._w)
        results: list[Confirmation] = []
        for index, one in enumerate(request.finalists):
            stack = self._stack([one.update])
            row = (1 - request.share, request.share)
            (loss,) = stack.losses([row], self._target, self._config.layers.missing)
            gain = own_loss - loss if twins[index] == index and math.isfinite(loss) else math.nan
            (size,) = stack.sizes()
            results.append(Confirmation(gain=gain, error=0.0, mismatch=0.0, twin=twins[index], size=size))
        return Confirmed(request=request.request, own_loss=own_loss, results=tuple(results))

    def _restore(self, request: Restore) -> Merged:
        assert self.mass is None, "mass that was handed out cannot be taken back"
        before = self._loss(self._w)
        self._resume(request.snapshot)
        return self._told(request.request, before)

    def _fit(self, request: Fit) -> Fitted:
        row, losses = self._stack(request.updates).fit(
            request.row, self._target, steps=request.steps, rate=request.rate
        )
        return Fitted(request=request.request, row=row, losses=losses)

    def _merge(self, request: Merge) -> Merged:
        w = self._stack(request.updates).merge(request.row, self._config.layers.missing)
        return self._moved(request.request, w)

    def _absorb(self, request: Absorb) -> Merged:
        assert self.mass is not None, "only where mass is pushed"
        mass = self.mass
        refused = [
            one.peer for one in request.shares if not mass.receive(one.peer, one.round, one.content.data)
        ]
        moved = self._moved(request.request, mass.estimate())
        return msgspec.structs.replace(moved, refused=tuple(refused))

    def _moved(self, request: int, w: Sequence[float]) -> Merged:
        before = self._loss(self._w)
        self._become(w)
        return self._told(request, before)

    def _told(self, request: int, before: float) -> Merged:
        after = self._loss(self._w)
        return Merged(
            request=request,
            snapshot=self._snapshot(self._update()),
            trust_loss=after,
            test_alone=before,
            test_merged=after,
            discarded=0.0,
            seconds=0.0,
        )

    def _stack(self, updates: Sequence[Content]) -> ToyStack:
        return ToyStack(self._form, self._w, self._trained, updates)

    def _loss(self, w: Sequence[float]) -> float:
        return loss_of(w, self._target)

    # -- bytes --------------------------------------------------------------------------------------

    def _become(self, w: Sequence[float]) -> None:
        """Round the vector as a neighbour will read it, so that both have equal bits; with mass, take its estimate."""
        self._w = tuple(w) if self.mass is not None else whole_vector(whole_bytes(w))

    def _update(self) -> Content:
        if self._form == "whole":
            return Content.of(whole_bytes(self._w))
        return Content.of(part_bytes(self._w, self._trained, self._offer()))

    def _offer(self) -> Offer:
        return (
            WHOLE if self._form == "whole" else self._schema.offer(self._trained, self._config.adapter.rank)
        )

    def _snapshot(self, update: Content) -> Content:
        if self.mass is None and self._form == "whole":
            return update
        return Content.of(msgspec.msgpack.encode(_Kept(self._w, self._trained, self.mass)))
