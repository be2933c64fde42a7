"""What training and trust cost, beside the released code of Wagner, Fan and Jaggi (2024, arXiv 2404.09753).

    python benchmarks/paper_cost.py [--peers 2,4,8] [--dtype auto] [--repeat 3]

The model is the tiny configuration of that code: GPT-2 with 4 layers, 4 heads, width 128, 4,096 tokens of
vocabulary, windows of 128 tokens, batches of 8, LoRA of rank 4 on attention and MLP; one thread, processor
seconds. Its own figures were measured on another machine of this kind and stand here as constants, so a ratio
to them is only as good as that; the ratio of our defaults to the published evidence sizes is measured in this run.

A round's evidence is everything from the updates at hand to all distances of all peers: strategy 2 takes
12 x 8 windows for each ordered pair (the own model included), strategy 3 the last position of 4 x 8 windows,
the 100 largest logits of it, strategy 1 the factors. Ours, by default: 8 windows of the trust split for each
neighbour, once for the peer's own; and the 8 most probable tokens at 23 positions of 20 reference windows.

That the smaller evidence is as good is measured on peers trained on five of the embedded texts, two peers
each: how often a peer of the same text is nearer than one of another (AUC), for both sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from gossipllm.base import CORPORA, model_folder
from gossipllm.config import (
    AdapterConfig,
    DataConfig,
    Evidence,
    LearnerConfig,
    ModelConfig,
    ReferenceConfig,
    TrainingConfig,
)
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import LastLogitsJob, PredictJob, StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.reference import demo_share
from gossipllm.text.windows import Splits, cut, tokenise
from gossipllm.work import Answer, Failed, Open, Train, Trained, Weigh, Weighed

PUBLISHED_STEP = 0.146
PUBLISHED = {
    "S1": {2: 0.004, 4: 0.010, 8: 0.033},
    "S2": {2: 2.85, 4: 11.5, 8: 46.9},
    "S3": {2: 0.311, 4: 0.619, 8: 1.285},
}
PUBLISHED_MB = {2: 690, 4: 745, 8: 845}
"""Processor seconds of a step and client, of a round's trust by number of clients, and peak memory."""

TRAINING = TrainingConfig(batch_windows=8, learning_rate=1e-2, warmup_steps=5)
UNREAD = ReferenceConfig(windows=1, window_tokens=2, window_bytes=0, top=1)
THEIRS: dict[str, tuple[Evidence, int, ReferenceConfig]] = {
    "S1": ("row-cosines", 2, UNREAD),
    "S2": ("perplexity", 16, UNREAD),
    "S3": ("logits", 2, ReferenceConfig(windows=32, window_tokens=128, top=100, positions="last")),
}
OURS: dict[str, tuple[Evidence, int, ReferenceConfig]] = {
    "S1": ("weights", 2, ReferenceConfig(windows=1, window_tokens=2, window_bytes=0, top=1)),
    "S2": (
        "validation",
        DataConfig().weigh_windows,
        ReferenceConfig(windows=1, window_tokens=2, window_bytes=0, top=1),
    ),
    "S3": ("predictions", 2, ReferenceConfig()),
}


class Peers:
    """Learners of one pool after their local steps, with their updates."""

    def __init__(
        self, folder: Path, count: int, kind: tuple[Evidence, int, ReferenceConfig], dtype: Any, steps: int
    ) -> None:
        evidence, windows, reference = kind
        config = LearnerConfig(
            model=ModelConfig(name=str(folder), device="cpu", dtype=dtype, threads=1),
            adapter=AdapterConfig(rank=4, alpha=32.0),
            data=DataConfig(window_tokens=128, trust_windows=windows, test_windows=2),
            training=TRAINING,
            reference=reference,
            evidence=(evidence,),
        )
        self.config = config
        self.pool = LearnerPool(config, _silent)
        self.learners = [self._new_learner(peer) for peer in range(count)]
        self._ask([(one, Open(request=1, config=config, snapshot=None)) for one in self.learners])
        self.trained: list[Trained] = self._ask(
            [(one, Train(request=2, round=0, steps=steps)) for one in self.learners]
        )

    def _new_learner(self, peer: int) -> Learner:
        config = replace(self.config, training=replace(TRAINING, seed=peer))
        windows_WT = text_of(peer, self.pool.base.tokenizer)
        held = self.config.data.trust_windows
        splits = Splits(windows_WT[held + 2 :], windows_WT[:held], windows_WT[held : held + 2])
        return self.pool.new_learner(config, splits)

    def _ask(self, questions: Sequence[tuple[Learner, Any]]) -> list[Any]:
        answers: list[Answer] = self.pool.answer(questions)
        failed = [one for one in answers if isinstance(one, Failed)]
        if failed:
            raise SystemExit(failed[0].why)
        return answers

    def predict(self) -> None:
        """Compute the predictions of all peers in their published form."""
        shape = self.pool.reference.shape
        windows_WT = self.pool.reference.windows_WT
        kind = LastLogitsJob if shape.raw else PredictJob
        self.pool.perform([kind(one.state, windows_WT, shape) for one in self.learners])

    def weigh(self, *, itself: bool) -> Any:
        """Distances `(P, P)` of each peer from each other peer, nan on the diagonal unless `itself`."""
        count = len(self.learners)
        pairs = [(i, j) for i in range(count) for j in range(count) if itself or i != j]
        answers: list[Weighed] = self._ask(
            [
                (
                    self.learners[i],
                    Weigh(
                        request=3,
                        author=str(j),
                        update=self.trained[j].update,
                        evidence=self.trained[j].evidence,
                    ),
                )
                for i, j in pairs
            ]
        )
        distances = np.full((count, count), np.nan)
        for (i, j), one in zip(pairs, answers, strict=True):
            distances[i, j] = one.distances[0]
        return distances

    def step_s(self, repeat: int) -> float:
        """Processor seconds of a step and peer."""
        order_SB = batches(64, TRAINING, round_number=0, steps=4)
        jobs = [
            StepsJob(one.state, Moments(), text_of(p, self.pool.base.tokenizer), order_SB, TRAINING, _silent)
            for p, one in enumerate(self.learners)
        ]
        return least_cpu_s(lambda: self.pool.perform(jobs), repeat) / (4 * len(jobs))


