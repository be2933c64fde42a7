"""What a model predicts of the next byte where its tokenizer has a boundary: the exact marginal over its vocabulary.

Axes: R rows, V tokens of the vocabulary, S symbols (`wire.predictions.byte_rows`), K of them kept.
"""

from __future__ import annotations

import torch

from gossipllm.learning.jobs.next_bytes import BytePredictions
from gossipllm.text.vocabulary import NO_SYMBOL


def symbol_probabilities(logits_RV: torch.Tensor, symbols_V: torch.Tensor) -> torch.Tensor:
    """`(R, S + 1)`: the probability of each symbol, and of tokens without bytes in the last column. Outputs of the
    model beyond `symbols_V` are such tokens. Differentiable."""
    chances_RV = logits_RV.float().softmax(dim=-1)
    vocabulary = min(len(symbols_V), chances_RV.shape[1])
    symbols_V = torch.cat(
        (symbols_V[:vocabulary], symbols_V.new_full((chances_RV.shape[1] - vocabulary,), NO_SYMBOL))
    )
    empty = chances_RV.new_zeros(len(chances_RV), NO_SYMBOL + 1)
    return empty.index_add(1, symbols_V, chances_RV)


def byte_predictions(
    logits_RV: torch.Tensor, true_R: torch.Tensor, symbols_V: torch.Tensor, top: int
) -> BytePredictions:
    """Of rows whose next tokens are `true_R`."""
    chances_RS = symbol_probabilities(logits_RV, symbols_V)[:, :NO_SYMBOL]
    values_RK, ids_RK = chances_RS.topk(top, dim=-1)
    ids_RK, order_RK = ids_RK.sort(dim=-1)
    values_RK = values_RK.gather(-1, order_RK)
    tail_R = (1 - values_RK.double().sum(dim=-1)).clamp(0, 1).float()
    whole_R = torch.logsumexp(logits_RV.float(), dim=-1)
    said_R = logits_RV.gather(1, true_R[:, None]).squeeze(1).float() - whole_R
    return BytePredictions(
        ids_RK.cpu().numpy().astype("uint32"),
        values_RK.log().clamp(min=-100.0).cpu().numpy(),
        tail_R.cpu().numpy(),
        said_R.clamp(max=0).cpu().numpy(),
    )
