"""What a small model's adapter is worth to a larger model, projected; beside what the larger model learns itself.

    python benchmarks/projection.py --small FOLDER                 onto the embedded base, on the embedded texts
    python benchmarks/projection.py --small A,B --large C --texts fr,java --steps 200 --seeds 0,1

A LoRA of the small model learns a text. It is projected onto the large model, with the maps of each way, and the step
that is best on the trust split of 12 is taken (0 is one of them, so no way can be worse than nothing there). Printed is
the perplexity of the large model on test text that chose nothing:

    alone        the large base
    ridge, svd   with the projected adapter
    by kind      ridge, with a step for each kind of layer (`gossipllm.projection.steps`), chosen on the trust split
    random by kind  the same of random maps: what so many choices find by chance
    random       with maps of random numbers of the same norm: the dullest explanation
    learned      a LoRA of the large model that learns the same text, as many steps: the bound
    scratch, warm    the same with a quarter of the steps, from nothing and from the ridge projection
    scratch +    from nothing, with as many steps more as the small model was trained

and the share of the way from alone to learned. With --learned, the small model's text is another than the large one's:
what a vector does whatever it learned; the columns of training are then left out. The maps are made from the embedded
reference text, which holds all five texts' languages and none of their training text.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers.utils.logging import disable_progress_bar

from gossipllm.base import corpus_file
from gossipllm.config import ModelConfig
from gossipllm.model.adapter.peft_folder import Product, read_peft
from gossipllm.model.loading.models import Base, load_base
from gossipllm.projection.carrying import carried, texts_of
from gossipllm.projection.projecting import Lars
from gossipllm.projection.steps import chosen_steps, taken
from gossipllm.projection.ways import Way
from gossipllm.vectors.arithmetic import Combined
from gossipllm.vectors.folder import write_folder
from gossipllm.vectors.vector import TaskVector, of_folder

WINDOW, BATCH, RANK = 128, 8, 8
ETAS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)
WAYS: Sequence[Way] = ("ridge", "svd", "random")
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", required=True, help="folders of small models, with commas between")
    parser.add_argument("--large", default="embedded", help="the larger model")
    parser.add_argument("--texts", default="fr,de,it,java", help="embedded texts to learn")
    parser.add_argument("--learned", default="", help="text of the small model instead, as a control")
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--seeds", default="0", help="seeds, with commas between")
    parser.add_argument("--lars", action="store_true", help="steps of a share of each layer's norm")
    args = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bar()
    reference = texts_of(None)
    head = (
        "small",
        "text",
        "seed",
        "alone",
        *WAYS,
        "by kind",
        "random by kind",
        "learned",
        "scratch",
        "warm",
        "scratch+",
        "ridge's share",
        "by kind's share",
        "eta",
        "steps by kind",
    )
    print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|", flush=True)
    for small in args.small.split(","):
        for text in args.texts.split(","):
            for seed in map(int, args.seeds.split(",")):
                print(row(args, small, text, seed, reference), flush=True)


def row(args: argparse.Namespace, small_name: str, text: str, seed: int, reference: list[str]) -> str:
    started = time.monotonic()
    large = loaded(args.large)
    train, trust, test = splits(text, large)
    alone = loss(large.model, test)
    vector = learned_vector(args, small_name, args.learned or text, seed)
    values, etas = list[float](), list[float]()
    ridge: Combined | None = None
    by_kind: dict[Way, float] = {}
    told_kinds = ""
    for way in WAYS:
        made = carried(
            [vector], [1.0], loaded(small_name), large, (small_name, args.large),
            way=way, texts=reference, eta=1.0, lars=Lars(0.01) if args.lars else None, seed=seed,
        )  # fmt: skip
        scores = [loss_with(args.large, made.step, eta, trust) for eta in ETAS]
        best = ETAS[int(np.argmin(scores))]
        values.append(loss_with(args.large, made.step, best, test))
        etas.append(best)
        if way == "ridge":
            ridge = scaled(made.step, best)
        if way in ("ridge", "random"):
            by_kind[way], etas_of = loss_by_kind(args.large, made.step, trust, test)
            told_kinds = told_kinds or " ".join(f"{kind} {eta:g}," for kind, eta in etas_of.items() if eta)
    kinds = by_kind["ridge"], by_kind["random"]
    perplexities = [f"{math.exp(one):.2f}" for one in (alone, *values, *kinds)]
    assert ridge is not None, "ridge is one of the ways"
    learned = () if args.learned else learned_losses(args, train, test, seed, ridge)
    cells = [*perplexities, *(f"{math.exp(one):.2f}" for one in learned)]
    if learned:
        cells += [f"{(alone - one) / (alone - learned[0]):.1%}" for one in (values[0], by_kind["ridge"])]
    else:
        cells += ["-"] * 6
    told = " ".join(f"{eta:g}" for eta in etas)
    name = Path(small_name).name
    cells = [name, text, str(seed), *cells, told, told_kinds.strip(",")]
    return "| " + " | ".join(cells) + f" | {time.monotonic() - started:.0f} s"


def loaded(name: str) -> Base:
    return load_base(ModelConfig(name=name, device="cpu", dtype="float32"))


def splits(text: str, base: Base) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Windows of the text, (B, T): seven tenths to learn, one to trust, one to test; the last is reference text."""
    lines = corpus_file(text).read_text(encoding="utf-8").splitlines(keepends=True)
    ends = [round(len(lines) * share) for share in (0.7, 0.8, 0.9)]
    parts = lines[: ends[0]], lines[ends[0] : ends[1]], lines[ends[1] : ends[2]]
    return tuple(windows("".join(part), base) for part in parts)  # type: ignore[return-value]


