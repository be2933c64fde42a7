"""Progress of loading a model, counted in weights that transformers has loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from transformers.utils import logging

from gossipllm.config import ModelConfig
from gossipllm.model.loading.models import Base, load_base

_WEIGHTS: Final = "Loading weights"
"""The description of transformers' progress bar for that loop. Where a version of transformers uses another one, no
progress is shown and loading works all the same."""


def load_base_told(config: ModelConfig, begin: Callable[[str, int], Callable[[int], None]]) -> Base:
    """`load_base` with progress: `begin` is called with a description and the number of weights, and the function that
    it returns with how many more are loaded. Raises `UserMistake`."""
    done: Callable[[int], None] | None = None

    def told(_: int, total: int) -> None:
        nonlocal done
        done = done or begin("loading the model", total)
        done(1)

    with loading_told(told):
        return load_base(config)


@contextmanager
def loading_told(told: Callable[[int, int], None]) -> Generator[None]:
    """Within the context manager, `told` is called after each weight with the number of weights loaded and their total;
    transformers' own bar for them is not shown."""

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
