"""The learner process: requests on standard input, answers on standard output, until the input closes.

    python -m gossipllm.learning.worker [nice]

`nice` lowers the process's priority by that much. Frames are those of `pipe.py`; other output goes to standard error.
A thread reads, so that the process ends as soon as its parent ends, even in the middle of a training step: the
parent's end of the pipe closes however the parent died. An interrupt from the terminal is ignored, because the parent
decides when to stop. Torch is imported with the first request, after a progress message, because that takes seconds.

Expected failures become `Failed`. After an unexpected one the learner's state is unknown: the process ends with a
traceback, whose last line says what happened, and with code 1; or with `EXHAUSTED` where memory or a disk was full,
because that may pass. The parent decides whether another start is worth it. While a request is performed, a second
thread sends a `Beat` every few seconds, by which the parent tells long work from a hang.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import BinaryIO, TextIO, cast

from gossipllm.deferred_imports import defer
from gossipllm.device.memory import peak_memory
from gossipllm.exhaustion import is_exhaustion
from gossipllm.pipe import PREFIX, PipeError, answers_out, ends_exchange, requests_in
from gossipllm.work import BEAT_S, EXHAUSTED, Answer, Beat, Open, Progress, Request
from trust.streams import DroppingStream


def main(arguments: list[str]) -> int:
    defer()
    if arguments:
        os.nice(int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints: a full disk under the log must not end the training.
    sys.stdout = sys.stderr = cast("TextIO", DroppingStream(sys.stderr))
    # Threads that spin while they wait starve each other on a busy machine: with a load of 6 on two cores,
    # training with two threads ran at 500 tokens/s spinning and 1,700 sleeping. torch reads this on import.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    source, sink = _private_pipes()
    # Unbounded, but the parent sends its next request after the answer to the last.
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, requests), daemon=True).start()
    try:
        _serve(requests, sink)
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001  the one place where a traceback is all that is left to give
        traceback.print_exc()
        # The parent shows the last line, and an exception may have several.
        sys.stderr.write(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}\n")
        return EXHAUSTED if is_exhaustion(error) else 1
    return 1


def _serve(requests: queue.SimpleQueue[Request], sink: BinaryIO) -> None:
    sender, one_at_a_time, working = answers_out(), threading.Lock(), threading.Event()

    def send(message: Answer | Beat) -> None:
        with one_at_a_time:
            sink.writelines(sender.frame(message))
            sink.flush()
            # No answer repeats a content, so that remembering them would only cost memory.
            sender.forget()

    threading.Thread(target=_beat, args=(working, send), daemon=True).start()
    learner, perform = None, None
    while True:
        working.clear()
        request = requests.get()
        working.set()
        if isinstance(request, Open):
            send(
                Progress(request=request.request, phase="libraries", step=0, steps=5, loss=0, tokens_per_s=0)
            )
        if perform is None:
            perform = _libraries()
        learner, reply = perform(learner, request, send)
        # A short round ends before the first beat, and what it used is counted by beats.
        send(_beat_now())
        send(reply)


def _beat(working: threading.Event, send: Callable[[Beat], None]) -> None:
    """Send signs of life while the process works. Ends with the pipe; the main thread notices that too."""
    with contextlib.suppress(OSError, ValueError):
        while True:
            working.wait()
            time.sleep(BEAT_S)
            if working.is_set():
                send(_beat_now())


def _beat_now() -> Beat:
    return Beat(cpu_s=time.process_time(), peak_bytes=peak_memory())


def _libraries():  # noqa: ANN202  its type would need the imports, which take seconds
    import torch
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.learning.learner_pool import answer

    # Moments that decay towards zero would slow the processor's arithmetic. Here and not where models are
    # loaded, since it changes the arithmetic of everything else in the process too.
    torch.set_flush_denormal(True)
    disable_progress_bar()
    return answer


def _read(source: BinaryIO, requests: queue.SimpleQueue[Request]) -> None:
    try:
        for request in _requests(source):
            requests.put(request)
    except PipeError as error:
        sys.stderr.write(f"learner: {error}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _requests(source: BinaryIO) -> Iterator[Request]:
    """Requests until the input ends, which may be in the middle of a frame."""
    receiver = requests_in()
    while len(prefix := source.read(PREFIX.size)) == PREFIX.size:
        size = receiver.header_bytes(prefix)
        data = source.read(size)
        if len(data) < size:
            return
        header = receiver.header(data)
        contents = [source.read(count) for _, count in header.contents]
        if any(len(read) < count for read, (_, count) in zip(contents, header.contents, strict=True)):
            return
        request = receiver.message(header, contents)
        if ends_exchange(request):
            receiver.forget()
        yield request


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Duplicates of standard input and output. Descriptor 0 then reads nothing and 1 writes to standard error, so that
    a library that prints cannot break a frame."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(source, "rb"), os.fdopen(sink, "wb")


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # The reading thread sits in a read that an orderly exit would wait for.
    os._exit(code)