def windows(text: str, base: Base) -> torch.Tensor:
    ids = torch.tensor(base.tokenizer(text, add_special_tokens=False)["input_ids"])
    return ids[: len(ids) // WINDOW * WINDOW].reshape(-1, WINDOW)


def learned_vector(args: argparse.Namespace, name: str, text: str, seed: int) -> TaskVector:
    base = loaded(name)
    train, _, _ = splits(text, base)
    with tempfile.TemporaryDirectory() as folder:
        trained(args, name, train, args.steps, seed).save_pretrained(folder)
        return of_folder(text, read_peft(Path(folder), "--small"))


def trained(
    args: argparse.Namespace,
    name: str,
    train: torch.Tensor,
    steps: int,
    seed: int,
    start: Combined | None = None,
) -> PeftModel:
    """A LoRA of rank `RANK` on a fresh copy of the model, or from a given one."""
    cast("Any", torch).manual_seed(seed)
    model: Any = loaded(name).model
    if start is None:
        adapted: Any = get_peft_model(
            model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=LAYERS, task_type="CAUSAL_LM")
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "start"
            write_folder(
                path, start, [TaskVector("start", "", b"", False, start.products)], "start", overwrite=False
            )
            adapted = cast("Any", PeftModel).from_pretrained(model, path, is_trainable=True)
    optimiser: Any = torch.optim.AdamW(
        [one for one in adapted.parameters() if one.requires_grad], lr=args.rate
    )
    rng = np.random.default_rng(seed)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 10) * (1 - step / steps)
        batch = train[torch.tensor(rng.integers(0, len(train), BATCH))]
        adapted(input_ids=batch, labels=batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return adapted.eval()


@torch.no_grad()
def loss(model: Any, windows_BT: torch.Tensor) -> float:
    """Mean loss of a token, in nats."""
    batches = [windows_BT[at : at + BATCH] for at in range(0, len(windows_BT), BATCH)]
    losses = [float(model(input_ids=one, labels=one).loss) * len(one) for one in batches]
    return sum(losses) / len(windows_BT)


def loss_with(name: str, step: Combined, eta: float, windows_BT: torch.Tensor) -> float:
    base: Any = loaded(name).model
    for module, one in step.products.items():
        layer = base.get_submodule(module)
        layer.weight.data += torch.tensor(eta * one.scale * one.b_OR @ one.a_RI, dtype=torch.float32)
    return loss(base, windows_BT)


def learned_losses(
    args: argparse.Namespace, train: torch.Tensor, test: torch.Tensor, seed: int, ridge: Combined
) -> tuple[float, float, float, float]:
    """What the large model learns itself: all steps, a quarter, a quarter from the projection, and a quarter more."""
    quarter = args.steps // 4
    bound = loss(trained(args, args.large, train, args.steps, seed), test)
    scratch = loss(trained(args, args.large, train, quarter, seed), test)
    warm = loss(trained(args, args.large, train, quarter, seed, start=ridge), test)
    more = loss(trained(args, args.large, train, quarter + args.steps, seed), test)
    return bound, scratch, warm, more


def loss_by_kind(
    name: str, step: Combined, trust: torch.Tensor, test: torch.Tensor
) -> tuple[float, dict[str, float]]:
    """The test loss at the steps that the trust split chooses for each kind of layer, and these."""
    # All windows choose: the test split judges.
    both = trust.repeat_interleave(2, 0).numpy().astype(np.int32)
    etas = dict(chosen_steps(step, loaded(name), both).etas)
    if not any(etas.values()):
        return loss_with(name, step, 0.0, test), etas
    return loss_with(name, taken(step, etas), 1.0, test), etas


def scaled(step: Combined, eta: float) -> Combined:
    products = {name: Product(one.a_RI, one.b_OR, eta * one.scale) for name, one in step.products.items()}
    # A folder holds one scale for all: it goes into B.
    whole = {name: Product(one.a_RI, np.float32(one.scale) * one.b_OR, 1.0) for name, one in products.items()}
    return Combined(whole, step.rank, step.error)


if __name__ == "__main__":
    main()
