"""`gossipllm doctor` as a user meets it: lines, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from gossipllm.config import LayersConfig, ModelConfig
from peers.commands.doctor import other_peer
from peers.commands.doctor.command import doctor
from peers.commands.doctor.findings import Finding
from peers.commands.doctor.fingerprints import fingerprints_of
from peers.home.config import PeerConfig
from peers.home.folder import Home
from support.records import append_records, begun_of, round_of
from trust.expectation import expectation
from wire.messages import Fingerprints, Greeting, network_id

SAVED = Fingerprints(base=b"b" * 32, tokenizer=b"t" * 32, reference=b"r" * 32, layout=b"l" * 32)


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        doctor.main([str(word) for word in words], prog_name="doctor", standalone_mode=False)
    return int(ended.value.code or 0)


def test_a_good_home_is_healthy_without_torch(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--home", home.folder, "--quick") == 0

    out = capsys.readouterr().out
    assert all(
        what in out for what in ("python", "libraries", "disk", "listening", "state", "history", "lock")
    )
    assert "0 failed" in out


def test_lines_fit_sixty_columns(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    (home.state / "state.0").write_bytes(b"nonsense")

    assert run("--home", home.folder, "--quick") == 1

    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 60
    assert "\x1b" not in out


def test_json_holds_every_finding(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.identity.chmod(0o644)

    assert run("--home", home.folder, "--quick", "--json") == 1

    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["healthy"]) == (1, False)
    assert {"level", "what", "value", "cure"} == set(found["findings"][0])
    assert "key" in [one["what"] for one in found["findings"] if one["level"] == "fail"]


def test_with_torch_types_are_compared_and_the_dtype_that_is_taken_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("--json")

    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert {"torch", "cpu", "bfloat16"} <= set(found)
    assert "dtype 'auto' takes" in found["bfloat16"]["value"]


def test_a_bad_address_and_a_home_that_is_none_are_failures_not_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--home", tmp_path / "none", "--join", "nonsense\x1b[2J", "--quick", "--json") == 1

    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert found["home"]["level"] == found["address"]["level"] == "fail"
    assert "\x1b" not in found["address"]["value"]


@pytest.mark.parametrize(("quick", "words"), [(True, ["--quick"]), (False, [])])
def test_the_network_is_compared_with_the_home_s(
    quick: bool,
    words: list[str],
    home: Home,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reach(*_: object, **__: object) -> Generator[Finding, None, Greeting]:
        yield from ()
        return Greeting(v=1, net=network_id("gossipllm", SAVED.reference), fingerprints=SAVED, latest=())

    monkeypatch.setattr(other_peer, "reach", reach)

    assert run("--home", home.folder, "--join", "somewhere", "--json", *words) == 1

    failed = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["level"] == "fail"]
    assert "reference" in [one["what"] for one in failed]
    assert all(one["cure"] for one in failed)


def test_before_a_peer_is_joined_the_history_tells_what_to_expect(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reach(*_: object, **__: object) -> Generator[Finding, None, Greeting]:
        yield from ()
        return Greeting(v=1, net=network_id("gossipllm", SAVED.reference), fingerprints=SAVED, latest=())

    monkeypatch.setattr(other_peer, "reach", reach)
    begun = msgspec.structs.replace(begun_of("anna"), train_tokens=5_120)
    append_records(home.folder, "anna", begun, round_of("anna", 0, {"bert": 0.25}))

    run("--home", home.folder, "--join", "somewhere", "--json", "--quick")

    found = {one["what"]: one["value"] for one in json.loads(capsys.readouterr().out)["findings"]}
    assert found["expect"] == expectation(tokens=5_120, relatives=1)


def test_where_torch_cannot_be_loaded_what_was_saved_is_compared(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reach(*_: object, **__: object) -> Generator[Finding, None, Greeting]:
        yield from ()
        return Greeting(v=1, net=network_id("gossipllm", SAVED.reference), fingerprints=SAVED, latest=())

    monkeypatch.setattr(other_peer, "reach", reach)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "peers.commands.doctor.fingerprints", raising=False)

    assert run("--home", home.folder, "--join", "somewhere", "--json") == 1

    failed = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["level"] == "fail"]
    assert {"torch", "reference"} <= {one["what"] for one in failed}


def test_a_base_that_its_peer_holds_in_few_bits_is_not_loaded_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ModelConfig(device="cpu", dtype="float32", threads=1)
    whole = fingerprints_of(PeerConfig(model=model))

    def refuse(_: object) -> None:
        raise AssertionError("loaded whole")

    monkeypatch.setattr("gossipllm.learning.shared_model.load_base", refuse)
    held = fingerprints_of(PeerConfig(model=model, layers=LayersConfig(count=1, context="int4")))

    assert held.base == whole.base


def test_without_torch_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys; from peers.commands.doctor.command import doctor\n"
        "try: doctor.main(['--quick'], standalone_mode=False)\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'libp2p'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
