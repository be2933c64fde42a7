"""What each process of a peer must not load. How they are kept out: `gossipllm/deferred_imports.py`."""

from __future__ import annotations

import subprocess
import sys

from gossipllm.base import corpus_file

NOT_IN_A_LEARNER = (
    "accelerate",
    "pandas",
    "peft",
    "scipy.optimize",
    "sklearn",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
)
"""Libraries that arrive with others, and that opening the embedded model and training it do not use."""

NOT_IN_THE_NETWORK = (
    "httpx",
    "libp2p.bitswap",
    "libp2p.kad_dht.kad_dht",
    "libp2p.transport.websocket",
    "pandas",
    "prometheus_client",
    "requests",
    "scipy",
    "torch",
    "transformers",
    "zeroconf",
)
"""Libraries that arrive with libp2p, and that a peer's network does not use; and those of the learner."""


LEARNER = """
from gossipllm.deferred_imports import defer, is_executed
defer()
from gossipllm import work
from gossipllm.config import DataConfig, LearnerConfig, TrainingConfig
from gossipllm.learning.learner_pool import answer
config = LearnerConfig(
    data=DataConfig(path={text!r}, window_tokens=16), training=TrainingConfig(batch_windows=1)
)
{requests}
print(*(name for name in {names!r} if is_executed(name)))
"""
NETWORK = """
from gossipllm.deferred_imports import defer, is_executed
defer()
import trio
import peers.commands.run, peers.run.command
from peers.identity import Identity
from peers.net.config import NetworkConfig
from peers.net.libp2p_host import open_network
class Nobody:
    def __getattr__(self, name):
        return lambda *given, **named: None
async def listen():
    config = NetworkConfig(listen="/ip4/127.0.0.1/tcp/0")
    async with open_network(Identity.generate(), Nobody(), config) as network:
        assert network.addresses
trio.run(listen)
print(*(name for name in {names!r} if is_executed(name)))
"""


def test_a_learner_that_trains_the_embedded_model_loads_only_what_it_uses() -> None:
    requests = (
        "learner, opened = answer(None, work.Open(request=1, config=config, snapshot=None), lambda _: None)\n"
        "learner, trained = answer(learner, work.Train(request=2, round=0, steps=1), lambda _: None)\n"
        "assert isinstance(trained, work.Trained), trained"
    )
    code = LEARNER.format(text=str(corpus_file("fr")), requests=requests, names=NOT_IN_A_LEARNER)
    assert _last_line(code) == ""


def test_the_process_of_the_network_loads_only_what_it_uses() -> None:
    assert _last_line(NETWORK.format(names=NOT_IN_THE_NETWORK)) == ""


def _last_line(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
