"""The command `gossipllm report`: its inputs, its document, and user errors in one line."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from sim.reporting.command import report
from support.records import make_home, round_of, write_growing
from support.reported_runs import Simulation, begun_of_index, round_of_index, row_of
from trust.record.cost import Cost
from trust.record.history import HISTORY_FILE, Entry, Traffic
from trust.record.writer import HistoryWriter

HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>{{data}}'


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(report, [*map(str, arguments)])


def document(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json", "-q")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def complaint(*arguments: object) -> str:
    """The one line that a user error ends with."""
    result = run(*arguments, "-q")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("place", ["", "peers", "peers/anna", f"peers/anna/{HISTORY_FILE}"])
def test_a_run_a_home_or_a_file_becomes_one_file(demo: Path, tmp_path: Path, place: str) -> None:
    out = tmp_path / "out.html"
    result = run(demo / place, "-o", out)
    assert result.exit_code == 0
    assert f"written to {out}" in result.stdout
    assert "reading: " in result.stderr
    assert out.read_text().startswith("<!doctype html>")
    assert "anna" in out.read_text()
    assert {one.name for one in tmp_path.iterdir()} == {"demo", "out.html"}


def test_energy_stands_on_the_page_with_its_method_where_rounds_have_a_cost(tmp_path: Path) -> None:
    cost = Cost(joules=1234.0, method="rapl package", seconds=1.0)
    make_home(tmp_path / "anna", "id-anna", round_of("id-anna", 0, {}, cost=cost), name="anna")
    make_home(tmp_path / "bert", "id-bert", round_of("id-bert", 0, {}), name="bert")
    out = tmp_path / "out.html"
    run(tmp_path, "-o", out)
    (row,) = (
        line for line in out.read_text().split("<tr>") if "rapl package" in line and "<td>1,234</td>" in line
    )
    assert "anna" in row
    run(tmp_path / "bert", "-o", out)
    assert "Energy and cost" not in out.read_text()


def test_json_is_the_documented_document(demo: Path) -> None:
    found = document(demo)
    assert found["schema"] == 1
    (one,) = found["runs"]
    anna = one["peers"][0]
    told = " ".join(CliRunner().invoke(report, ["--help"]).stdout.split())
    for fields in (
        found,
        one,
        anna,
        anna["series"],
        anna["totals"],
        found["files"][0],
        found["fingerprints"][0],
    ):
        for key in fields:
            assert key in told, key
    assert one["rounds"] == [0, 1, 2, 3]
    assert anna["series"]["seen"][3] == [
        [1, 0.16, 1.25, 0.125, 1, 3, "merges"],
        [2, 0.05, 2.25, 0.125, 1, 3, "merges"],
    ]
    # The first record of a process counts from 0: the bytes of four records.
    assert anna["totals"]["sent"] == {"blob": 4000}
    assert (anna["totals"]["train_s"], anna["totals"]["tokens"]) == (8.0, 400)


def test_a_history_is_named_by_its_digest_and_nothing_above_the_run_is_told(
    demo: Path, tmp_path: Path
) -> None:
    found = document(demo)
    first = found["files"][0]
    assert first["path"] == f"demo/peers/anna/{HISTORY_FILE}"
    assert (
        first["sha256"] == hashlib.sha256((demo / "peers" / "anna" / HISTORY_FILE).read_bytes()).hexdigest()
    )
    assert str(tmp_path) not in json.dumps(found)
    assert {"what": "base", "value": "ba5e", "peers": 3} in found["fingerprints"]
    assert found["versions"] == ["gossipllm 1.2.3"]


def test_configurations_come_without_addresses_and_only_if_wanted(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    anna, bert, _ = document(demo)["configuration"]
    assert "# What others see." in anna["text"]
    assert "192.0.2.7" not in anna["text"]
    assert "(address left out)" in anna["text"]
    assert "/ip4/ADDRESS/tcp/PORT" in anna["text"]
    assert bert["text"] == 'peer.name = "bert"\n'
    run(demo, "-o", out)
    assert "192.0.2.7" not in out.read_text()
    assert "a private key" not in out.read_text()
    run(demo, "-o", out, "--no-config")
    assert "What others see" not in out.read_text()
    assert document(demo, "--no-config")["configuration"] == []


def test_equal_runs_give_equal_pages(demo: Path, tmp_path: Path) -> None:
    run(demo, "-o", tmp_path / "a.html")
    run(demo, "-o", tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_only_an_existing_report_is_replaced_without_force(demo: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<h1>a letter</h1>")
    assert "is there and is no report" in complaint(demo, "-o", mine)
    assert mine.read_text() == "<h1>a letter</h1>"
    assert run(demo, "-o", mine, "--force").exit_code == 0
    assert run(demo, "-o", mine).exit_code == 0


def test_places_that_cannot_be_written_are_one_line(demo: Path, tmp_path: Path) -> None:
    assert "is a folder" in complaint(demo, "-o", tmp_path)
    assert "does not exist" in complaint(demo, "-o", tmp_path / "no" / "a.html")
    assert "cannot be written: File name too long" in complaint(demo, "-o", tmp_path / ("a" * 300))


def test_a_history_cut_short_is_read_as_far_as_it_goes_and_says_so(demo: Path, tmp_path: Path) -> None:
    file = demo / "peers" / "bert" / HISTORY_FILE
    file.write_bytes(file.read_bytes()[:-9])
    found = document(demo)
    assert (found["files"][1]["records"], found["files"][1]["torn_bytes"] > 0) == (4, True)
    assert found["runs"][0]["peers"][1]["series"]["rounds"] == [0, 1, 2]
    run(demo, "-o", tmp_path / "a.html")
    assert "bytes at the end are not shown" in (tmp_path / "a.html").read_text()


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no history.msgpack in" in complaint(tmp_path / "empty", "-o", tmp_path / "a.html")
    assert "does not exist" in complaint(tmp_path / "nowhere", "-o", tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_a_foreign_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / HISTORY_FILE).write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "is no history" in complaint(tmp_path, "-o", tmp_path / "a.html")


def test_a_home_before_its_first_round_is_one_line(
    tmp_path: Path,
) -> None:
    write_growing(tmp_path / "home" / HISTORY_FILE, [begun_of_index(0)])
    assert "finished a round yet" in complaint(tmp_path / "home", "-o", tmp_path / "a.html")


def test_names_in_histories_are_never_parsed_as_html(
    tmp_path: Path,
) -> None:
    odd = "\u202eevil\x1b[2J" + "ß東" * 90
    for name in (HOSTILE, odd):
        home = tmp_path / str(len(name))
        seen = msgspec.structs.replace(round_of_index(0, 0, {1: 0.5}).seen[0], name=name, peer=name)
        records = [begun_of_index(0, name=name), round_of_index(0, 0, {1: 0.5}, seen=(seen,))]
        write_growing(home / HISTORY_FILE, records)
        out = tmp_path / f"{len(name)}.html"
        assert run(home, "-o", out).exit_code == 0
        text = out.read_text()
        assert text.count("<script") == 2
        assert "<img" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "owned" not in text or "\\u003c/script\\u003e" in text


def test_results_of_a_simulation_hold_all_runs_and_the_table(simulation: Simulation, tmp_path: Path) -> None:
    found = document(simulation.folder)
    titles = [one["title"] for one in found["runs"]]
    assert titles == ["local, seed 0", "local, seed 1", "s1*s3, seed 0", "s1*s3, seed 1"]
    assert found["first"] == 2
    assert found["title"] == "languages"
    assert [one["method"] for one in found["comparison"]["methods"]] == ["local", "s1*s3"]
    assert found["configuration"] == [
        {"path": "scenario.toml", "text": '# Three of them.\nname = "languages"\n'}
    ]
    assert "python 3.11" in found["versions"]
    assert [one["category"] for one in found["runs"][0]["peers"]] == ["fr", "fr", "de"]
    run(simulation.folder, "-o", tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert "both &lt;together&gt;" in text
    assert text.count("<option ") == 4


def test_one_simulated_run_knows_its_scenario(simulation: Simulation) -> None:
    found = document(simulation.folder / "s1xs3" / "seed-1")
    assert [one["title"] for one in found["runs"]] == ["s1*s3, seed 1"]
    assert found["title"] == "languages: s1*s3, seed 1"
    assert found["configuration"][0]["path"] == "scenario.toml"
    assert found["comparison"] is None
    assert len(document(simulation.folder / "s1xs3")["runs"]) == 2


def test_a_table_or_metrics_of_another_version_do_not_stop_the_report(simulation: Simulation) -> None:
    (simulation.folder / "table.json").write_text('{"schema": 1}')
    (simulation.folder / "s1xs3" / "seed-0" / "metrics.json").write_text("{}")
    found = document(simulation.folder)
    assert found["comparison"] is None
    assert "languages/table.json is of another version" in found["notes"][0]
    assert "s1xs3, seed 0" in [one["title"] for one in found["runs"]]


def test_a_run_without_rounds_is_left_out_with_a_note(
    simulation: Simulation,
) -> None:
    file = simulation.folder / "local" / "seed-0" / HISTORY_FILE
    file.unlink()
    write_growing(file, [begun_of_index(0)])
    found = document(simulation.folder)
    assert len(found["runs"]) == 3
    assert "no round was finished" in found["notes"][0]


def test_a_report_needs_no_model_code(demo: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from gossipllm.cli import root; "
        "root(['report', sys.argv[1], '-q', '-o', sys.argv[2]], standalone_mode=False); "
        "print({'torch', 'transformers', 'matplotlib', 'trio'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(demo), str(tmp_path / "a.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("at_s", [1e300, -1e300, float("nan")])
def test_a_time_outside_the_calendar_is_left_out(
    tmp_path: Path,
    at_s: float,
) -> None:
    with HistoryWriter(tmp_path / HISTORY_FILE, peer="", now=0.0) as writer:
        for record in (begun_of_index(0), round_of_index(0, 0, row_of(0, 0))):
            writer.append(Entry(at_s=at_s, traffic=Traffic(sent={}, received={}), record=record))
    assert run(tmp_path, "-o", tmp_path / "out.html", "-q").exit_code == 0


@pytest.mark.parametrize("weight", [float("inf"), float("nan")])
def test_numbers_that_are_not_finite_are_question_marks(
    tmp_path: Path,
    weight: float,
) -> None:
    odd = round_of_index(0, 0, {1: weight, 2: 0.25}, self_weight=0.5, test_merged=weight)
    write_growing(tmp_path / HISTORY_FILE, [begun_of_index(0), odd])
    assert run(tmp_path, "-o", tmp_path / "out.html", "-q").exit_code == 0
    shown = (tmp_path / "out.html").read_text()
    assert '<td class="none">?</td>' in shown
    assert "<td>?</td>" in shown
    assert not re.search("<td[^>]*>(nan|inf)<", shown)


@pytest.mark.parametrize("name", ["scenario.toml", "table.json", "versions.json"])
@pytest.mark.parametrize("data", [b'["\xff"]', b"[" * 5000, b"a = " + b"[" * 5000])
def test_an_unreadable_file_of_results_does_not_stop_the_report(
    simulation: Simulation, tmp_path: Path, name: str, data: bytes
) -> None:
    (simulation.folder / name).write_bytes(data)
    assert run(simulation.folder, "-o", tmp_path / "out.html", "-q").exit_code == 0
