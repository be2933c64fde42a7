"""The report in a real browser: keys and pointer, values equal to the history, and no network requests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Error, Locator, Page, ViewportSize, sync_playwright

from sim.reporting.command import report
from support.records import write_growing
from support.reported_runs import Simulation, begun_of_index, round_of_index, row_of

SIZES = {"wide": (1280, 800), "phone": (390, 844)}


@dataclass
class Opened:
    """An open page with its console errors; `asked` are all addresses that it requested."""

    page: Page
    address: str
    troubles: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def cell(self, i: int, j: int) -> Locator:
        return self.page.locator(f'#matrix [data-i="{i}"][data-j="{j}"]')

    def check(self) -> None:
        """Assert that there are no errors, no requests, and nothing wider than the window."""
        assert self.troubles == []
        assert self.asked == [self.address]
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        assert "CI_NEEDS_BROWSER" not in os.environ, f"one of {', '.join(names)} must be installed"
        pytest.skip(f"none of {', '.join(names)} is installed")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return SIZES[request.param]


def opened(browser: Browser, file: Path, size: tuple[int, int], *, scripts: bool = True) -> Opened:
    viewport: ViewportSize = {"width": size[0], "height": size[1]}
    page = browser.new_context(viewport=viewport, java_script_enabled=scripts).new_page()
    one = Opened(page, file.resolve().as_uri())
    page.on("console", lambda said: one.troubles.append(said.text))
    page.on("pageerror", lambda error: one.troubles.append(str(error)))
    page.on("request", lambda request: one.asked.append(request.url))
    page.goto(one.address)
    return one


def made(run: Path, out: Path) -> Path:
    result = CliRunner().invoke(report, [str(run), "-o", str(out), "-q"])
    assert result.exit_code == 0, result.output
    return out


def test_the_slider_turns_the_rounds_and_a_cell_says_what_the_history_says(
    browser: Browser, demo: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    one = opened(browser, made(demo, tmp_path / "a.html"), size)
    assert one.text("#round-text") == "3 of 3"
    assert one.cell(0, 1).inner_text() == f"{100 * row_of(0, 3)[1]:.0f}"
    one.page.locator("#round").focus()
    for number in (2, 1, 0):
        one.page.keyboard.press("ArrowLeft")
        assert one.text("#round-text") == f"{number} of 3"
        assert one.cell(0, 1).inner_text() == f"{100 * row_of(0, number)[1]:.0f}"
        assert one.cell(0, 1).get_attribute("aria-label") == f"{100 * row_of(0, number)[1]:.1f} %"
    one.page.keyboard.press("End")
    one.cell(1, 2).click()
    read = one.text("#reading")
    assert "bert takes from carl" in read
    assert "16.0 %" in read
    assert "2.25 ± 0.125" in read
    assert "1 round" in read
    # From there with the arrows to bert's own weight, and further up to anna.
    one.page.keyboard.press("ArrowLeft")
    assert "bert keeps of its own" in one.text("#reading")
    assert "79.0 %" in one.text("#reading")
    one.page.keyboard.press("ArrowUp")
    assert "anna takes from bert" in one.text("#reading")
    one.check()


def test_hovering_reads_a_cell_for_a_moment(browser: Browser, demo: Path, tmp_path: Path) -> None:
    one = opened(browser, made(demo, tmp_path / "a.html"), SIZES["wide"])
    before = one.text("#reading")
    one.cell(2, 0).hover()
    assert "carl takes from anna" in one.text("#reading")
    one.page.mouse.move(5, 5)
    assert one.text("#reading") == before
    one.check()


def test_the_threshold_hides_what_is_not_above_it(
    browser: Browser, demo: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Each of three peers takes 16 % from one and 5 % from the other."""
    one = opened(browser, made(demo, tmp_path / "a.html"), size)
    slider = one.page.locator("#threshold")
    for value, shown in (("0", 6), ("5", 3), ("16", 0)):
        slider.fill(value)
        assert one.page.locator("#network .link").count() == shown
        assert f"{shown} of 6 weights" in one.text("#threshold-text")
    slider.focus()
    one.page.keyboard.press("Home")
    assert one.page.locator("#network .link").count() == 6
    one.page.locator('#network [data-node="0"]').focus()
    assert one.page.locator("#network .link.faint").count() == 2
    one.check()


def test_play_runs_through_the_rounds_and_stops(browser: Browser, demo: Path, tmp_path: Path) -> None:
    one = opened(browser, made(demo, tmp_path / "a.html"), SIZES["wide"])
    play = one.page.locator("#play")
    play.press("Enter")
    assert play.get_attribute("aria-label") == "Pause"
    one.page.locator('#play[aria-label="Play the rounds"]').wait_for()
    assert one.text("#round-text") == "3 of 3"
    one.check()


