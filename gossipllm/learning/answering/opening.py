"""What a learner tells its core once it is ready."""

from __future__ import annotations

from gossipllm.config import LearnerConfig
from gossipllm.learning.merging.push.push import mass_length
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.learning.passes.contexts import block_windows
from gossipllm.learning.shared_model import SharedModel
from gossipllm.text.windows import Windows
from gossipllm.work import Opened, RequestId
from wire.digest import Content


def opened(
    request: RequestId,
    *,
    config: LearnerConfig,
    shared: SharedModel,
    updates: UpdateFormat,
    window: int,
    pushes: bool,
    round_number: int,
    splits: tuple[Windows, Windows, Windows],
    test_loss: float,
    ledger: Content | None = None,
) -> Opened:
    """`window` is the length of block windows, `pushes` whether mixing is by push-sum, `splits` are the windows to
    train on, to decide by and to report on; `ledger` is that of a text on disk."""
    schema, shape, form = updates.schema, shared.reference.shape, updates.blueprint
    in_bytes = shared.reference.byte_shape
    windows = block_windows(shared.base, window) if config.layers.context == "distil" else []
    train_tokens, trust_tokens, test_tokens = map(_tokens, splits)
    return Opened(
        request=request,
        fingerprints=shared.fingerprints(updates),
        units=schema.units,
        codec=schema.codec,
        offer=form.offer,
        layers=form.layers,
        window=window,
        context_keys=tuple(shared.contexts.key(one, config.layers) for one in windows),
        context_bytes=shared.contexts.most_bytes(windows, config.layers),
        mass=mass_length(form.trained) if pushes else 0,
        offsets=0 if in_bytes is None else in_bytes.offsets,
        spans=0 if in_bytes is None else in_bytes.spans,
        no_byte_rows=shared.reference.no_byte_rows,
        rows=shape.rows,
        top=shape.top,
        vocabulary=shape.vocabulary,
        raw=shape.raw,
        coded=shape.coded,
        round=round_number,
        train_tokens=train_tokens,
        trust_tokens=trust_tokens,
        test_tokens=test_tokens,
        test_loss=test_loss,
        device=str(shared.base.device),
        dtype=str(shared.base.dtype).removeprefix("torch."),
        text=ledger,
    )


def _tokens(windows_WT: Windows) -> int:
    """Tokens that may bear loss, the first of each window included; prompts and padding are negative entries."""
    return int((windows_WT >= 0).sum())
