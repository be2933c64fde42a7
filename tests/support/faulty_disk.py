"""A disk that fails at a chosen operation of a save: the process is killed there, or the operation raises an error.

The product writes through `trust.files` and a few appends, which use the functions of `os` named in `OPERATIONS` and
files of `os.fdopen`; `tests/test_writing.py` holds it to that. Reading is never disturbed.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import pytest

OPERATIONS: Final = (
    "open",
    "write",
    "fsync",
    "ftruncate",
    "fchmod",
    "chmod",
    "replace",
    "link",
    "unlink",
    "mkdir",
    "rmdir",
)
_MAKES: Final = os.O_CREAT | os.O_WRONLY | os.O_RDWR
_NEEDS_SPACE: Final = frozenset({"open", "write", "fsync", "replace", "link", "mkdir"})


@dataclass(frozen=True)
class Fault:
    """What happens at the chosen operation. `code` is an error's number, 0 for a kill. `half`: a write writes half of
    its bytes before. `lasting`: what comes after the operation fails too, as far as this kind of error reaches."""

    name: str
    code: int = 0
    half: bool = False
    lasting: bool = False


KILLS: Final = (Fault("killed"), Fault("killed half-way", half=True))
ERRORS: Final = (
    Fault("ENOSPC once", errno.ENOSPC),
    Fault("ENOSPC half-way", errno.ENOSPC, half=True, lasting=True),
    Fault("EDQUOT", errno.EDQUOT, lasting=True),
    Fault("EIO once", errno.EIO),
    Fault("EIO half-way", errno.EIO, half=True, lasting=True),
    Fault("EROFS", errno.EROFS, lasting=True),
    Fault("EMFILE", errno.EMFILE, lasting=True),
)


class FaultyDisk:
    """Counts operations that change the disk; the `at`-th, from 1, meets the fault. Use it as a context."""

    def __init__(self, at: int, fault: Fault, *, only: str | None = None) -> None:
        """`only`: count no operations of another name."""
        self._at, self._fault, self._only = at, fault, only
        self._patches = pytest.MonkeyPatch()
        self.done: list[str] = []
        """The operations so far, in order."""

    @property
    def reached(self) -> bool:
        return len(self.done) >= self._at

    def __enter__(self) -> FaultyDisk:
        for name in OPERATIONS:
            self._patches.setattr(os, name, self._watched(name, getattr(os, name)))
        fdopen = os.fdopen

        def opened(descriptor: int, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            file: Any = fdopen(descriptor, mode, *arguments, **options)
            return file if mode == "rb" else _WatchedFile(file, self)

        self._patches.setattr(os, "fdopen", opened)
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.undo()

    def meet(self, name: str, half: Callable[[], object] | None = None) -> None:
        """Count this operation, and let it meet the fault. `half` does half of it."""
        if self._only not in (None, name):
            return
        self.done.append(name)
        count, fault = len(self.done), self._fault
        if count != self._at and not (count > self._at and fault.lasting and self._reaches(name)):
            return
        if fault.half and half is not None:
            half()
        if not fault.code:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(fault.code, os.strerror(fault.code))

    def _reaches(self, name: str) -> bool:
        """Whether a lasting error of this kind is met by such an operation."""
        if self._fault.code == errno.EMFILE:
            return name == "open"
        return self._fault.code in (errno.EIO, errno.EROFS) or name in _NEEDS_SPACE

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not (arguments[1] & (_MAKES | os.O_DIRECTORY)):
                return call(*arguments, **options)
            half = None
            if name == "write":
                descriptor, data = arguments
                half = lambda: call(descriptor, data[: len(data) // 2])  # noqa: E731
            self.meet(name, half)
            return call(*arguments, **options)

        return instead


class _WatchedFile:
    """A file that is written to, whose writes are operations of the disk. What is written is flushed at once."""

    def __init__(self, file: BinaryIO, disk: FaultyDisk) -> None:
        self._file, self._disk = file, disk

    def __enter__(self) -> _WatchedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        self._disk.meet("write", lambda: self._written(data[: len(data) // 2]))
        return self._written(data)

    def writelines(self, pieces: Iterable[Any]) -> None:
        for piece in pieces:
            self.write(piece)

    def _written(self, data: Any) -> int:
        count = self._file.write(data)
        self._file.flush()
        return count

    def truncate(self, size: int | None = None) -> int:
        self._disk.meet("ftruncate")
        return self._file.truncate(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def killed_at(at: int, fault: Fault, act: Callable[[], object]) -> bool:
    """Do it in a process that meets a kill at the `at`-th operation. False where it ended before."""
    child = os.fork()
    if child == 0:
        try:
            with FaultyDisk(at, fault):
                act()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the save failed without a fault"
    return os.WIFSIGNALED(status)
