"""What distilling is worth between models of unlike size and tokenizer, against its controls.

    python benchmarks/distilling.py [--rounds 8] [--share 0.25] [--seeds 0,1] [--arms none,text,...]

Users read French or German, each another part of the embedded text of its language: of each language one with the
embedded base, one with its smaller sibling of the same tokenizer, and two with the base of 1,024 tokens. Nobody merges.
In each round everybody takes local steps, publishes token rows and byte rows as they would be sent, and distils after
it, at the given share of the cost of local steps, with the gate, the choice of the part on the trust split, and the
undoing of `gossipllm.learning.distilling`. The weights of the teachers of an arm are a softmax row over the distances
of byte rows, at temperature 0.25.

    none         local steps alone
    self         toward one's own predictions, as they were sent
    text         steps of the same number on the reference text itself
    own          toward neighbours with the user's tokenizer, by token rows
    other        toward neighbours with another tokenizer, by byte rows
    all          toward both
    own-changes, other-changes, all-changes
                 toward what neighbours changed of their bases' predictions

The loss is that of the user's test text in bits a byte, with the change from "none" in per cent; "took" is the time of
distilling over that of local steps. The dullest explanations of a gain are the ground that the text
of the reference set covers ("text") and the steps by themselves ("self").
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from gossipllm.config import DataConfig, LearnerConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.config.choices import Toward
from gossipllm.learning.jobs.jobs import PredictBytesJob, PredictJob
from gossipllm.learning.jobs.next_bytes import placed
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.model.adapter.names import State
from gossipllm.text.in_bytes.reference import ByteReference
from gossipllm.text.reference import demo_share
from gossipllm.text.vocabulary import token_bytes
from gossipllm.text.windows import Splits, cut, split, tokenise
from gossipllm.work import Failed, Lesson, Merge, Merged, Open, Request, Train, Trained
from trust.rows.byte_evidence import byte_distance
from trust.rows.softmax import near_by_scale, softmax
from wire.digest import Content
from wire.predictions.byte_rows import ByteRows, decode_byte_rows, encode_byte_rows
from wire.predictions.logits import encode_rows

BASES: Final = ("embedded", "embedded-small", "embedded-1024", "embedded-1024")
TOKENIZER: Final = {"embedded": 4096, "embedded-small": 4096, "embedded-1024": 1024}
LANGUAGES: Final = ("fr", "de")
TEMPERATURE: Final = 0.25
ARMS: Final = ("none", "self", "text", "own", "own-changes", "other", "other-changes", "all", "all-changes")


@dataclass(frozen=True, slots=True, eq=False)
class User:
    base: str
    language: str
    learner: Learner
    bits: float
    """Bits a byte in a nat a token, on its test windows."""
    in_bytes: ByteReference
    untrained: tuple[Content, Content]
    """What its base predicts, in token rows and in byte rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """What a user publishes in a round."""

    trained: Trained
    content: Content
    rows: ByteRows


