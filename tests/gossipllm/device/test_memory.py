"""The most memory that a process held, as the system says it."""

from __future__ import annotations

from pathlib import Path

from gossipllm.device.memory import peak_memory


def test_linux_says_it_in_kilobytes(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  900000 kB\nVmHWM:\t  512 kB\n")
    assert peak_memory(status) == 512 * 1024


def test_elsewhere_the_count_of_the_process_is_taken(tmp_path: Path) -> None:
    assert peak_memory(tmp_path / "none") > 2**20