def test_curves_tell_the_losses_of_a_round_and_peers_can_be_left_out(
    browser: Browser, demo: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    one = opened(browser, made(demo, tmp_path / "a.html"), size)
    bert = one.page.locator("#legend tbody tr").nth(1)
    assert bert.inner_text().split() == ["bert", "2.200", "1.950"]
    one.page.locator("#round").fill("0")
    assert bert.inner_text().split() == ["bert", "2.500", "2.250"]
    box = one.page.locator("#curves svg").bounding_box()
    assert box is not None
    one.page.locator("#curves svg").hover(position={"x": box["width"] - 15, "y": 60})
    assert one.text("#legend thead th:first-child") == "round 3"
    one.page.locator("#splits").get_by_text("trust text").click()
    assert bert.inner_text().split()[1:] in (["3.000", "2.900"], ["2.700", "2.600"])
    assert one.page.locator("#curves .curve").count() == 6
    bert.get_by_role("button").click()
    assert bert.get_by_role("button").get_attribute("aria-pressed") == "false"
    assert one.page.locator("#curves .curve").count() == 4
    one.check()


def test_seconds_and_bytes_of_each_peer_are_shown(browser: Browser, demo: Path, tmp_path: Path) -> None:
    one = opened(browser, made(demo, tmp_path / "a.html"), SIZES["wide"])
    assert one.page.locator("#times tbody tr").first.inner_text().split() == [
        "anna",
        "2.00",
        "0.50",
        "0.25",
        "2.75",
    ]
    assert one.page.locator("#bytes tbody tr").first.inner_text().split() == [
        "anna",
        "4.0",
        "kB",
        "4.0",
        "kB",
    ]
    one.page.locator("#ways").get_by_text("received").click()
    assert one.page.locator("#bytes tbody tr").first.inner_text().split() == ["anna", "40", "B", "40", "B"]
    one.check()


def test_another_run_is_chosen_in_the_menu_or_by_its_method(
    browser: Browser, simulation: Simulation, tmp_path: Path, size: tuple[int, int]
) -> None:
    one = opened(browser, made(simulation.folder, tmp_path / "a.html"), size)
    last = {seed: row_of(0, 2, 0.1 * seed)[1] for seed in (0, 1)}
    assert one.cell(0, 1).inner_text() == f"{100 * last[0]:.0f}"
    one.page.locator("#run").select_option("s1*s3, seed 1")
    assert one.cell(0, 1).inner_text() == f"{100 * last[1]:.0f}"
    one.page.get_by_role("button", name="local").click()
    assert one.cell(0, 1).inner_text() == "·"
    assert one.cell(0, 0).inner_text() == "100"
    assert one.page.locator("#run").input_value() == "0"
    one.check()


def test_names_in_histories_run_no_script(
    browser: Browser,
    tmp_path: Path,
    size: tuple[int, int],
) -> None:
    evil = '</script><script>document.title="owned"</script><img src=x onerror="document.title=1">'
    long = "\u05e9\u05dc\u05d5\u05dd" + "W" * 195
    for index, name in enumerate((evil, long)):
        write_growing(
            tmp_path / "run" / str(index) / "history.msgpack",
            [begun_of_index(index, name=name), round_of_index(index, 0, {1 - index: 0.5})],
        )
    one = opened(browser, made(tmp_path / "run", tmp_path / "a.html"), size)
    one.cell(0, 1).click()
    assert evil in one.text("#reading")
    assert "W" * 150 in one.text("#reading")
    assert one.page.title() == "run · gossipllm"
    one.check()


@pytest.mark.parametrize("losses", [(1e17, 1e17), (1e18, 1e18 + 2e13), (1e308, 0.0), (float("nan"), 2.0)])
def test_losses_of_any_size_are_drawn(
    browser: Browser,
    tmp_path: Path,
    losses: tuple[float, float],
) -> None:
    rounds = [
        round_of_index(0, number, {1: 0.5}, test_alone=loss, test_merged=loss)
        for number, loss in enumerate(losses)
    ]
    write_growing(tmp_path / "run" / "history.msgpack", [begun_of_index(0), *rounds])
    one = opened(browser, made(tmp_path / "run", tmp_path / "a.html"), SIZES["wide"])
    assert one.page.locator("#curves svg").is_visible()
    one.check()


def test_without_a_script_the_last_matrix_and_its_numbers_are_there(
    browser: Browser, demo: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    one = opened(browser, made(demo, tmp_path / "a.html"), size, scripts=False)
    cells = one.page.locator("#matrix tbody tr").first.locator("td").all_inner_texts()
    assert cells == ["79", "16", "5"]
    assert one.page.locator("#peers tbody tr").first.inner_text().split()[:3] == ["anna", "3", "0.79"]
    assert not one.page.locator("#network").is_visible()
    assert "Without JavaScript" in one.text("body")
    for scroller in ("#matrix", "#peers"):
        one.page.locator(scroller).focus()
        assert one.page.locator(f"{scroller}:focus").count() == 1
    assert one.troubles == []
    assert one.asked == [one.address]


def test_the_pages_policy_forbids_every_request(browser: Browser, demo: Path, tmp_path: Path) -> None:
    """Also to a script that got into the page."""
    one = opened(browser, made(demo, tmp_path / "a.html"), SIZES["wide"])
    with pytest.raises(Error):
        one.page.evaluate("fetch('http://127.0.0.1:9/')")
    one.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<b onclick=\"document.title=1\" id=x>x</b>')"
    )
    one.page.locator("#x").click()
    assert one.page.title() == "demo · gossipllm"
    assert any("Content Security Policy" in said for said in one.troubles)
    assert one.asked == [one.address]
