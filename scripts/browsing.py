"""The page in headless Chromium, for the scripts that draw or measure it."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from dermseg.settings import ServiceSettings
from dermseg.web.server import Server

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
EXACT = "#stage[data-state=exact]"
"""The outline on the screen is the server's answer to all that was done."""
ALL_KNOWN = """count => {
  const signs = [...document.querySelectorAll("#strip .signs")];
  return signs.length === count && signs.every((sign) => sign.textContent);
}"""
"""Whether so many photographs are on the page, and something is known of each."""
READY = "body[data-ready]"


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Run the service in a thread, and yield its address."""
    settings, addresses, ready = ServiceSettings(port=0), list[str](), threading.Event()

    def listening(address: str) -> None:
        addresses.append(address)
        ready.set()

    server = Server(app, settings, listening)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ready.wait()
    yield addresses[0]
    server.should_exit = True
    thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
