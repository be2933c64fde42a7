"""How far the loading of a model is: its weights as transformers puts them in place, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from transformers.utils import logging

from gossipllm.config import ModelConfig
from gossipllm.model.loading.models import Base, load_base

_WEIGHTS: Final = "Loading weights"
"""What transformers calls that loop where it shows a bar. Another name would cost the progress, nothing else."""


def load_base_told(config: ModelConfig, begin: Callable[[str, int], Callable[[int], None]]) -> Base:
    """The base; `begin` is told what comes and of how many weights, and what it returns how many more are in place.
    Raises `UserMistake`."""
    done: Callable[[int], None] | None = None

    def told(_: int, total: int) -> None:
        nonlocal done
        done = done or begin("loading the model", total)
        done(1)

    with loading_told(told):
        return load_base(config)


@contextmanager
def loading_told(told: Callable[[int, int], None]) -> Generator[None]:
    """Meanwhile `told` is called after each weight with how many are in place, and of how many. Bars of transformers
    that show the same are not shown."""

    def counting(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("desc") == _WEIGHTS and args:
            return _counted(args[0], told)
        return factory(*args, **kwargs)

    before = logging.set_tqdm_hook(counting)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


def _counted(weights: Collection[Any], told: Callable[[int, int], None]) -> Iterator[Any]:
    for done, weight in enumerate(weights, start=1):
        yield weight
        told(done, len(weights))
