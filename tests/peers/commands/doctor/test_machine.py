"""What the doctor says of this machine, and of one where something is wrong."""

from __future__ import annotations

import importlib.metadata
import shutil
import socket
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gossipllm.device.free_memory import free_in_group
from peers.commands.doctor import machine


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_python_outside_a_virtual_environment_is_worth_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)

    (found,) = machine.python()

    assert found.level == "warn"


def test_an_earlier_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1, "final", 0))

    (found,) = machine.python()

    assert (found.level, found.cure) == ("fail", "install Python >=3.11")


def test_a_library_that_is_not_as_required_is_named_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def requires(_: str) -> list[str]:
        return ["click>=8", "rich>=999", "nowhere-to-be-found>=1", "absent-too>=1; extra == 'eval'"]

    monkeypatch.setattr(importlib.metadata, "requires", requires)

    found = {one.what: one for one in machine.libraries()}

    assert found["rich"].level == found["nowhere-to-be-found"].level == "fail"
    assert "pip install 'rich>=999'" in found["rich"].cure
    assert found["libraries"].value == "1 are as required"
    assert (found["[eval]"].level, found["[eval]"].value) == ("ok", "without absent-too")


def test_a_full_disk_is_worth_a_look_also_where_the_folder_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (roomy,) = machine.disk(tmp_path / "not" / "yet")

    def usage(_: Path) -> Usage:
        return Usage(10, 9, 1)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    (full,) = machine.disk(tmp_path)

    assert str(tmp_path) in roomy.value
    assert full.level == "warn"


def test_memory_and_clock_are_told_or_said_not_to_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    (memory,) = machine.memory()
    (clock,) = machine.clock()
    monkeypatch.setattr(sys, "platform", "darwin")
    (elsewhere,) = machine.clock()

    assert "free" in memory.value
    assert clock.level in ("ok", "warn")
    assert elsewhere.value.startswith("not checked")


def test_files_that_the_kernel_keeps_for_later_take_no_memory_in_a_container(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("8000\n")
    (tmp_path / "memory.current").write_text("7500\n")
    (tmp_path / "memory.stat").write_text("anon 2500\nactive_file 1000\ninactive_file 4000\n")

    assert free_in_group(tmp_path) == [4500]

    (tmp_path / "memory.max").write_text("max\n")
    assert free_in_group(tmp_path) == []


@pytest.mark.parametrize(("state", "level"), [(0, "ok"), (5, "warn"), (-1, "ok")])
def test_the_kernel_says_whether_something_keeps_the_clock_right(
    state: int, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kernel:
        def adjtimex(self, _: Any) -> int:
            return state

    def library(_: str | None) -> Kernel:
        return Kernel()

    monkeypatch.setattr("ctypes.CDLL", library)
    monkeypatch.setattr(sys, "platform", "linux")

    (found,) = machine.clock()

    assert found.level == level


def test_a_port_that_is_taken_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        loopback, taken = machine.sockets("127.0.0.1", server.getsockname()[1])

    assert (loopback.level, taken.level) == ("ok", "fail")
    assert "in use" in taken.cure
