"""A real browser for the tests of pages: Debian's chromium, without a window."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PATIENCE = 20.0
"""Seconds to wait for what a page does; a slow machine has other work, too."""


@contextmanager
def chromium(dark: bool = False) -> Iterator[Any]:
    """Yield a browser; skip the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("there is no chromium with a chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    # WebGL in software, which parallel coordinates are drawn with; no sandbox, since CI is root.
    for argument in (
        *("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-background-networking"),
        *("enable-unsafe-swiftshader", "window-size=1250,1400"),
        *(["blink-settings=preferredColorScheme=0"] if dark else []),
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(driver)
    browser = webdriver.Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for what a page does, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the page did not do it in time"
        time.sleep(0.05)
    return found


def requests(browser: Any) -> list[str]:
    """Return the addresses that the browser has asked since it was last asked this."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [message["params"]["request"]["url"] for message in sent]


def errors(browser: Any) -> list[str]:
    """Return what the console complains of; how fast a software renderer is does not count."""
    entries = [e for e in browser.get_log("browser") if "GPU stall" not in e["message"]]
    return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]
