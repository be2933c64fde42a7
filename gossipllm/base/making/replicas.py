"""The gradient of a model on a batch, computed by several threads that each take a share of the batch.

Each thread has a replica of the model, with the model's weights (the same memory) and gradients of its own. The usual
division, with all threads inside each matrix product, makes the threads wait for each other thousands of times a step.
On two cores that were busy with other work of a higher priority it reached 200 to 900 tokens/s, and replicas 2,100 to
3,400; on idle cores both reach 7,000.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import torch
from transformers import LlamaForCausalLM

from gossipllm.base.making.loss import losses


class Replicas:
    """A pool of threads with a replica of the model for each, as a context manager: leaving it ends the threads.

    Torch uses a single thread inside each of them; the calling thread should do the same, by
    `torch.set_num_threads(1)`.
    """

    def __init__(self, model: LlamaForCausalLM, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads must be >= 1, got {threads}")
        self._models = [model, *(_replica(model) for _ in range(threads - 1))]
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Replicas:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def add_gradient(self, batch_BT: torch.Tensor, *, micro_windows: int, bf16: bool) -> float:
        """Add the gradient of the batch's mean loss to the model's gradients. Returns that loss in nats per target.

        The shares are summed in a fixed order, so that the result depends on the number of threads, but not on which
        thread finishes first.
        """
        targets = batch_BT[:, 1:].numel()

        def add_share(model: LlamaForCausalLM, share_BT: torch.Tensor) -> float:
            total = 0.0
            for first in range(0, len(share_BT), micro_windows):
                micro_BT = share_BT[first : first + micro_windows]
                loss = losses(model, micro_BT, bf16=bf16).sum() / targets
                loss.backward()  # pyright: ignore[reportUnknownMemberType]
                total += loss.item()
            return total

        shares = batch_BT.chunk(len(self._models))
        mean_loss = sum(self._pool.map(add_share, self._models, shares))
        for own, *others in zip(*(model.parameters() for model in self._models), strict=True):
            for other in others:
                if own.grad is not None and other.grad is not None:
                    own.grad += other.grad
                other.grad = None
        return mean_loss


def _replica(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """A copy of the model that shares its weights but not its gradients."""
    replica = copy.deepcopy(model)
    for own, other in zip(model.parameters(), replica.parameters(), strict=True):
        other.data = own.data
    return replica