class Mesh:
    """All users of one arm."""

    def __init__(self, arm: str, *, share: float, seed: int, text: int, windows: int) -> None:
        data = DataConfig(
            path="-",
            window_tokens=48,
            trust_fraction=0.15,
            trust_windows=24,
            test_fraction=0.4,
            test_windows=120,
        )
        also = {"none": "", "text": "reference-text"}.get(arm, "distil")
        toward: Toward = "changes" if arm.endswith("-changes") else "predictions"
        self._arm = arm.removesuffix("-changes")
        config = LearnerConfig(
            model=ModelConfig(name=BASES[0], device="cpu", threads=1),
            data=data,
            training=TrainingConfig(learning_rate=1e-2, seed=seed),
            reference=ReferenceConfig(windows=windows),
            also=also,  # pyright: ignore[reportArgumentType]
            distil_share=share,
            distil_toward=toward,
        )
        self._pool = LearnerPool(config, lambda _name, _step: None)
        self.users: list[User] = []
        self.trained_s = 0.0
        """Seconds of all local steps."""
        dealt = [(base, language, part) for language in LANGUAGES for part, base in enumerate(BASES)]
        for index, (base, language, part) in enumerate(dealt):
            one = replace(
                config,
                model=replace(config.model, name=base),
                training=replace(config.training, seed=seed * 100 + index),
            )
            self.users.append(self._user(one, language, part, seed=seed, text=text))

    def _user(self, config: LearnerConfig, language: str, part: int, *, seed: int, text: int) -> User:
        tokenizer = self._pool.base_of(config).tokenizer
        words = demo_share(language, part=part, of=len(BASES))[:text]
        windows_WT = cut(tokenise(words.splitlines(), tokenizer), config.data.window_tokens)
        splits: Splits = split(windows_WT, config.data, seed=seed)
        learner = self._pool.new_learner(config, splits)
        self._ask([(learner, Open(request=1, config=config, snapshot=None))])
        test_WT = splits.test_WT[: config.data.test_windows]
        in_bytes = learner.shared.reference.in_bytes
        assert in_bytes is not None, "all embedded bases have byte rows"
        vocabulary = token_bytes(tokenizer)
        size = sum(len(vocabulary[token] or b"") for token in test_WT[:, 1:].ravel())
        bits = test_WT[:, 1:].size / size / math.log(2)
        zeros = {name: np.zeros_like(value) for name, value in learner.state.items()}
        reference = learner.shared.reference
        (rows,) = learner.fleet.perform([PredictJob(zeros, reference.windows_WT, reference.shape)])
        untrained = Content.of(encode_rows(rows, reference.shape)), _byte_rows(learner, zeros, in_bytes)
        return User(config.model.name, language, learner, bits, in_bytes, untrained)

    def round(self, number: int, *, steps: int) -> list[Any]:
        """Local steps and distilling of all; what distilling did, None where there was none."""
        trained = self._ask(
            [(one.learner, Train(request=2, round=number, steps=steps)) for one in self.users]
        )
        sent: list[Sent] = []
        for user, one in zip(self.users, trained, strict=True):
            content = _byte_rows(user.learner, user.learner.state, user.in_bytes)
            sent.append(Sent(one, content, decode_byte_rows(content.data, user.in_bytes.positions.shape)))
        merges = [
            Merge(request=3, row=(1.0,), updates=(), lessons=self._lessons(index, sent), local_steps=steps)
            for index in range(len(self.users))
        ]
        done = self._ask(list(zip([one.learner for one in self.users], merges, strict=True)))
        self.trained_s += sum(one.seconds for one in trained)
        return [one.distilled if isinstance(one, Merged) else None for one in done]

    def _lessons(self, index: int, sent: Sequence[Sent]) -> tuple[Lesson, ...]:
        me = self.users[index]
        if self._arm == "self":
            return (Lesson(weight=1.0, update=None, evidence=sent[index].trained.evidence),)
        wanted = {"own": (True,), "other": (False,), "all": (True, False)}.get(self._arm, ())
        chosen = [one for one in range(len(self.users)) if one != index and self._alike(index, one) in wanted]
        if not chosen:
            return ()
        distances = [byte_distance(sent[index].rows, sent[one].rows) for one in chosen]
        # As in a peer's row: a base with another tokenizer has a scale of its own.
        scales = ["" if self._alike(index, one) else self.users[one].base for one in chosen]
        weights = softmax(near_by_scale(distances, scales), temperature=TEMPERATURE)[1:]
        return tuple(self._lesson(me, one, weight, sent) for one, weight in zip(chosen, weights, strict=True))

    def _alike(self, one: int, other: int) -> bool:
        """Whether two users have one tokenizer."""
        return TOKENIZER[self.users[one].base] == TOKENIZER[self.users[other].base]

    def _lesson(self, me: User, other: int, weight: float, sent: Sequence[Sent]) -> Lesson:
        them = self.users[other]
        in_tokens, in_bytes = them.untrained
        if TOKENIZER[them.base] != TOKENIZER[me.base]:
            return Lesson(
                weight=weight, update=None, evidence=sent[other].content, in_bytes=True, base=in_bytes
            )
        trained = sent[other].trained
        if them.base == me.base:
            return Lesson(weight=weight, update=trained.update, evidence=trained.evidence)
        return Lesson(weight=weight, update=None, evidence=trained.evidence, base=in_tokens)

    def losses(self) -> list[float]:
        """Of each user, in bits a byte of its test text."""
        return [
            user.bits * float(losses_W.mean())
            for user, losses_W in zip(
                self.users, self._pool.test_losses([one.learner for one in self.users]), strict=True
            )
        ]

    def _ask(self, questions: Sequence[tuple[Learner, Request]]) -> list[Any]:
        """One after the other, so that what each took is its own time."""
        answers = [self._pool.answer([one])[0] for one in questions]
        for one in answers:
            if isinstance(one, Failed):
                raise SystemExit(one.why)
        return answers


def _byte_rows(learner: Learner, state: State, in_bytes: ByteReference) -> Content:
    positions = in_bytes.positions
    windows_WT = learner.shared.reference.windows_WT
    job = PredictBytesJob(state, windows_WT, in_bytes.symbols_V, positions.shape.top)
    (made,) = learner.fleet.perform([job])
    return Content.of(encode_byte_rows(placed(made, positions), positions.shape))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20, help="local steps of a round")
    parser.add_argument("--share", type=float, default=0.25, help="most of the cost of local steps")
    parser.add_argument("--text", type=int, default=40_000, help="characters of each user's text")
    parser.add_argument("--windows", type=int, default=20, help="windows of the reference set")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--arms", default=",".join(ARMS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in map(int, args.seeds.split(",")):
        print(f"\nseed {seed}: bits a byte of each user's test text, and the change from none", flush=True)
        before: list[float] = []
        for arm in args.arms.split(","):
            mesh = Mesh(arm, share=args.share, seed=seed, text=args.text, windows=args.windows)
            if not before:
                print(
                    f"{'':<15}"
                    + "".join(f"{one.base[9:] or 'large':>9}-{one.language}" for one in mesh.users)
                )
            done = [mesh.round(number, steps=args.steps) for number in range(1, args.rounds + 1)]
            losses = mesh.losses()
            before = before or losses
            shown = [
                f"{now:>6.3f}{100 * (now / then - 1):+6.2f}" for now, then in zip(losses, before, strict=True)
            ]
            kept = sum(bool(one and one.share) for each in done for one in each)
            tried = sum(one is not None for each in done for one in each)
            took = sum(one.seconds for each in done for one in each if one is not None) / mesh.trained_s
            mean = 100 * np.mean([now / then - 1 for now, then in zip(losses, before, strict=True)])
            print(
                f"{arm:<15}{''.join(shown)}  mean {mean:+.2f} %, kept {kept} of {tried}, took {took:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
