"""What a peer sends in a round: table 5 of Wagner, Fan and Jaggi (2024, arXiv 2404.09753), beside this project's bytes.

    python benchmarks/paper_sizes.py [--json]

The base is GPT-2 small by its shape alone, so nothing is downloaded. Published sizes stand here as printed, with the
arithmetic that gives them to the last digit; sizes of this project are those of the real encoders.

* Adapters: LoRA of rank 4 on attention and MLP, in float32 as published; here in bfloat16.
* Logits: the paper forwards about 100,000 tokens of the reference set, 200 windows of 512, but its code compares the
  last position of each window only. Dense: every logit in float32. Sparse: the 100 largest of each row, as three int64
  indices and a float32. Here, the same rows take an index of 16 bits and a float32 (`s3-text`, `s3-code`). The default
  evidence is 8 log-probabilities at each position of 20 windows of 64 bytes, of the embedded base after 10 steps
  (`prediction_sizes.py`).
* The paper says that the sparse encoding reduces the size to 0.014 %. Its own two figures give 1.4 %, 0.014 as a ratio.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import torch
from prediction_sizes import predicted
from transformers import GPT2Config, GPT2LMHeadModel

from gossipllm.config import AdapterConfig, ReferenceConfig
from gossipllm.model.adapter.placement import attach
from wire.predictions.logits import RowsShape, encode_rows
from wire.updates.units import encode_offered

RANK: Final = 4
WINDOWS: Final = 200
"""Reference windows of strategy 3: 4 batches of 50, in the released code."""
TOP: Final = 100
COO_BYTES: Final = 3 * 8 + 4
"""Of an entry of torch's sparse tensors as published: three int64 indices and a float32."""
PUBLISHED_SHARE: Final = 0.0047
"""Trainable parameters, as printed: 0.47 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One thing that is sent. MB are 10^6 bytes; `here` is None for what this project never sends."""

    what: str
    published_mb: float
    arithmetic: str
    recomputed_mb: float
    here_mb: float | None
    default: str
    default_mb: float | None


def adapter_bytes(config: AdapterConfig) -> tuple[int, int, int]:
    """Parameters of the base, of the adapter, and bytes of its update."""
    # Weights on the meta device have shapes and no numbers: GPT-2 small costs no memory.
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    base = sum(parameter.numel() for parameter in model.parameters())
    blueprint = attach(model, config).blueprint(config)
    zeros = {spec.name: np.zeros(spec.shape, np.float32) for spec in blueprint.layout.tensors}
    count = sum(value.size for value in zeros.values())
    return base, count, len(encode_offered(zeros, blueprint.schema, blueprint.offer))


def sizes() -> tuple[list[Size], float]:
    """The rows of the table, and the share of parameters that is trained."""
    base, count, update = adapter_bytes(AdapterConfig(rank=RANK, alpha=32.0))
    default_adapter = AdapterConfig()
    _, _, default_update = adapter_bytes(default_adapter)
    vocabulary = GPT2Config().vocab_size
    [(windows, [predictions])] = predicted(1, [10], 1e-2, [ReferenceConfig()])
    evidence = encode_rows(predictions[0], windows.shape)
    rows = [
        Size(
            what="LoRA parameters",
            published_mb=2.359,
            arithmetic=f"{count:,} x 4 B",
            recomputed_mb=count * 4 / 1e6,
            here_mb=update / 1e6,
            default=f"rank {default_adapter.rank}",
            default_mb=default_update / 1e6,
        ),
        Size(
            what="all logits",
            published_mb=40.206,
            arithmetic=f"{WINDOWS} x {vocabulary:,} x 4 B",
            recomputed_mb=WINDOWS * vocabulary * 4 / 1e6,
            here_mb=None,
            default="",
            default_mb=None,
        ),
        Size(
            what=f"the {TOP} largest logits",
            published_mb=0.560,
            arithmetic=f"{WINDOWS} x {TOP} x {COO_BYTES} B",
            recomputed_mb=WINDOWS * TOP * COO_BYTES / 1e6,
            here_mb=RowsShape(rows=WINDOWS, top=TOP, vocabulary=vocabulary, raw=True).size / 1e6,
            default=f"{windows.shape.rows} x {windows.shape.top}",
            default_mb=len(evidence) / 1e6,
        ),
    ]
    return rows, count / base


def table(rows: list[Size], share: float) -> str:
    lines = [
        "| sent in a round, MB | published | arithmetic | recomputed | the same, here | default, here |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        here = "-" if row.here_mb is None else f"{row.here_mb:.3f}"
        default = "-" if row.default_mb is None else f"{row.default_mb:.3f} ({row.default})"
        lines.append(
            f"| {row.what} | {row.published_mb:.3f} | {row.arithmetic} | {row.recomputed_mb:.3f} | {here} | {default} |"
        )
    _, dense, sparse = rows
    lines += [
        "",
        (
            f"Trained: {share:.3%} of the base's parameters (published {PUBLISHED_SHARE:.2%}). Sparse against dense: "
            f"{sparse.published_mb / dense.published_mb:.2%} (the paper prints 0.014 %)."
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    rows, share = sizes()
    if options.as_json:
        print(json.dumps({"trained_share": share, "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        print(table(rows, share))


if __name__ == "__main__":
    main()
