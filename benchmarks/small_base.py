"""A small base model for a benchmark: trained once on texts of one's choice, then found in a cache.

    python benchmarks/small_base.py --data FOLDER --corpus multi-wiki --size tiny --cache CACHE

trains it on the base text of a corpus of `corpora.py` (four fifths English), or finds it, and prints what it
costs the model to read the peers' text of each category. The folder it names is one for
`AutoModelForCausalLM.from_pretrained`, and for `model.name`.

The recipe is that of the embedded model (`gossipllm/base`), with other numbers. Equal texts, shape and seed give
equal weights on one machine with one number of threads, but for a budget in seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from gossipllm.base.making.checkpoint import PretrainingRun, export, new_run
from gossipllm.base.making.loss import evaluate
from gossipllm.base.making.pretraining import progress_bar
from gossipllm.base.making.recipe import PretrainingConfig
from gossipllm.base.making.training import measured_tokens_per_s, train
from gossipllm.base.making.vocabulary import Tokens, bytes_per_token, load_tokenizer, make_tokenizer
from gossipllm.text.windows import tokenise
from trust.errors import UserMistake
from wire.digest import fingerprint_of

_MOST_BATCHED: Final = 2048
"""Tokens of a forward pass; more leave the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallBase:
    """A Llama's shape and its training. The budget is `tokens` or, where that is 0, `seconds`."""

    name: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    tokens: int = 0
    seconds: float = 0.0
    batch_windows: int = 32
    peak_rate: float = 3e-3
    bf16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.tokens > 0) == (self.seconds > 0):
            raise ValueError(f"give tokens or seconds, got {self.tokens} and {self.seconds}")
        if not 258 <= self.vocabulary <= 65_536:
            raise ValueError(f"vocabulary must be in 258..65536, bytes and two marks, got {self.vocabulary}")


TINY: Final = SmallBase(
    name="tiny", layers=2, width=64, heads=4, vocabulary=1024, context=64, tokens=1_500_000
)
"""0.17 million parameters, about a minute on one core."""

SMALL: Final = SmallBase(
    name="small", layers=4, width=128, heads=4, vocabulary=4096, context=128, tokens=3_000_000, bf16=True
)
"""1.33 million parameters, about nine minutes on one core. bfloat16 is slower where a processor only emulates it."""


def small_base(
    texts: Sequence[str],
    base: SmallBase,
    cache: Path,
    *,
    threads: int = 1,
    told: Callable[[str], None] = print,
) -> Path:
    """The model's folder under `cache`, trained on `texts` if it is not there yet.

    A folder appears under its name only when it is whole. With more than one thread the weights differ in the
    last digits, and so does the folder's name.
    """
    inputs = (msgspec.json.encode(asdict(base)), str(threads).encode(), *(text.encode() for text in texts))
    folder = cache / f"{base.name}-{fingerprint_of('gossipllm/benchmarks/small_base/1', inputs).hex()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            _make(texts, base, Path(temporary), threads, told)
            (Path(temporary) / "model").rename(folder)
    return folder


def losses_by_category(folder: Path, texts: Mapping[str, list[str]]) -> dict[str, tuple[float, float]]:
    """Category -> nats a token and bits a byte, over 256 windows of its text."""
    loader: Any = LlamaForCausalLM
    model = loader.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    tokenizer = load_tokenizer(folder)
    lengths = bytes_per_token(tokenizer)
    context: int = model.config.max_position_embeddings
    return {
        name: evaluate(
            model, _stream(documents, tokenizer), lengths, window_tokens=context, bf16=False, count=256
        )
        for name, documents in texts.items()
    }


def _make(
    texts: Sequence[str], base: SmallBase, work: Path, threads: int, told: Callable[[str], None]
) -> None:
    torch.set_num_threads(1)  # the threads are at work in `Replicas`, a batch's share each
    corpus = work / "corpus.txt"
    corpus.write_text("\n".join(texts), encoding="utf-8")
    with corpus.open(encoding="utf-8", newline="") as lines:
        tokenizer = make_tokenizer(lines, size=base.vocabulary)
    stream = _stream(texts, tokenizer)
    run = _new_run(base, stream, len(tokenizer), threads)
    size = sum(weight.numel() for weight in run.model.parameters())
    told(
        f'base "{base.name}": {size / 1e6:.2f} million parameters, {len(stream) / 1e6:.2f} million tokens of text'
    )
    began = time.perf_counter()
    with progress_bar() as progress:
        task = progress.add_task("", total=run.config.steps)

        def after_step() -> bool:
            progress.update(task, completed=run.step, description=f"{run.training_nats:.3f} nats/token")
            return False

        train(run, stream, threads=threads, after_step=after_step)
    took = time.perf_counter() - began
    tokens = run.step * run.config.tokens_a_step
    told(f"trained on {tokens / 1e6:.2f} million tokens in {took:.0f} s, {tokens / took:,.0f} tokens/s")
    export(run.model, tokenizer, work / "model")


def _new_run(base: SmallBase, stream: Tokens, vocabulary: int, threads: int) -> PretrainingRun:
    shape = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=base.width,
        intermediate_size=8 * round(base.width * 2.75 / 8),  # 704 at 256, as in the embedded model
        num_hidden_layers=base.layers,
        num_attention_heads=base.heads,
        num_key_value_heads=base.heads,
        max_position_embeddings=base.context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    if base.tokens:
        return new_run(_config(base, base.tokens), shape)
    tried = new_run(_config(base, base.batch_windows * base.context), shape)
    speed = measured_tokens_per_s(tried, stream, threads=threads)
    return new_run(_config(base, int(base.seconds * speed)), shape)


def _config(base: SmallBase, tokens: int) -> PretrainingConfig:
    divisors = [n for n in range(1, base.batch_windows + 1) if base.batch_windows % n == 0]
    fitting = [n for n in divisors if n * base.context <= _MOST_BATCHED]
    return PretrainingConfig(
        tokens=max(tokens, base.batch_windows * base.context),
        window_tokens=base.context,
        batch_windows=base.batch_windows,
        micro_windows=max(fitting, default=1),
        peak_rate=base.peak_rate,
        bf16=base.bf16,
        seed=base.seed,
    )


def _stream(documents: Sequence[str], tokenizer: Any) -> Tokens:
    return tokenise(list(documents), tokenizer).astype(np.uint16)


def main() -> None:
    from corpora import NAMES, load

    sizes = {size.name: size for size in (TINY, SMALL)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help='a folder, or "embedded"')
    parser.add_argument("--corpus", choices=NAMES, default="multi-wiki")
    parser.add_argument("--size", choices=sizes, default="tiny")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--tokens", type=int, help="another budget than the size's own")
    parser.add_argument("--seconds", type=float, help="or one in seconds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    disable_progress_bar()  # of loading and saving, which take no time here
    base = replace(sizes[options.size], seed=options.seed)
    if options.tokens or options.seconds:
        base = replace(base, tokens=options.tokens or 0, seconds=options.seconds or 0.0)
    corpus = load(options.data, options.corpus)
    folder = small_base(corpus.base, base, options.cache, threads=options.threads)
    print(folder)
    for name, (nats, bits) in losses_by_category(folder, corpus.peers).items():
        print(f"{name:<10} {nats:.3f} nats/token   perplexity {np.exp(nats):6.1f}   {bits:.3f} bits/byte")


if __name__ == "__main__":
    try:
        main()
    except UserMistake as error:
        raise SystemExit(f"Error: {error}") from None
