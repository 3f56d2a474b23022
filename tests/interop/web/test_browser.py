"""The page of the Django project in a real browser.

`BRIDGE_TEST_SCREENSHOT=FILE` keeps a picture of it, for the README.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.web.serving import KINDS, PATIENCE, Site, require, serving

if TYPE_CHECKING:
    from pathlib import Path

#: Notes each change of a bar from the click on; gives them when the job has ended.
WATCH = """
const [name, done] = arguments, seen = [];
document.querySelector(`#${name} button`).click();
const row = document.querySelector(`[data-job=${name}]`);
const bar = row.querySelector("progress");
new MutationObserver(() => seen.push(bar.value)).observe(bar, {attributes: true});
new MutationObserver(() => {
  if (["SUCCESS", "FAILURE"].includes(row.className))
    setTimeout(() => done({
      seen, state: row.className, bar: bar.value,
      text: row.querySelector(".text").textContent,
    }));
}).observe(row, {attributes: true});
"""
#: Waits until the latest packing is under way, or has ended, and says how it stands.
STANDS = """
const [states, done] = arguments;
const look = () => {
  const row = document.querySelector("[data-job=pack]");
  if (row && states.includes(row.className))
    done(row.querySelector(".text").textContent);
  else setTimeout(look, 20);
};
look();
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    require("selenium")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium and chromedriver (Debian: chromium-driver)")
    webdriver = importlib.import_module("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # In a container there is neither a sandbox nor much shared memory.
    for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{word}")
    options.add_argument("--window-size=800,640")
    service = webdriver.ChromeService(driver)
    chrome = webdriver.Chrome(options, service)
    try:
        chrome.set_script_timeout(PATIENCE)
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page, served with nothing beside the server."""
    log: Path = tmp_path_factory.mktemp("page") / "log"
    with serving(KINDS["uvicorn"], "django_shop", log, {}) as site:
        _opened(browser, site)
        yield browser
        browser.get("about:blank")
        site.end()


def _opened(browser: Any, site: Site) -> None:
    browser.get(site.url)
    assert browser.title == "Shop"
    assert "embedded" in browser.find_element("tag name", "h1").text


@pytest.mark.parametrize(
    ("job", "text"),
    [("pack", "20 boxes packed"), ("parcel", "delivered"), ("suppliers", "the best")],
)
def test_the_bar_goes_to_the_end(page: Any, job: str, text: str) -> None:
    found = page.execute_async_script(WATCH, job)
    assert (found["state"], found["bar"]) == ("SUCCESS", 100)
    assert found["text"].startswith(text)
    assert found["seen"] == sorted(found["seen"])
    # Live: not just the beginning and the end.
    assert len(set(found["seen"]) - {0, 100}) > 2


def test_a_job_that_fails_is_reported(page: Any) -> None:
    found = page.execute_async_script(WATCH, "card")
    assert found["state"] == "FAILURE"
    assert found["bar"] < 100
    assert found["text"] == "CardDeclined: the card that ends in 9995 was declined"


def test_a_page_that_is_loaded_again_watches_its_jobs(page: Any) -> None:
    page.execute_script("document.querySelector('#pack button').click()")
    assert page.execute_async_script(STANDS, ["PROGRESS"]) == ""
    page.refresh()
    assert page.execute_async_script(STANDS, ["SUCCESS"]) == "20 boxes packed"
    # Nothing that the page asks for is missing.
    assert [entry for entry in page.get_log("browser") if "favicon" in str(entry)] == []


def test_what_the_server_refuses_is_reported(page: Any) -> None:
    page.execute_script("document.querySelector('#parcel').action = '/jobs/no/start'")
    found = page.execute_async_script(WATCH, "parcel")
    assert (found["state"], found["text"]) == ("FAILURE", "Not Found")


def test_a_picture_for_the_readme(page: Any) -> None:
    target = os.environ.get("BRIDGE_TEST_SCREENSHOT")
    if not target:
        pytest.skip("BRIDGE_TEST_SCREENSHOT names no file")
    page.execute_script("sessionStorage.clear()")
    page.refresh()
    for job in ("card", "parcel"):
        page.execute_async_script(WATCH, job)
    half = """
    const done = arguments[0];
    document.querySelector("#pack button").click();
    document.querySelector("#suppliers button").click();
    setTimeout(done, 1200);
    """
    page.execute_async_script(half)
    assert page.save_screenshot(target)
