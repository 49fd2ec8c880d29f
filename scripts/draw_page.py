#!/usr/bin/env python
"""Take the README's picture of the page, with Chromium; other pictures with options.

scripts/draw_page.py docs/page.jpg [--phone] [--dark] [--empty]
"""

import sys
from pathlib import Path

from browsing import ALL_KNOWN, EXACT, READY, chromium, serving

from dermseg.inference.segmenter import Segmenter
from dermseg.web.app import create_app

EXAMPLES = sorted((Path(__file__).parent.parent / "examples" / "photographs").glob("*.jpg"))
DESKTOP, PHONE = (1280, 800), (390, 844)


def main(output: Path, options: list[str]) -> None:
    """Serve, open the page, and save what it looks like."""
    width, height = PHONE if "--phone" in options else DESKTOP
    with serving(create_app(Segmenter())) as address, chromium() as browser:
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if "--dark" in options else "light",
        )
        page.goto(address)
        page.wait_for_selector(READY, state="attached")
        if "--empty" not in options:
            page.set_input_files("#files", EXAMPLES)
            page.wait_for_function(ALL_KNOWN, arg=len(EXAMPLES))
            page.wait_for_selector(EXACT)
            page.wait_for_timeout(500)
        page.screenshot(path=output, full_page="--phone" in options)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
