"""The learner process over real pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from gossipllm.config import DataConfig, LearnerConfig
from gossipllm.pipe import PREFIX, answers_in, ends_exchange, requests_in, requests_out
from gossipllm.work import (
    Absorb,
    Answer,
    Beat,
    Evaluate,
    Evaluated,
    Failed,
    Merge,
    Merged,
    Open,
    Opened,
    Progress,
    PushedShare,
    Request,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from wire.digest import Content

Config = Callable[..., LearnerConfig]


class Parent:
    """The other end of a worker's pipes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gossipllm.learning.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.progress: list[Progress] = []
        self._sender, self._receiver = requests_out(), answers_in()

    def send(self, request: Request) -> None:
        assert self.process.stdin is not None
        for piece in self._sender.frame(request):
            self.process.stdin.write(piece)
        self.process.stdin.flush()
        if ends_exchange(request):
            self._sender.forget()

    def ask(self, request: Request) -> Answer:
        self.send(request)
        while isinstance(reply := self.receive(), Progress):
            self.progress.append(reply)
        return reply

    def receive(self) -> Answer:
        """The next message that is not only a sign of life."""
        while isinstance(message := self._message(), Beat):
            pass
        return message

    def _message(self) -> Answer | Beat:
        source = self.process.stdout
        assert source is not None
        header = self._receiver.header(source.read(self._receiver.header_bytes(source.read(PREFIX.size))))
        return self._receiver.message(header, [source.read(size) for _, size in header.contents])


@pytest.fixture
def parent() -> Iterator[Parent]:
    parent = Parent()
    yield parent
    parent.process.kill()
    parent.process.wait()
    for pipe in (parent.process.stdin, parent.process.stdout):
        assert pipe is not None
        pipe.close()


def test_a_round_over_pipes_and_an_end_when_the_parent_is_gone(parent: Parent, config: Config) -> None:
    missing = parent.ask(Open(request=1, config=config(data=DataConfig(path="/nowhere.txt")), snapshot=None))
    assert isinstance(missing, Failed)
    assert missing.users_fault

    opened = parent.ask(Open(request=2, config=config(), snapshot=None))
    assert isinstance(opened, Opened)
    assert [p.phase for p in parent.progress[-3:]] == ["reference", "text", "first loss"]

    trained = parent.ask(Train(request=3, round=1, steps=3))
    assert isinstance(trained, Trained)
    assert parent.progress[-1].step == 3
    update, evidence = trained.update, trained.evidence

    weighed = parent.ask(Weigh(request=4, author="x", update=update, evidence=evidence))
    assert isinstance(weighed, Weighed)
    tried = parent.ask(Evaluate(request=5, rows=((0.5, 0.5),), updates=(update,)))
    assert isinstance(tried, Evaluated)
    merged = parent.ask(Merge(request=6, row=(0.5, 0.5), updates=(update,)))
    assert isinstance(merged, Merged)
    assert merged.trust_loss == pytest.approx(tried.losses[0], abs=1e-9)
    again = parent.ask(Weigh(request=7, author="x", update=update, evidence=evidence))
    assert isinstance(again, Weighed), "contents that were forgotten with the merge are sent anew"

    # An interrupt is the parent's to answer, and training goes on until the pipe closes.
    parent.process.send_signal(signal.SIGINT)
    parent.send(Train(request=8, round=2, steps=1_000_000))
    assert isinstance(parent.receive(), Progress)
    assert parent.process.stdin is not None
    parent.process.stdin.close()
    assert parent.process.wait(timeout=20) == 0


def test_contents_within_lists_cross_once_and_anew_after_an_absorb() -> None:
    sender, receiver = requests_out(), requests_in()
    context = Content.of(b"a context")
    shares = (PushedShare(peer="x", round=3, content=Content.of(b"a share")),)
    train = Train(request=1, round=3, steps=2, units=b"\5", context=context, receivers=("x", "y"))
    exchange: list[tuple[Request, int]] = [
        (train, 1),
        (train, 0),
        (Absorb(request=2, shares=shares), 1),
        (train, 1),
    ]

    for request, contents in exchange:
        _, head, *bodies = sender.frame(request)
        header = receiver.header(head)
        assert len(bodies) == contents
        assert receiver.message(header, bodies) == request
        if ends_exchange(request):
            sender.forget()
            receiver.forget()


def test_what_is_no_frame_ends_the_worker(parent: Parent) -> None:
    parent.process.communicate(b"\xff\xff\xff\xff", timeout=20)

    assert parent.process.returncode == 1
