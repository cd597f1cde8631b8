"""The page in a real browser: it opens, filters, shows a definition, and asks no network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.page.index import summary_of
from kerneldefs.page.render import index_page

pytestmark = pytest.mark.xdist_group("browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
Open = Callable[..., Any]
CELLS = "tbody tr[data-text]:visible"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium runs the tests of the page")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, page: Path) -> Iterator[Open]:
    """Open a page; no message on the console and no request of its own may come of the test."""
    wrong: list[str] = []
    contexts = []

    def open_it(path: Path = page, fragment: str = "", **settings: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **settings})
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(10_000)
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda r: wrong.append(r.url) if not r.url.startswith("file:") else None)
        tab.goto(f"{path.as_uri()}{fragment}")
        return tab

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


def names(tab: Any) -> list[str]:
    return list(tab.locator(f"{CELLS} th").all_inner_texts())


def test_what_is_lost_is_told_on_the_first_screen(opened: Open) -> None:
    tab = opened()
    told = tab.locator(".look > li")
    assert told.locator("a").all_inner_texts() == ["torch.ops.odd", "allreduce_h7"]
    assert "it is another operator" in told.nth(1).inner_text()
    assert all(told.nth(n).bounding_box()["y"] < 700 for n in range(told.count()))
    told.locator("a").nth(1).click()
    article = tab.locator("article:visible")
    assert "it is another operator" in article.locator(".notice").inner_text()


def test_the_head_of_the_matrix_stays(opened: Open) -> None:
    tab = opened(viewport={"width": 700, "height": 260})
    region, head = tab.locator(".coverage"), tab.locator(".coverage thead")
    region.evaluate("box => box.scrollTo(0, box.scrollHeight)")
    assert region.evaluate("box => box.scrollTop") > 50
    assert head.bounding_box()["y"] - region.bounding_box()["y"] < 5


def test_the_matrix_is_filtered(opened: Open) -> None:
    tab = opened()
    everything = ["torch.ops.odd", "allreduce_h7", "rmsnorm_h32", "rmsnorm_h64"]
    assert sorted(names(tab)) == sorted([*everything, "top_k_top_p_sampling_v100"])
    tab.fill("#search", "RMSNorm 64")
    assert names(tab) == ["rmsnorm_h64"]
    assert tab.inner_text("#shown") == "1 of 5 shown"
    tab.click("#clear")
    tab.uncheck("input[value=captured]")
    assert sorted(names(tab)) == ["allreduce_h7", "torch.ops.odd"]
    tab.check("input[value=captured]")
    tab.select_option("#family", "sampling")
    assert names(tab) == ["top_k_top_p_sampling_v100"]
    tab.click("#clear")
    tab.select_option("#config", "h200-tp8")
    assert "rmsnorm_h32" not in names(tab) and "rmsnorm_h64" in names(tab)
    assert tab.locator("thead th[data-config]:visible").count() == 1
    assert tab.locator("thead th[data-over]:visible").first.get_attribute("colspan") == "1"


def test_a_definition_has_all_that_led_to_it(opened: Open) -> None:
    tab = opened()
    tab.click("a:text-is('rmsnorm_h64')")
    article = tab.locator("article:visible")
    assert article.locator("h1").inner_text() == "rmsnorm_h64"
    assert tab.title().startswith("rmsnorm_h64")
    assert not tab.locator("#overview").is_visible()
    text = article.inner_text()
    for fact in ("hidden_size", "[batch_size, hidden_size]", "bfloat16", "model.norm", "0.5.21"):
        assert fact in text
    code = article.locator("pre.code").first
    assert "def run(x)" in code.inner_text()
    assert code.locator("span.k").first.inner_text() == "def" or code.locator("span").count() > 5
    diff = article.locator("details pre").inner_text()
    assert "-name: rmsnorm_h128" in diff and "+name: rmsnorm_h64" in diff
    assert "-check: 16 characters that are no part of the dataset" in diff
    article.locator("a.back").click()
    assert tab.locator("#overview").is_visible()


def test_keys_are_enough(opened: Open) -> None:
    tab = opened()
    tab.keyboard.press("/")
    tab.keyboard.type("h64")
    assert names(tab) == ["rmsnorm_h64"]
    link = tab.locator(f"{CELLS} a").first
    for _ in range(30):
        tab.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    tab.keyboard.press("Enter")
    assert tab.locator("article:visible h1").inner_text() == "rmsnorm_h64"
    tab.keyboard.press("Escape")
    assert tab.locator("#overview").is_visible()
    assert link.evaluate("link => link === document.activeElement")


def test_a_definition_can_be_linked_to(opened: Open) -> None:
    tab = opened(fragment="#d/rmsnorm/rmsnorm_h32")
    assert tab.locator("article:visible h1").inner_text() == "rmsnorm_h32"
    tab.go_back()
    assert tab.title() != "taken over"


def test_everything_can_be_read_without_scripts(opened: Open) -> None:
    tab = opened(java_script_enabled=False)
    assert tab.locator("#overview").is_visible()
    assert tab.locator("article:visible").count() == 5


@pytest.mark.parametrize("fragment", ["", "#d/rmsnorm/rmsnorm_h64"])
def test_a_phone_scrolls_one_way(opened: Open, fragment: str) -> None:
    tab = opened(fragment=fragment, viewport={"width": 360, "height": 740})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_light_and_dark(opened: Open) -> None:
    script = "getComputedStyle(document.body).backgroundColor"
    light, dark = (
        re.findall(r"\d+", opened(color_scheme=scheme).evaluate(script))
        for scheme in ("light", "dark")
    )
    assert min(map(int, light)) > 200 and max(map(int, dark)) < 60


def test_the_index_leads_to_the_models(opened: Open, folder: Path, page: Path) -> None:
    index = folder.parent / "index.html"
    unfinished = folder.parent / "other"
    (unfinished / "configs").mkdir(parents=True, exist_ok=True)
    index.write_text(index_page([summary_of(folder), summary_of(unfinished)]), encoding="utf-8")
    tab = opened(index)
    rows = tab.locator(CELLS)
    assert rows.count() == 2
    assert "unfinished" in rows.nth(1).inner_text()
    assert "the run ended before" in tab.locator(".look > li").first.inner_text()
    tab.uncheck("input[value=unfinished]")
    assert rows.count() == 1
    tab.check("input[value=unfinished]")
    tab.fill("#search", "passed")
    assert rows.count() == 1
    tab.click("tbody a")
    assert tab.url == page.as_uri()
