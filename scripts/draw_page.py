#!/usr/bin/env python
"""Take the README's picture of the page, with Chromium; other pictures with options.

scripts/draw_page.py docs/page.jpg [--phone] [--dark] [--empty]
"""

import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

from dermseg.inference.segmenter import Segmenter
from dermseg.settings import ServiceSettings
from dermseg.web.app import create_app
from dermseg.web.server import Server

EXAMPLES = sorted((Path(__file__).parent.parent / "examples" / "photographs").glob("*.jpg"))
DESKTOP, PHONE = (1280, 800), (390, 844)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main(output: Path, options: list[str]) -> None:
    """Serve, open the page, and save what it looks like."""
    settings, addresses, ready = ServiceSettings(port=0), [""], threading.Event()

    def listening(address: str) -> None:
        addresses.append(address)
        ready.set()

    server = Server(create_app(Segmenter(), settings), settings, listening)
    threading.Thread(target=server.run, daemon=True).start()
    ready.wait()
    width, height = PHONE if "--phone" in options else DESKTOP
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if "--dark" in options else "light",
        )
        page.goto(addresses[-1])
        page.wait_for_selector("body[data-ready]", state="attached")
        if "--empty" not in options:
            page.set_input_files("#files", EXAMPLES)
            page.wait_for_selector(f"#strip li:nth-child({len(EXAMPLES)})")
            page.wait_for_selector("#stage[data-state=exact]")
            page.wait_for_timeout(500)
        page.screenshot(path=output, full_page="--phone" in options)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