def _silent(*_: object) -> None:
    pass


def least_cpu_s(run: Callable[[], object], repeat: int) -> float:
    seconds: list[float] = []
    for _ in range(repeat):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return min(seconds)


_texts: dict[int, Any] = {}


def text_of(peer: int, tokenizer: Any) -> Any:
    """Windows of a peer's text: two peers for each of the embedded ones, each its own half."""
    if peer not in _texts:
        name = CORPORA[peer // 2 % len(CORPORA)]
        lines = demo_share(name, part=peer % 2, of=2).splitlines()
        _texts[peer] = cut(tokenise([line for line in lines if line], tokenizer), 128)
    return _texts[peer]


def published_model(folder: Path) -> None:
    """The configuration of the released code, with random weights and the embedded tokenizer of 4,096 tokens."""
    cast("Any", torch).manual_seed(0)
    config = GPT2Config(
        vocab_size=4096,
        n_positions=128,
        n_embd=128,
        n_layer=4,
        n_head=4,
        embd_pdrop=0,
        attn_pdrop=0,
        resid_pdrop=0,
    )
    cast("Any", GPT2LMHeadModel(config)).save_pretrained(folder)
    cast("Any", AutoTokenizer).from_pretrained(model_folder()).save_pretrained(folder)


def auc(distances: Any) -> float:
    """How often a peer of the same text is nearer than one of another, over all peers."""
    count = len(distances)
    wins: list[float] = []
    for i in range(count):
        same = [distances[i, j] for j in range(count) if j != i and j // 2 == i // 2]
        others = [distances[i, j] for j in range(count) if j // 2 != i // 2]
        wins += [float(a < b) + 0.5 * float(a == b) for a in same for b in others]
    return float(np.mean(wins))


def costs(folder: Path, counts: list[int], dtype: Any, repeat: int) -> None:
    ours_s: dict[tuple[str, int], float] = {}
    theirs_s: dict[tuple[str, int], float] = {}
    for count in counts:
        for name in THEIRS:
            for kinds, found, itself in ((THEIRS, theirs_s, True), (OURS, ours_s, False)):
                peers = Peers(folder, count, kinds[name], dtype, steps=1)
                if name == "S1" and kinds is THEIRS:
                    step_s = peers.step_s(repeat)
                    print(
                        f"N = {count}: step and peer {step_s:.4f} CPU s, published {PUBLISHED_STEP}: "
                        f"{PUBLISHED_STEP / step_s:.1f} times less"
                    )

                def evidence(peers: Peers = peers, name: str = name, itself: bool = itself) -> None:
                    if name == "S3":
                        peers.predict()
                    peers.weigh(itself=itself)

                found[name, count] = least_cpu_s(evidence, repeat)
            published = PUBLISHED[name].get(count)
            same, default = theirs_s[name, count], ours_s[name, count]
            beside = f"published {published:7.3f} ({published / same:5.1f} times less)" if published else ""
            print(
                f"  {name}: published evidence sizes {same:8.4f} CPU s a round, {beside}; our defaults "
                f"{default:8.4f}, {same / default:6.1f} times cheaper than those sizes"
                + (f", {published / default:6.1f} than published" if published else ""),
                flush=True,
            )


def recovery(folder: Path, dtype: Any, steps: int) -> None:
    print(
        f"recovery after {steps} steps, {2 * len(CORPORA)} peers on {len(CORPORA)} texts (AUC, 1 is perfect):"
    )
    for name in THEIRS:
        theirs, ours = (
            auc(Peers(folder, 2 * len(CORPORA), kinds[name], dtype, steps).weigh(itself=False))
            for kinds in (THEIRS, OURS)
        )
        print(f"  {name}: published evidence {theirs:.3f}, our defaults {ours:.3f}", flush=True)


def memory(folder: Path, counts: list[int], dtype: str) -> None:
    for count in counts:
        command = [sys.executable, __file__, "--peak", str(count), "--folder", str(folder), "--dtype", dtype]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, libraries = json.loads(done.stdout.splitlines()[-1])
        published = PUBLISHED_MB.get(count)
        beside = f", published {published} MB" if published else ""
        print(f"N = {count}: peak {peak:.0f} MB, of which {libraries:.0f} MB are libraries{beside}")


def peak(folder: Path, count: int, dtype: Any) -> None:
    libraries = _peak_mb()
    Peers(folder, count, THEIRS["S2"], dtype, steps=2).weigh(itself=True)
    print(json.dumps([_peak_mb(), libraries]))


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default="2,4,8")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="local steps before recovery is measured")
    parser.add_argument("--peak", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        peak(options.folder, options.peak, options.dtype)
        return
    counts = [int(one) for one in options.peers.split(",")]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        published_model(folder)
        costs(folder, counts, options.dtype, options.repeat)
        memory(folder, counts, options.dtype)
        recovery(folder, options.dtype, options.steps)


if __name__ == "__main__":
    main()
