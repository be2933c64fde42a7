"""Which settings stand in a new peer.toml, and whether files of earlier versions still open."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from gossipllm.config import AdapterConfig, DataConfig, HeadsConfig
from peers.home.config import RETIRED, PeerConfig, SelfConfig, load_config
from peers.home.settings import COMMON, REPRODUCTION, peer_settings, short_toml, write_config
from trust.errors import UserMistake

OLD_HOMES = sorted((Path(__file__).parent / "old_homes").glob("*.toml"))


def keys(text: str) -> set[str]:
    return {f"{table}.{key}" for table, inner in tomllib.loads(text).items() for key in inner}


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        PeerConfig(),
        PeerConfig(adapter=AdapterConfig(train="heads", rank=3), heads=HeadsConfig(copies=2, mode="subnet")),
        PeerConfig(adapter=AdapterConfig(start="own")),
    ],
)
def test_a_written_file_reads_back(tmp_path: Path, config: PeerConfig, every: bool) -> None:
    write_config(tmp_path / "peer.toml", config, every=every)

    assert load_config(tmp_path / "peer.toml") == config


def test_a_new_file_holds_the_common_settings_and_those_that_differ() -> None:
    config = PeerConfig(adapter=AdapterConfig(train="b"))

    assert keys(short_toml(PeerConfig())) == set(COMMON)
    assert keys(short_toml(config)) == {*COMMON, "adapter.train"}


def test_common_settings_exist_and_none_is_for_reproduction() -> None:
    known = {setting.key for setting in peer_settings(PeerConfig())}

    assert set(COMMON) <= known
    assert known >= REPRODUCTION
    assert not REPRODUCTION & set(COMMON)
    assert not known & set(RETIRED)


def test_every_setting_is_written_but_those_for_reproduction(tmp_path: Path) -> None:
    write_config(tmp_path / "peer.toml", PeerConfig(), every=True)

    known = {setting.key for setting in peer_settings(PeerConfig())}
    assert keys((tmp_path / "peer.toml").read_text()) == known - REPRODUCTION


@pytest.mark.parametrize("file", OLD_HOMES, ids=lambda file: file.stem)
def test_the_file_of_an_earlier_version_opens_with_the_same_values(file: Path) -> None:
    config = load_config(file)

    written = {
        f"{table}.{key}": value
        for table, inner in tomllib.loads(file.read_text()).items()
        for key, value in inner.items()
    }
    assert {key for key in written if key not in RETIRED} <= {each.key for each in peer_settings(config)}
    for key, value in written.items():
        if key not in RETIRED:
            table, _, name = key.partition(".")
            loaded: object = getattr(getattr(config, table), name)
            assert (
                list(cast("tuple[object, ...]", loaded)) if isinstance(loaded, tuple) else loaded
            ) == value


def test_an_old_file_with_its_defaults_means_the_defaults() -> None:
    assert OLD_HOMES
    for file in OLD_HOMES:
        expected = replace(
            PeerConfig(), peer=SelfConfig(name="anna"), data=DataConfig(path="/home/anna/notes")
        )
        assert load_config(file) == expected


def test_a_retired_setting_is_ignored_with_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RETIRED, "network.old_s", "it is 5 s everywhere")
    (tmp_path / "peer.toml").write_text("[network]\nold_s = 3.0\nmax_connections = 32\n")
    notices: list[str] = []

    config = load_config(tmp_path / "peer.toml", noticed=notices.append)

    assert config.network.max_connections == 32
    assert notices == [
        f"{tmp_path / 'peer.toml'}: network.old_s is no longer a setting and is ignored: it is 5 s everywhere"
    ]


def test_an_old_file_gets_one_notice_for_each_retired_setting() -> None:
    for file in OLD_HOMES:
        notices: list[str] = []
        load_config(file, noticed=notices.append)
        written = keys(file.read_text())
        assert len(notices) == len(written & set(RETIRED)) > 0


def test_an_unknown_setting_stays_an_error(tmp_path: Path) -> None:
    (tmp_path / "peer.toml").write_text("[network]\nmax_conections = 32\n")
    with pytest.raises(
        UserMistake, match=r"network\.max_conections: unknown key, did you mean max_connections\?"
    ):
        load_config(tmp_path / "peer.toml")
