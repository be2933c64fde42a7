"""Joules from RAPL: every zone once, over a wrap-around, and a reason where they cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipllm.device.measured import NotMeasuredError
from gossipllm.device.rapl import Rapl
from support.powercap import Powercap


@pytest.fixture
def files(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path / "powercap")


def test_joules_count_from_when_the_counter_was_opened(files: Powercap) -> None:
    files.zone("intel-rapl:0", "package-0", energy_uj=5_000_000)
    rapl = Rapl(files.root)

    files.set("intel-rapl:0", 7_500_000)

    assert rapl.joules() == 2.5
    assert rapl.method == "rapl package"


def test_a_counter_that_wraps_around_goes_on_counting(files: Powercap) -> None:
    files.zone("intel-rapl:0", "package-0", energy_uj=9_000_000, range_uj=9_999_999)
    rapl = Rapl(files.root)

    files.set("intel-rapl:0", 1_000_000)
    first = rapl.joules()
    files.set("intel-rapl:0", 500_000)

    assert (first, rapl.joules()) == (2.0, 11.5)


def test_packages_and_their_memory_count_once_and_nothing_else_does(files: Powercap) -> None:
    """Cores and the graphics unit are inside of a package, psys includes packages, and mmio repeats one."""
    zones = (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0/intel-rapl:0:0", "core"),
        ("intel-rapl:0/intel-rapl:0:1", "uncore"),
        ("intel-rapl:0/intel-rapl:0:2", "dram"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:1/intel-rapl:1:0", "dram"),
        ("intel-rapl:2", "psys"),
        ("intel-rapl-mmio:0", "package-0"),
    )
    for path, name in zones:
        files.zone(path, name)
    rapl = Rapl(files.root)

    for exponent, (path, _) in enumerate(zones):
        files.set(path, 10**exponent * 1_000_000)

    assert rapl.joules() == 10**0 + 10**3 + 10**4 + 10**5
    assert rapl.method == "rapl package and dram"


def test_the_whole_platform_counts_where_there_is_no_package(files: Powercap) -> None:
    files.zone("intel-rapl:0", "psys")
    rapl = Rapl(files.root)
    files.set("intel-rapl:0", 3_000_000)
    assert (rapl.joules(), rapl.method) == (3.0, "rapl psys")


def test_a_package_that_only_the_other_register_shows_counts(files: Powercap) -> None:
    files.zone("intel-rapl-mmio:0", "package-0")
    rapl = Rapl(files.root)
    files.set("intel-rapl-mmio:0", 4_000_000)
    assert rapl.joules() == 4.0


def test_no_zones_and_no_folder_are_named(files: Powercap) -> None:
    with pytest.raises(NotMeasuredError, match=r"no RAPL zones in .*powercap"):
        Rapl(files.root)
    files.zone("intel-rapl:0", "core")
    with pytest.raises(NotMeasuredError, match="no RAPL zone of a whole processor"):
        Rapl(files.root)


def test_a_counter_that_only_root_may_read_is_named(files: Powercap, monkeypatch: pytest.MonkeyPatch) -> None:
    files.zone("intel-rapl:0", "package-0")
    whole = Path.read_text

    def refused(self: Path) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return whole(self)

    # Tests may run as root, which reads files of any mode.
    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(NotMeasuredError, match=r"intel-rapl:0/energy_uj may be read by root alone"):
        Rapl(files.root)


def test_a_zone_that_vanishes_and_one_that_holds_no_number_are_named(files: Powercap) -> None:
    files.zone("intel-rapl:0", "package-0")
    rapl = Rapl(files.root)

    (files.root / "intel-rapl:0/energy_uj").write_text("soon\n")
    with pytest.raises(NotMeasuredError, match="energy_uj: holds no number"):
        rapl.joules()
    (files.root / "intel-rapl:0/energy_uj").unlink()
    with pytest.raises(NotMeasuredError, match="energy_uj: No such file"):
        rapl.joules()
