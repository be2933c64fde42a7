"""Files of devices: read strictly, and the arithmetic that turns operations into tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipllm.device.plan.paper import PaperDevice, PaperFleet, PaperWork, read_fleet
from trust.errors import UserMistake


def test_operations_become_tokens_by_the_parameters_and_what_is_trained() -> None:
    devices = (PaperDevice(name="a", flops=4.2e10), PaperDevice(name="b", tokens_s=500.0))
    adapter = PaperFleet(devices=devices, work=PaperWork(parameters=1_000_000))
    full = PaperFleet(devices=devices, work=PaperWork(parameters=1_000_000, full=True))
    assert [round(1 / one.pace.token_s) for one in adapter.planned_devices()] == [10_500, 500]
    assert [round(1 / one.pace.token_s) for one in full.planned_devices()] == [7_000, 500]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '[[devices]]\nname = "phone"\ntoken_s = 400',
            r"devices\.0\.token_s: unknown key, did you mean tokens_s",
        ),
        ('[work]\ntokens = 0\n[[devices]]\nname = "a"\ntokens_s = 1', "tokens must be at least 1, got 0"),
        ('[[devices]]\nname = "a"', "a: one of tokens_s and flops must be above 0"),
        ('[[devices]]\nname = "a"\ntokens_s = 1\nflops = 1', "one of tokens_s and flops"),
        ('[[devices]]\nname = "a"\ntokens_s = 1\nwatts = -4', "watts must be above 0, got -4"),
        ("devices = []", "at least one device"),
        ("[work]\ntokens = 5", "devices: is missing"),
        ("[[devices]", "no valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(text)
    with pytest.raises(UserMistake, match=why) as told:
        read_fleet(file)
    assert "\n" not in str(told.value)
    assert str(file) in str(told.value)
