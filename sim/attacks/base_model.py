"""The base model of the battery: a Llama of a third of a million parameters, trained once and then found.

The embedded model has twelve times as many, and a battery is over a thousand runs. It takes the embedded tokenizer
and reads the embedded English text, so that the peers' languages are new to it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TOKENS: Final = 300_000
"""Training tokens, about twenty seconds on one core. Guess: enough that adapters have something to adapt."""
_WIDTH: Final = 64
_LAYERS: Final = 2
_WINDOW: Final = 32


@dataclass(frozen=True, slots=True)
class BaseTask:
    """Train the base into this folder."""

    folder: Path


def base_folder(out: Path) -> Path:
    """Where the base of the results in `out` lies. Its name tells the recipe."""
    return out / f"base-{_LAYERS}x{_WIDTH}-{TOKENS}"


def make_base(task: BaseTask, advanced: Callable[[int], None]) -> None:
    """Train the base, in a worker process. The folder appears under its name when it is whole."""
    import numpy as np
    import torch
    from transformers import LlamaConfig
    from transformers.utils.logging import disable_progress_bar

    from gossipllm import base as embedded
    from gossipllm.base.making.checkpoint import export, new_run
    from gossipllm.base.making.pretraining import train
    from gossipllm.base.making.recipe import PretrainingConfig
    from gossipllm.base.making.vocabulary import load_tokenizer
    from gossipllm.text.reference import demo_share
    from gossipllm.text.windows import tokenise

    disable_progress_bar()
    torch.set_num_threads(1)
    tokenizer: Any = load_tokenizer(embedded.model_folder())
    stream = tokenise(demo_share("en", part=0, of=1).splitlines(), tokenizer).astype(np.uint16)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=8 * round(_WIDTH * 2.75 / 8),
        num_hidden_layers=_LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2 * _WINDOW,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    config = PretrainingConfig(
        tokens=TOKENS, window_tokens=_WINDOW, batch_windows=16, micro_windows=16, bf16=False
    )
    run = new_run(config, shape)

    def after_step() -> bool:
        advanced(run.step)
        return False

    train(run, stream, threads=1, after_step=after_step)
    task.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=task.folder.parent) as temporary:
        export(run.model, tokenizer, Path(temporary) / "model")
        (Path(temporary) / "model").rename(task.folder)
