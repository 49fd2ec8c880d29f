"""The page in headless Chromium; skipped where there is none."""

import csv
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from local_service import listening
from PIL import Image
from rulers import with_ruler

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.imaging.mask_files import read_mask
from dermseg.imaging.png import encode_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.edit import edit_mask
from dermseg.masks.polygons import Ring
from dermseg.masks.redraw import redraw
from dermseg.settings import Rule, ServiceSettings, Style, ThresholdSettings
from dermseg.web.app import create_app
from dermseg.web.review.queue import Review

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = os.environ.get("DERMSEG_AXE")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium)"),
]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--host-resolver-rules=MAP remote.test 127.0.0.1"]
PHOTOGRAPHS = Path(__file__).parents[2] / "examples" / "photographs"
EXAMPLE = PHOTOGRAPHS / "ISIC_0003582.jpg"
EXACT = "#stage[data-state=exact]"
ANY = "**/v1/segment?*"
NEW = "**/v1/segment?*include=probability*"
"""Questions about a photograph, and the first about each."""
WAIT = 60_000
"""Milliseconds: the machine may be busy."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(segmenter: Segmenter) -> Iterator[str]:
    with listening(create_app(segmenter)) as address:
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    page = opened(browser, address)
    yield page
    assert page.problems == []
    page.context.close()


def opened(browser: Any, address: str, *, ready: str = "body[data-ready]", **options: Any) -> Any:
    """Return a page that is ready, and notes whatever goes wrong in it or leaves the service."""
    page = browser.new_context(accept_downloads=True, **options).new_page()
    page.problems = []
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda m: m.type == "error" and page.problems.append(m.text))
    page.on(
        "request",
        lambda r: r.url.startswith((address, "blob:", "data:")) or page.problems.append(r.url),
    )
    page.goto(address)
    page.wait_for_selector(ready, state="attached")
    return page


def add(page: Any, *paths: Path) -> None:
    page.set_input_files("#files", paths)
    page.wait_for_selector(EXACT)


def hold(page: Any, questions: str, after: int = 0) -> Callable[[], None]:
    """Hold questions back, but for the first ones; return what lets them go."""
    seen: list[Any] = []
    held: list[Any] = []
    free = False

    def handle(route: Any) -> None:
        seen.append(route)
        if free or len(seen) <= after:
            route.continue_()
        else:
            held.append(route)

    def let_go() -> None:
        nonlocal free
        free = True
        assert held
        for route in held:
            route.continue_()

    page.route(questions, handle)
    return let_go


def middle(page: Any) -> tuple[float, float]:
    box = page.locator("#stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def take_brush(page: Any) -> None:
    page.keyboard.press("b")
    page.wait_for_selector("canvas.paint:not([hidden])", state="attached")


def paint(page: Any, right: int = 180, down: int = -120) -> None:
    """Paint a stroke from the middle, and wait for its outline."""
    before = outline(page)
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y + down, steps=4)
    page.mouse.up()
    changed(page, before)


def shown(page: Any, path: str) -> None:
    page.wait_for_function(
        "d => document.querySelector('path.outline').getAttribute('d') === d", arg=path
    )


def slide(page: Any, low: float) -> None:
    page.evaluate(
        """value => {
          const low = document.getElementById("low");
          low.value = value;
          low.dispatchEvent(new Event("input"));
        }""",
        low,
    )


def outline(page: Any) -> str:
    return str(page.get_attribute("path.outline", "d"))


def saved(page: Any, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.click(button)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def changed(page: Any, before: str) -> None:
    page.wait_for_function(
        "before => document.querySelector('path.outline').getAttribute('d') !== before"
        " && document.querySelector('#stage').dataset.state === 'exact'",
        arg=before,
    )


def test_dropped_photographs_get_the_librarys_outline_and_mask(
    page: Any, segmenter: Segmenter, tmp_path: Path
) -> None:
    page.evaluate(
        """async () => {
          const response = await fetch("/static/examples/ISIC_0003582.jpg");
          const transfer = new DataTransfer();
          transfer.items.add(new File([await response.blob()], "ISIC_0003582.jpg"));
          const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
          document.body.dispatchEvent(event);
        }"""
    )
    page.wait_for_selector(EXACT)
    lesion = segmenter.segment(EXAMPLE)
    x, y = lesion.outline[0]
    assert outline(page).startswith(f"M{x + 0.5:g} {y + 0.5:g}L")
    assert f"{lesion.area:,} px²" in page.inner_text("#numbers")
    segment_all(find_jobs([EXAMPLE]), segmenter, tmp_path / "cli")
    mask = saved(page, "text=Mask", tmp_path)
    assert mask.read_bytes() == (tmp_path / "cli" / mask.name).read_bytes()


@pytest.mark.parametrize("rule", ["complete", "paper"])
def test_while_a_slider_moves_the_server_draws_by_its_own_rule(
    browser: Any, tmp_path: Path, rule: Rule
) -> None:
    model = Segmenter(thresholds=ThresholdSettings(rule))
    with listening(create_app(model)) as address:
        page = opened(browser, address)
        add(page, EXAMPLE)
        before = outline(page)
        let_draw, let_end = hold(page, "**/v1/outline?*"), hold(page, ANY)
        with page.expect_request(ANY):
            with page.expect_request("**/v1/outline?*"):
                slide(page, 0.3)
            assert page.get_attribute("#stage", "data-state") == "preview"
            assert outline(page) == before  # the last outline stands
            let_draw()
        page.wait_for_function(
            "before => document.querySelector('path.outline').getAttribute('d') !== before",
            arg=before,
        )
        previewed = outline(page)
        let_end()
        page.wait_for_selector(EXACT)
        assert len(previewed) == pytest.approx(len(outline(page)), rel=0.02)
        segment_all(
            find_jobs([EXAMPLE]),
            Segmenter(thresholds=ThresholdSettings(rule, low=0.3)),
            tmp_path / "cli",
        )
        mask = saved(page, "text=Mask", tmp_path)
        assert mask.read_bytes() == (tmp_path / "cli" / mask.name).read_bytes()
        assert page.problems == []
        page.context.close()


def test_of_many_previews_one_is_asked_for_and_the_newest(page: Any) -> None:
    add(page, EXAMPLE)
    asked: list[str] = []
    page.on("request", lambda r: "/v1/outline" in r.url and asked.append(r.url))
    let_go = hold(page, "**/v1/outline?*")
    let_end = hold(page, ANY)
    for low in (0.4, 0.35, 0.3, 0.25):
        slide(page, low)
    page.wait_for_timeout(200)
    assert ["low=0.4&" in url for url in asked] == [True]
    let_go()
    page.wait_for_function(
        "() => performance.getEntriesByType('resource')"
        ".filter((one) => one.name.includes('/v1/outline')).length === 2"
    )
    assert ["low=0.4&" in asked[0], "low=0.25&" in asked[1], len(asked)] == [True, True, 2]
    let_end()
    page.wait_for_selector(EXACT)


def test_both_styles_of_the_outline(page: Any, segmenter: Segmenter, tmp_path: Path) -> None:
    def is_drawn(kind: str, style: Style) -> bool:
        x, y = segmenter.segment(EXAMPLE, style=style).outline[0]
        return str(page.get_attribute(f"path.{kind}", "d")).startswith(f"M{x + 0.5:g} {y + 0.5:g}L")

    add(page, EXAMPLE)
    traced = outline(page)
    assert page.is_checked("[value=traced]")
    assert page.is_hidden("#legend")
    page.check("#both")
    page.wait_for_selector("#legend:not([hidden])")
    assert page.inner_text("#legend").split() == ["Traced", "Semi-automatic"]
    assert is_drawn("outline", "traced")
    assert is_drawn("other", "semi-automatic")
    page.keyboard.press("t")
    changed(page, traced)
    page.wait_for_selector("#legend:not([hidden])")
    assert page.inner_text("#legend").split() == ["Semi-automatic", "Traced"]
    assert is_drawn("outline", "semi-automatic")
    assert is_drawn("other", "traced")
    segment_all(find_jobs([EXAMPLE]), Segmenter(style="semi-automatic"), tmp_path / "cli")
    mask = saved(page, "text=Mask", tmp_path)
    assert mask.read_bytes() == (tmp_path / "cli" / mask.name).read_bytes()
    page.keyboard.press("d")
    assert page.get_attribute("path.other", "d") == ""
    assert page.is_hidden("#legend")


def test_the_page_begins_with_the_servers_style(browser: Any) -> None:
    with listening(create_app(Segmenter("cdnn29", style="semi-automatic"))) as address:
        page = opened(browser, address)
        add(page, EXAMPLE)
        assert page.is_checked("[value=semi-automatic]")
        assert page.inner_text("#low-value") == "0.55"
        before = outline(page)
        page.keyboard.press("t")
        changed(page, before)
        assert page.inner_text("#low-value") == "0.25"
        assert page.problems == []
        page.context.close()


def test_a_model_is_chosen_and_the_choice_undone(
    browser: Any, segmenter: Segmenter, tmp_path: Path
) -> None:
    app = create_app(segmenter, others={"cdnn29": lambda: Segmenter("cdnn29")})
    with listening(app) as address:
        page = opened(browser, address)
        add(page, EXAMPLE)
        before, low = outline(page), page.input_value("#low")
        first = saved(page, "text=Mask", tmp_path).read_bytes()
        page.select_option("#chooser", "cdnn29")
        changed(page, before)
        other = outline(page)
        assert "cdnn29" in page.inner_text("#numbers")
        assert "cdnn29" in page.inner_text("#model")
        assert page.input_value("#low") != low
        segment_all(find_jobs([EXAMPLE]), Segmenter("cdnn29"), tmp_path / "cli")
        mask = saved(page, "text=Mask", tmp_path)
        assert mask.read_bytes() == (tmp_path / "cli" / mask.name).read_bytes()
        page.keyboard.press("Control+z")
        shown(page, before)
        assert page.input_value("#chooser") == segmenter.name
        assert page.input_value("#low") == low
        assert saved(page, "text=Mask", tmp_path).read_bytes() == first
        page.keyboard.press("Control+y")
        shown(page, other)
        take_brush(page)
        paint(page)
        page.select_option("#chooser", segmenter.name)  # which would cover what was painted
        page.wait_for_function("() => document.querySelector('#chooser').value === 'cdnn29'")
        assert "kept" in page.inner_text("#status")
        assert page.problems == []
        page.context.close()


def test_of_two_models_chosen_quickly_the_last_one_holds(
    browser: Any, segmenter: Segmenter
) -> None:
    others = {name: partial(Segmenter, name) for name in ("cdnn29", "cdnn29-ensemble")}
    late = "**/v1/settings?model=cdnn29-ensemble"
    with listening(create_app(segmenter, others=others)) as address:
        page = opened(browser, address)
        add(page, EXAMPLE)
        before = outline(page)
        let_go = hold(page, late)
        with page.expect_request(late):
            page.select_option("#chooser", "cdnn29-ensemble")
        page.select_option("#chooser", "cdnn29")
        changed(page, before)
        chosen = outline(page)
        with page.expect_response(late):
            let_go()
        page.wait_for_timeout(300)
        assert page.input_value("#chooser") == "cdnn29"
        assert outline(page) == chosen
        assert page.problems == []
        page.context.close()


def test_brush_undo_and_download(page: Any, tmp_path: Path) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    take_brush(page)
    paint(page)
    assert "hand" in page.inner_text("#numbers")
    painted = read_mask(saved(page, "text=Mask", tmp_path))
    assert set(painted.ravel().tolist()) == {0, 255}
    page.keyboard.press("Control+z")
    shown(page, before)


def test_a_click_with_the_brush_paints_a_dot(page: Any, tmp_path: Path) -> None:
    add(page, EXAMPLE)
    before = read_mask(saved(page, "text=Mask", tmp_path))
    take_brush(page)
    x, y = middle(page)
    page.mouse.click(x + 180, y - 120)
    page.wait_for_function("() => document.querySelector('#numbers').innerText.includes('hand')")
    after = read_mask(saved(page, "text=Mask", tmp_path))
    assert np.count_nonzero(after) > np.count_nonzero(before)


def test_two_fingers_pinch_also_with_a_brush_in_hand(page: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    take_brush(page)
    x, y = middle(page)
    fingers = page.context.new_cdp_session(page)
    scale = "() => document.querySelector('.frame').style.transform"
    matrix = page.evaluate(scale)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x + dx, "y": y + dy, "id": k} for k, (dx, dy) in enumerate(places)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (-20, -150))
    touch("touchStart", (-20, -150), (20, -150))
    for spread in (40, 80):
        touch("touchMove", (-spread, -150), (spread, -150))
    touch("touchEnd", (-80, -150))
    touch("touchMove", (-120, -150))
    touch("touchEnd")
    page.wait_for_timeout(300)
    assert page.evaluate(scale) != matrix
    assert outline(page) == before
    assert page.is_disabled("#undo")


def test_a_click_or_a_slider_keeps_what_was_painted(page: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    take_brush(page)
    paint(page)
    painted = outline(page)
    page.keyboard.press("v")
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request))
    page.mouse.click(*middle(page))
    assert "kept" in page.inner_text("#status")
    low = page.input_value("#low")
    slide(page, 0.3)
    assert page.input_value("#low") == low
    page.keyboard.press("Control+Shift+z")  # nothing to redo
    page.wait_for_timeout(500)
    assert outline(page) == painted
    assert asked == []
    page.keyboard.press("Control+z")
    shown(page, before)
    slide(page, 0.3)  # nothing painted is left
    changed(page, before)
    take_brush(page)
    paint(page)
    page.click("#reset")
    shown(page, before)


def test_paint_is_kept_from_a_slider_also_where_no_map_has_come(page: Any) -> None:
    add(page, EXAMPLE)
    hold(page, NEW)
    with page.expect_request(NEW):
        page.mouse.click(*middle(page))
    take_brush(page)
    paint(page)
    slide(page, 0.3)
    assert "kept" in page.inner_text("#status")


def test_two_painted_regions_are_no_candidates_to_click(page: Any) -> None:
    add(page, EXAMPLE)
    take_brush(page)
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + 40, steps=3)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('#numbers').innerText.includes('hand')")
    assert "click" not in page.inner_text("#flags")


def test_a_session_survives_a_reload_once_it_is_switched_on(page: Any, tmp_path: Path) -> None:
    kept = "indexedDB.databases().then((all) => all.length)"
    second = tmp_path / "ä 'b'.tif"
    Image.open(PHOTOGRAPHS / "ISIC_0014610.jpg").save(second)
    add(page, EXAMPLE, second)
    assert page.evaluate(kept) == 0
    page.reload()
    page.wait_for_selector("body[data-ready][data-empty]", state="attached")
    add(page, EXAMPLE, second)
    page.wait_for_function("() => !document.querySelector('.strip li:last-child .signs').hidden")
    take_brush(page)
    masks = [saved(page, "text=Mask", tmp_path).read_bytes()]
    for direction in ((180, -120), (-180, 120)):
        paint(page, *direction)
        masks.append(saved(page, "text=Mask", tmp_path).read_bytes())
    page.fill("#scale", "20")
    page.click("#undo")
    page.wait_for_selector(EXACT)
    standing, numbers = outline(page), page.inner_text("#numbers")
    page.check("#keep")
    page.wait_for_function("() => document.querySelector('#kept').innerText.includes('2')")
    page.reload()
    page.wait_for_selector("body[data-ready]:not([data-empty])", state="attached")
    page.wait_for_selector(EXACT)
    assert names(page) == [EXAMPLE.name, second.name]
    assert (outline(page), page.inner_text("#numbers")) == (standing, numbers)
    assert saved(page, "text=Mask", tmp_path).read_bytes() == masks[1]
    for button, number in (("#redo", 2), ("#undo", 1), ("#undo", 0), ("#redo", 1)):
        page.click(button)
        page.wait_for_selector(EXACT)
        assert saved(page, "text=Mask", tmp_path).read_bytes() == masks[number]
    page.keyboard.press("n")
    page.wait_for_selector(EXACT)
    assert page.evaluate("document.querySelector('#stage img').naturalWidth") > 0
    page.keyboard.press("Delete")
    page.wait_for_function("() => document.querySelector('#kept').innerText.includes('1')")
    page.click("#erase")
    page.wait_for_function(f"() => {kept}.then((count) => count === 0)")
    assert not page.is_checked("#keep")
    page.on("dialog", lambda dialog: dialog.accept())  # what was painted is gone now
    page.reload()
    page.wait_for_selector("body[data-ready][data-empty]", state="attached")
    assert page.evaluate("Object.keys(localStorage).length") == 0


def test_a_session_that_could_not_be_opened_is_erased_and_kept_again(page: Any) -> None:
    kept = "indexedDB.databases().then((all) => all.length)"
    add(page, EXAMPLE)
    page.evaluate(  # as a later version of the page would
        """() => new Promise((done) => {
          const request = indexedDB.open("dermseg", 2);
          request.onsuccess = () => done(request.result.close());
        })"""
    )
    page.check("#keep")
    page.wait_for_selector("#status.bad")
    assert "not kept" in page.inner_text("#status")
    page.click("#erase")
    page.wait_for_function(f"() => {kept}.then((count) => count === 0)")
    page.check("#keep")
    page.wait_for_function("() => document.querySelector('#kept').innerText.includes('1')")


def test_a_change_that_comes_late_keeps_no_photograph_that_was_removed(page: Any) -> None:
    grown = "**/v1/segment?*edit=grow*"
    add(page, EXAMPLE)
    page.check("#keep")
    page.wait_for_function("() => document.querySelector('#kept').textContent.includes('1')")
    let_go = hold(page, grown)
    with page.expect_request(grown):
        page.click("[data-edit=grow]")
    page.click("#remove")
    page.wait_for_function("() => !document.querySelector('#kept').textContent")
    with page.expect_response(grown):
        let_go()
    page.wait_for_timeout(700)
    assert page.text_content("#kept") == ""


def test_a_session_keeps_the_scale_that_was_said_last(page: Any, tmp_path: Path) -> None:
    with Image.open(EXAMPLE) as image:
        image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "same.png")
    add(page, EXAMPLE, tmp_path / "same.png")
    for number, scale in ((2, "20"), (1, "30")):
        page.click(f"#strip li:nth-child({number}) button")
        page.wait_for_selector(EXACT)
        page.fill("#scale", scale)
    page.check("#keep")
    page.wait_for_function("() => document.querySelector('#kept').innerText.includes('2')")
    page.reload()
    page.wait_for_selector("body[data-ready]:not([data-empty])", state="attached")
    assert page.input_value("#scale") == "30"


@pytest.mark.usefixtures("darkness")
def test_a_session_of_another_version_is_asked_about_again(page: Any, discs: Path) -> None:
    def other(route: Any) -> None:
        route.fulfill(json={**route.fetch().json(), "version": "another"})

    add(page, discs)
    before = outline(page)
    page.keyboard.press("c")
    changed(page, before)
    chosen = outline(page)
    page.fill("#scale", "20")
    page.check("#keep")
    page.wait_for_function("() => document.querySelector('#kept').innerText.includes('1')")
    page.route("**/v1/settings", other)
    page.reload()
    page.wait_for_selector("body[data-ready]:not([data-empty])", state="attached")
    page.wait_for_selector(EXACT)
    assert outline(page) == chosen
    assert page.input_value("#scale") == "20"


def test_a_browser_that_lets_no_page_keep_anything_shows_it_all_the_same(page: Any) -> None:
    denied = "{ get() { throw new DOMException('denied', 'SecurityError'); } }"
    page.add_init_script(f"Object.defineProperty(window, 'localStorage', {denied})")
    page.reload()
    page.wait_for_selector("body[data-ready]", state="attached")
    assert page.is_hidden("#keep")
    add(page, EXAMPLE)


def test_no_session_is_kept_from_another_machine(browser: Any, segmenter: Segmenter) -> None:
    with listening(create_app(segmenter, ServiceSettings(allowed_hosts=("remote.test",)))) as here:
        page = opened(browser, here.replace("127.0.0.1", "remote.test"))
        add(page, EXAMPLE)
        assert page.is_hidden("#keep")
        page.evaluate(
            """() => {
              localStorage.setItem("session", "on");
              document.querySelector("#keep").click();
            }"""
        )
        page.keyboard.press("x")
        page.wait_for_timeout(500)
        assert page.evaluate("indexedDB.databases().then((all) => all.length)") == 0
        assert page.problems == []
        page.context.close()


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """Return a photograph of a large dark disc, a small one, and one that is faint."""
    y, x = np.mgrid[:300, :400]
    pixels = np.full((300, 400, 3), 245, np.uint8)
    for (column, row, radius), grey in zip(DISCS, (20, 20, 190), strict=True):
        pixels[np.hypot(x - column, y - row) < radius] = grey
    Image.fromarray(pixels).save(tmp_path / "discs.png")
    return tmp_path / "discs.png"


DISCS = ((120, 120, 60), (320, 220, 30), (320, 60, 20))
"""Column, row and radius."""


def is_disc(mask: Any, number: int) -> bool:
    """Say whether a mask is a disc and nothing else, but for the border."""
    column, row, radius = DISCS[number]
    y, x = np.mgrid[:300, :400]
    away = np.hypot(x - column, y - row)
    return bool((mask[away < radius - 4] > 0).all() and not (mask[away > radius + 4] > 0).any())


def on_screen(page: Any, x: float, y: float) -> tuple[float, float]:
    """Return where a place of an upright photograph is on the screen."""
    matrix = page.evaluate(
        """() => {
          const box = document.querySelector("#stage").getBoundingClientRect();
          const { a, d, e, f } = new DOMMatrix(document.querySelector(".frame").style.transform);
          return [a, d, e + box.left + 1, f + box.top + 1];
        }"""
    )
    return matrix[0] * x + matrix[2], matrix[1] * y + matrix[3]


def mask_of(page: Any, folder: Path) -> Any:
    return read_mask(saved(page, "text=Mask", folder))


@pytest.mark.usefixtures("darkness")
def test_a_click_chooses_a_candidate_or_lets_the_network_look_closer(
    page: Any, discs: Path, tmp_path: Path
) -> None:
    add(page, discs)
    large = outline(page)
    assert page.get_attribute("path.candidates", "d").count("M") == 1
    assert "click the right one" in page.inner_text("#flags")
    page.mouse.click(*on_screen(page, *DISCS[1][:2]))
    changed(page, large)
    small = outline(page)
    assert is_disc(mask_of(page, tmp_path), 1)
    page.mouse.click(*on_screen(page, *DISCS[2][:2]))
    changed(page, small)
    assert is_disc(mask_of(page, tmp_path), 2)
    faint = outline(page)
    for keys, path in (
        ("Control+z", small),
        ("Control+z", large),
        ("Control+Shift+z", small),
        ("Control+y", faint),
    ):
        page.keyboard.press(keys)
        shown(page, path)
    page.click("#reset")
    shown(page, large)
    page.keyboard.press("c")  # the next candidate
    shown(page, small)
    page.keyboard.press("c")
    shown(page, large)


@pytest.mark.usefixtures("darkness")
def test_a_stray_click_changes_nothing(
    browser: Any, calibrated: Path, discs: Path, tmp_path: Path
) -> None:
    with listening(create_app(Segmenter(calibrated))) as address:
        page = opened(browser, address)
        add(page, discs)
        before, sure = outline(page), page.inner_text("#sureness")
        assert "Predicted Jaccard" in sure
        page.mouse.click(*on_screen(page, 380, 140))
        page.wait_for_function(
            "() => document.querySelector('#status').innerText.includes('Nothing was found')"
        )
        assert (outline(page), page.inner_text("#sureness")) == (before, sure)
        assert page.is_disabled("#undo")
        with zipfile.ZipFile(saved(page, "#zip", tmp_path)) as archive:
            (row,) = csv.DictReader(archive.read("report.csv").decode().splitlines())
        assert row["predicted_jaccard"]
        assert row["pixels_per_mm"] == ""
        assert page.problems == []
        page.context.close()


def test_every_row_of_the_report_has_its_own_scale(page: Any, tmp_path: Path) -> None:
    paths = []
    for name, size in (("a", (300, 200)), ("b", (320, 200)), ("c", (300, 200))):
        paths.append(tmp_path / f"{name}.png")
        with Image.open(EXAMPLE) as image:
            image.resize(size).save(paths[-1])
    for first, scales in ((1, ["10", "", "10"]), (2, ["10", "20", "10"])):
        if first == 1:
            add(page, *paths)
            page.fill("#scale", "10")
        else:
            page.keyboard.press("Escape")
            page.click("#strip li:nth-child(2) button")
            page.wait_for_selector(EXACT)
            page.fill("#scale", "20")
        with zipfile.ZipFile(saved(page, "#zip", tmp_path)) as archive:
            rows = list(csv.DictReader(archive.read("report.csv").decode().splitlines()))
        assert [row["pixels_per_mm"] for row in rows] == scales


@pytest.mark.usefixtures("darkness")
def test_pieces_and_holes_of_a_painted_mask(page: Any, discs: Path, tmp_path: Path) -> None:
    add(page, discs)
    page.keyboard.press("l")
    page.wait_for_selector("canvas.paint:not([hidden])", state="attached")
    before = outline(page)
    square = [(300, 20), (360, 20), (360, 80), (300, 80)]
    for corner in square:  # a second piece, corner by corner
        page.mouse.click(*on_screen(page, *corner))
    page.keyboard.press("Enter")
    changed(page, before)
    two = outline(page)
    assert "2 pieces" in page.inner_text("#flags")
    page.keyboard.press("k")
    page.mouse.move(*on_screen(page, 110, 110))
    page.mouse.down()
    for corner in ((130, 110), (130, 130), (110, 130), (110, 112)):  # a hole, dragged around
        page.mouse.move(*on_screen(page, *corner), steps=3)
    page.mouse.up()
    changed(page, two)
    assert "A hole" in page.inner_text("#flags")
    holed = outline(page)
    mask = mask_of(page, tmp_path) > 0
    assert mask[50, 330]
    assert not mask[120, 120]
    area = int(mask.sum())
    assert f"{area:,} px²" in page.inner_text("#numbers")
    drawing = saved(page, "text=SVG", tmp_path).read_text()
    assert drawing.count("<polygon") == 3
    page.click("#keep-largest")
    changed(page, holed)
    largest = mask_of(page, tmp_path) > 0
    assert not largest[50, 330]
    assert not largest[120, 120]
    kept = outline(page)
    page.click("#fill-holes")
    changed(page, kept)
    filled = outline(page)
    assert is_disc(mask_of(page, tmp_path), 0)
    for path in (kept, holed, two, before):
        page.keyboard.press("Control+z")
        shown(page, path)
    for path in (two, holed, kept, filled):
        page.keyboard.press("Control+Shift+z")
        shown(page, path)
    assert is_disc(mask_of(page, tmp_path), 0)


@pytest.mark.usefixtures("darkness")
def test_the_whole_mask_grows_shrinks_and_is_smoothed(
    page: Any, discs: Path, tmp_path: Path
) -> None:
    add(page, discs)
    before = outline(page)
    areas = [np.count_nonzero(mask_of(page, tmp_path))]
    for name in ("grow", "shrink", "smooth"):
        standing = outline(page)
        page.click(f"[data-edit={name}]")
        changed(page, standing)
        areas.append(np.count_nonzero(mask_of(page, tmp_path)))
    assert areas[1] > areas[2]
    assert areas[0] == pytest.approx(areas[2], rel=0.01)
    assert areas[0] == pytest.approx(areas[3], rel=0.02)
    for _ in range(3):
        page.keyboard.press("Control+z")
    shown(page, before)


def test_undo_and_redo_bring_masks_back_to_the_byte(page: Any, tmp_path: Path) -> None:
    add(page, EXAMPLE, PHOTOGRAPHS / "ISIC_0014610.jpg")
    masks = [saved(page, "text=Mask", tmp_path).read_bytes()]
    take_brush(page)
    for direction in ((180, -120), (-180, 120)):
        paint(page, *direction)
        masks.append(saved(page, "text=Mask", tmp_path).read_bytes())
    page.keyboard.press("n")
    page.wait_for_selector(EXACT)
    page.keyboard.press("p")  # what was done is kept with the photograph
    for keys, number in (
        ("Control+z", 1),
        ("Control+z", 0),
        ("Control+y", 1),
        ("Control+Shift+z", 2),
    ):
        page.keyboard.press(keys)
        page.wait_for_selector(EXACT)
        assert saved(page, "text=Mask", tmp_path).read_bytes() == masks[number]
    assert page.is_disabled("#redo")


def drawn_line(page: Any, *points: tuple[float, float]) -> Ring:
    """Drag from point to point, measured from the stage's middle; return the stored pixels."""
    before, (x, y) = outline(page), middle(page)
    scale, left, top = page.evaluate(
        """() => {
          const stage = document.getElementById("stage");
          const box = stage.getBoundingClientRect();
          const { a, e, f } = new DOMMatrix(stage.querySelector(".frame").style.transform);
          return [a, box.left + stage.clientLeft + e, box.top + stage.clientTop + f];
        }"""
    )
    screen = [(x + right, y + down) for right, down in points]
    page.mouse.move(*screen[0])
    page.mouse.down()
    for point in screen[1:]:
        page.mouse.move(*point)
    page.mouse.up()
    changed(page, before)
    return ((np.array(screen) - (left, top)) / scale).round(1)


def test_a_line_takes_the_place_of_the_border_beside_it(page: Any, tmp_path: Path) -> None:
    add(page, EXAMPLE)
    masks = [read_mask(saved(page, "text=Mask", tmp_path)) > 0]
    page.keyboard.press("f")
    line = drawn_line(page, (0, -30), (30, -60), (90, -60), (120, 0))
    page.wait_for_selector(EXACT)
    masks.append(read_mask(saved(page, "text=Mask", tmp_path)) > 0)
    assert (masks[1] != redraw(masks[0], line)).sum() <= 2  # of grey rounded otherwise
    assert (masks[1] != masks[0]).sum() > 1000
    around = drawn_line(
        page, (0, 0), (60, 0), (60, 60), (0, 60), (3, 4)
    )  # and so back to the start
    page.wait_for_selector(EXACT)
    masks.append(read_mask(saved(page, "text=Mask", tmp_path)) > 0)
    around = np.concatenate([around, around[:1]])
    assert (masks[2] != redraw(masks[1], around)).sum() <= 2
    take_brush(page)  # which takes what the line has made
    paint(page)
    page.wait_for_selector(EXACT)
    painted = read_mask(saved(page, "text=Mask", tmp_path)) > 0
    assert (painted & masks[2] == masks[2]).all()
    page.keyboard.press("v")
    for number in (2, 1, 0):
        page.keyboard.press("Control+z")
        page.wait_for_selector(EXACT)
        assert ((read_mask(saved(page, "text=Mask", tmp_path)) > 0) == masks[number]).all()
    take_brush(page)
    paint(page)
    page.wait_for_selector(EXACT)
    painted = read_mask(saved(page, "text=Mask", tmp_path)) > 0
    assert (painted & masks[0] == masks[0]).all()


def test_paint_has_its_line_before_the_server_answers(page: Any) -> None:
    add(page, EXAMPLE)
    take_brush(page)
    let_go = hold(page, ANY)
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y - 150, steps=4)
    assert has_line(page, 200 + 16, -150)  # beside half the brush's width
    assert not has_line(page, 200, -150)
    page.mouse.up()
    page.mouse.wheel(0, -100)  # a quarter larger around the stroke's end
    page.wait_for_function(
        "() => document.querySelector('canvas.line').style.transform === 'matrix(1, 0, 0, 1, 0, 0)'"
    )
    assert has_line(page, 200 + 20, -150)
    page.keyboard.press("Control+z")
    page.wait_for_timeout(300)
    assert not has_line(page, 200 + 20, -150)
    let_go()


def has_line(page: Any, right: int, down: int) -> bool:
    """Say whether the line around the paint runs within 3 pixels, from the stage's middle."""
    return bool(
        page.evaluate(
            """([right, down]) => {
              const line = document.querySelector("canvas.line");
              const [x, y] = [line.width / 2 + right, line.height / 2 + down];
              const { data } = line.getContext("2d").getImageData(x - 3, y - 3, 6, 6);
              return data.some((value, place) => place % 4 === 0 && value > 200);
            }""",
            [right, down],
        )
    )


def test_lines_that_are_drawn_quickly_all_count(page: Any) -> None:
    add(page, EXAMPLE)
    page.keyboard.press("f")
    let_go = hold(page, ANY)
    x, y = middle(page)
    for side in (-1, 1):
        page.mouse.move(x + 20 * side, y - 20)
        page.mouse.down()
        page.mouse.move(x + 60 * side, y, steps=3)
        page.mouse.move(x + 20 * side, y + 30, steps=3)
        page.mouse.up()
    page.wait_for_timeout(100)
    before, answers = outline(page), []
    page.on("response", lambda response: "redraw" in response.url and answers.append(response))
    let_go()
    while len(answers) < 2:
        page.wait_for_timeout(100)
    changed(page, before)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    shown(page, before)
    assert page.is_disabled("#undo")


def test_the_brush_is_as_large_as_its_circle_on_the_screen(page: Any, tmp_path: Path) -> None:
    add(page, EXAMPLE)
    page.keyboard.press("+")
    page.keyboard.press("+")
    before = mask_of(page, tmp_path) > 0
    page.evaluate("() => { document.querySelector('#brush').value = 64; }")
    page.keyboard.press("]")
    take_brush(page)
    x, y = middle(page)
    page.mouse.move(x + 250, y - 120)
    circle = page.locator(".circle").bounding_box()
    assert circle["width"] == pytest.approx(80)
    assert circle["x"] + circle["width"] / 2 == pytest.approx(x + 250, abs=1)
    standing = outline(page)
    page.mouse.click(x + 250, y - 120)
    changed(page, standing)
    dot = (mask_of(page, tmp_path) > 0) & ~before
    scale = page.evaluate("() => new DOMMatrix(document.querySelector('.frame').style.transform).a")
    assert np.ptp(np.nonzero(dot)[1]) + 1 == pytest.approx(80 / scale, abs=2)


def in_photograph(page: Any, *places: tuple[float, float]) -> Any:
    """Return places of the screen in an upright photograph's pixels, (n, 2), and the scale."""
    origin, unit = on_screen(page, 0, 0), on_screen(page, 1, 1)
    scale = unit[0] - origin[0]
    return (np.array(places) - origin) / scale, scale


def is_region(mask: Any, before: Any, region: Any, *, erase: bool = False) -> bool:
    """Say whether a region was added or erased, but for a pixel at its border, and nothing else."""
    kernel = np.ones((3, 3), np.uint8)
    inner, outer = (
        change(region.astype(np.uint8), kernel) > 0 for change in (cv2.erode, cv2.dilate)
    )
    painted = ~mask & before if erase else mask & ~before
    possible = before if erase else ~before
    kept = (mask == before)[~outer].all()
    return bool(kept and painted[inner & possible].all())


def polygon(shape: tuple[int, ...], corners: Any) -> Any:
    drawn = np.zeros(shape, np.uint8)
    cv2.fillPoly(drawn, [np.round((corners - 0.5) * 256).astype(np.int32)], 1, shift=8)
    return drawn > 0


def stroke(shape: tuple[int, ...], points: Any, diameter: float) -> Any:
    """Return the pixels within half a brush of a stroke's line."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    near = np.zeros(shape, np.bool_)
    for first, last in pairwise(points):
        along = last - first
        share = ((x - first[0]) * along[0] + (y - first[1]) * along[1]) / max(along @ along, 1e-9)
        share = share.clip(0, 1)
        away = np.hypot(x - first[0] - share * along[0], y - first[1] - share * along[1])
        near |= away < diameter / 2
    return near


CORNERS = ((-150, -110), (120, -130), (160, 60), (-40, 20))
"""Of regions that are painted, from the stage's middle."""


@pytest.mark.parametrize(("key", "dragged"), [("l", True), ("k", False)])
def test_a_lasso_is_its_corners_pixels_dragged_or_clicked(
    page: Any, tmp_path: Path, key: str, dragged: bool
) -> None:
    add(page, EXAMPLE)
    masks = [mask_of(page, tmp_path) > 0]
    page.keyboard.press(key)
    page.wait_for_selector("canvas.paint:not([hidden])", state="attached")
    x, y = middle(page)
    places = [(x + right, y + down) for right, down in CORNERS]
    before = outline(page)
    if dragged:
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=5)
        page.mouse.up()
    else:
        for place in (*places, places[0]):  # the first corner again closes it
            page.mouse.click(*place)
    changed(page, before)
    masks.append(mask_of(page, tmp_path) > 0)
    corners, _ = in_photograph(page, *places)
    region = polygon(masks[0].shape, corners)
    assert is_region(masks[1], masks[0], region, erase=key == "k")
    for keys, number in (("Control+z", 0), ("Control+y", 1), ("Control+z", 0)):
        page.keyboard.press(keys)
        page.wait_for_selector(EXACT)
        assert ((mask_of(page, tmp_path) > 0) == masks[number]).all()


def test_a_lasso_that_is_given_up_does_not_go_on(page: Any) -> None:
    add(page, EXAMPLE)
    page.keyboard.press("l")
    page.wait_for_selector("canvas.paint:not([hidden])", state="attached")
    before, (x, y) = outline(page), middle(page)
    places = [(x + right, y + down) for right, down in CORNERS]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=5)
    page.keyboard.press("Escape")
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()
    page.wait_for_timeout(200)
    assert outline(page) == before
    assert page.is_disabled("#undo")
    page.mouse.down()
    page.keyboard.press("Escape")
    page.mouse.up()
    for place in (*places, places[0]):  # and the next one counts
        page.mouse.click(*place)
    changed(page, before)


@pytest.mark.parametrize("device", ["mouse", "pen", "finger"])
def test_a_brush_paints_its_circle_along_the_stroke_of_any_device(
    page: Any, tmp_path: Path, device: str
) -> None:
    add(page, EXAMPLE)
    before, standing = mask_of(page, tmp_path) > 0, outline(page)
    take_brush(page)
    x, y = middle(page)
    places = [(x + right, y + down) for right, down in CORNERS[:3]]
    session = page.context.new_cdp_session(page)
    for number, (left, top) in enumerate(places):
        if device == "finger":
            touch = {"type": "touchMove" if number else "touchStart"}
            touch["touchPoints"] = [{"x": left, "y": top}]  # type: ignore[assignment]
            session.send("Input.dispatchTouchEvent", touch)
        else:
            kind = "mouseMoved" if number else "mousePressed"
            event = {"type": kind, "x": left, "y": top, "button": "left", "buttons": 1}
            options = {"pointerType": device, "clickCount": 1, "force": 0.5}
            session.send("Input.dispatchMouseEvent", {**event, **options})
    if device == "finger":
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        last = {"type": "mouseReleased", "x": left, "y": top, "button": "left"}
        session.send("Input.dispatchMouseEvent", {**last, "pointerType": device, "clickCount": 1})
    changed(page, standing)
    points, scale = in_photograph(page, *places)
    region = stroke(before.shape, points, 32 / scale)
    assert is_region(mask_of(page, tmp_path) > 0, before, region)


def test_one_finger_moves_the_photograph_and_two_move_it_with_a_brush(page: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    session = page.context.new_cdp_session(page)
    matrix = "() => { const m = new DOMMatrix(document.querySelector('.frame').style.transform);"
    matrix += " return [m.a, m.e, m.f]; }"

    def drag(*offsets: int) -> list[float]:
        x, y = middle(page)
        began = page.evaluate(matrix)
        for kind, right, down in (("Start", 0, 0), ("Move", 30, 20), ("Move", 60, 40)):
            points = [
                {"x": x + right + offset, "y": y + down, "id": offset + 100} for offset in offsets
            ]
            event = {"type": f"touch{kind}", "touchPoints": points}
            session.send("Input.dispatchTouchEvent", event)
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(100)
        return [after - first for after, first in zip(page.evaluate(matrix), began, strict=True)]

    assert drag(0) == pytest.approx([0, 60, 40], abs=0.5)
    take_brush(page)
    assert drag(-40, 40) == pytest.approx([0, 60, 40], abs=1.5)
    page.wait_for_timeout(200)
    assert outline(page) == before
    assert page.is_disabled("#undo")


def test_a_brush_is_sized_by_keys_and_by_the_right_button(page: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    take_brush(page)
    for key, size in (("]", "40"), ("[", "32"), ("[", "26")):
        page.keyboard.press(key)
        assert page.input_value("#brush") == size
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 30, y, steps=3)
    assert page.input_value("#brush") == "56"
    circle = page.locator(".circle").bounding_box()
    assert circle["width"] == pytest.approx(56)
    assert circle["x"] + circle["width"] / 2 == pytest.approx(x, abs=1)  # where the drag began
    page.mouse.move(x - 300, y, steps=3)
    assert page.input_value("#brush") == "2"
    page.mouse.up(button="right")
    page.mouse.move(x, y + 40)
    assert page.input_value("#brush") == "2"
    page.wait_for_timeout(200)
    assert outline(page) == before
    assert page.is_disabled("#undo")


def test_a_wheel_zooms_by_as_much_as_it_turns(page: Any) -> None:
    add(page, EXAMPLE)
    scale = "() => new DOMMatrix(document.querySelector('.frame').style.transform).a"
    page.locator("#stage").hover()

    def turned(*pixels: float) -> float:
        before = page.evaluate(scale)
        for each in pixels:
            page.mouse.wheel(0, each)
        page.wait_for_function(f"before => ({scale})() !== before", arg=before)
        page.wait_for_timeout(100)
        return float(page.evaluate(scale) / before)

    assert turned(-100) == pytest.approx(1.25, rel=1e-3)
    assert turned(*[-10] * 10) == pytest.approx(1.25, rel=1e-3)
    assert turned(50) == pytest.approx(1.25**-0.5, rel=1e-3)


@pytest.mark.parametrize("button", ["left", "middle"])
def test_dragging_moves_the_picture_with_a_brush_in_hand(page: Any, button: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    take_brush(page)
    place = "() => new DOMMatrix(document.querySelector('.frame').style.transform).e"
    began = page.evaluate(place)
    if button == "left":
        page.keyboard.down(" ")
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.mouse.move(x + 50, y, steps=3)
    page.mouse.up(button=button)
    page.keyboard.up(" ")
    assert page.evaluate(place) - began == pytest.approx(50)
    page.wait_for_timeout(200)
    assert outline(page) == before
    assert page.is_disabled("#undo")


def test_undo_comes_back_to_what_was_painted_before(page: Any) -> None:
    add(page, EXAMPLE, PHOTOGRAPHS / "ISIC_0014610.jpg")
    before = outline(page)
    take_brush(page)
    paint(page)
    painted = outline(page)
    page.keyboard.press("n")
    page.keyboard.press("p")
    shown(page, painted)
    take_brush(page)
    paint(page, -180, 120)
    page.keyboard.press("Control+z")
    shown(page, painted)
    page.click("#reset")
    shown(page, before)


@pytest.mark.parametrize("key", ["x", "Delete"])
def test_a_key_that_is_held_down_ends_with_one_photograph(page: Any, key: str) -> None:
    others = [PHOTOGRAPHS / "ISIC_0014610.jpg", PHOTOGRAPHS / "ISIC_0012660.jpg"]
    add(page, EXAMPLE, *others)
    for _ in range(2):
        page.keyboard.down(key)
    page.keyboard.up(key)
    assert page.inner_text("#name") == others[0].name
    assert names(page)[-2:] == [path.name for path in others]


def test_the_ends_of_the_strip_are_said(page: Any) -> None:
    add(page, EXAMPLE)
    for key, end in (("n", "last"), ("p", "first")):
        page.keyboard.press(key)
        page.wait_for_function(
            "said => document.querySelector('#status').innerText.includes(said)",
            arg=f"This is the {end} photograph",
        )


@pytest.mark.parametrize("key", ["v", "n"])
def test_a_stroke_counts_that_a_key_interrupts(page: Any, key: str) -> None:
    add(page, EXAMPLE, PHOTOGRAPHS / "ISIC_0014610.jpg")
    before = outline(page)
    take_brush(page)
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 180, y - 120, steps=4)
    page.keyboard.press(key)
    page.mouse.up()
    page.keyboard.press("p")
    changed(page, before)
    page.wait_for_function("() => document.querySelector('#numbers').innerText.includes('hand')")
    page.keyboard.press("Control+z")
    take_brush(page)
    paint(page, -180, 120)  # a stroke of its own


def test_an_undo_is_not_overtaken_by_its_stroke(page: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    take_brush(page)
    page.evaluate(
        """() => {
          const send = Worker.prototype.postMessage;
          Worker.prototype.postMessage = async function slow(message) {
            if (message.act === "mask") await new Promise((done) => setTimeout(done, 500));
            send.call(this, message);
            if (message.act === "mask") document.body.dataset.made = "";
          };
        }"""
    )
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 180, y - 120, steps=4)
    page.mouse.up()
    page.keyboard.press("Control+z")
    page.wait_for_selector("body[data-made]", state="attached")
    page.wait_for_timeout(500)
    page.wait_for_function("() => !document.querySelector('#status').innerText")
    assert outline(page) == before
    assert "hand" not in page.inner_text("#numbers")


def test_no_late_answer_stands_for_a_mask_that_was_changed_since(page: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    take_brush(page)
    let_go = hold(page, ANY)  # the answer to the stroke
    page.route("**/v1/segment?*edit=grow*", lambda route: route.continue_())
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 180, y - 120, steps=4)
    page.mouse.up()
    page.click("[data-edit=grow]")
    changed(page, before)
    grown = outline(page)
    let_go()
    page.wait_for_timeout(500)
    assert outline(page) == grown
    assert not page.inner_text("#status")


def test_a_brush_without_its_mask_is_put_away(page: Any) -> None:
    add(page, EXAMPLE)
    page.route(ANY, lambda route: route.abort())
    page.keyboard.press("b")
    page.wait_for_selector("#status.bad")
    page.problems.clear()  # the browser notes the failure
    assert page.get_attribute("button[data-tool=move]", "aria-pressed") == "true"


def test_a_brush_that_cannot_be_loaded_says_so_and_is_loaded_again(page: Any) -> None:
    add(page, EXAMPLE)
    page.evaluate(
        """() => {
          window.Loaded = Worker;
          window.Worker = function () {
            return new window.Loaded("/static/none.js", { type: "module" });
          };
        }"""
    )
    page.keyboard.press("b")
    page.wait_for_selector("#status.bad")
    assert "Reload the page" in page.inner_text("#status")
    assert page.get_attribute("button[data-tool=move]", "aria-pressed") == "true"
    page.evaluate("() => { window.Worker = window.Loaded; }")
    take_brush(page)
    paint(page)
    page.problems.clear()  # the browser notes the failure


def test_it_is_said_where_the_mask_in_hand_cannot_be_shown(page: Any) -> None:
    add(page, EXAMPLE)
    take_brush(page)
    page.evaluate(
        """() => {
          const { postMessage } = Worker.prototype;
          Worker.prototype.postMessage = function (asked) {
            if (asked.act !== "look") return postMessage.call(this, asked);
            const data = { id: asked.id, error: "no memory" };
            return setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })));
          };
        }"""
    )
    page.keyboard.press("=")
    page.wait_for_function("() => document.querySelector('#status').innerText === 'no memory'")


def test_a_stroke_counts_that_is_made_before_the_mask_has_come(page: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    let_go = hold(page, ANY)
    with page.expect_request(ANY):
        page.keyboard.press("b")
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 180, y - 120, steps=4)
    let_go()
    page.mouse.up()
    changed(page, before)
    page.wait_for_function("() => document.querySelector('#numbers').innerText.includes('hand')")
    page.keyboard.press("Control+z")
    shown(page, before)


def test_an_error_without_a_word_is_named_by_its_status(page: Any) -> None:
    add(page, EXAMPLE)
    page.route(ANY, lambda route: route.fulfill(status=502, json={}))
    page.click("text=Mask")
    page.wait_for_function("() => document.querySelector('#status').innerText.includes('502')")
    page.problems.clear()  # the browser notes the failure


def test_a_file_is_named_after_the_photograph_it_was_asked_of(page: Any) -> None:
    add(page, EXAMPLE)
    add(page, PHOTOGRAPHS / "ISIC_0014610.jpg")
    page.keyboard.press("p")
    let_go = hold(page, ANY)
    with page.expect_download() as download:
        with page.expect_request(ANY):
            page.click("text=Mask")
        page.keyboard.press("n")
        let_go()
    assert download.value.suggested_filename == "ISIC_0003582_segmentation.png"


def test_leaving_asks_while_a_painting_is_not_downloaded(page: Any, tmp_path: Path) -> None:
    add(page, EXAMPLE)
    take_brush(page)
    paint(page)
    asked: list[str] = []

    def leave(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", leave)
    page.reload()
    assert asked == ["beforeunload"]
    page.wait_for_selector("body[data-ready]", state="attached")
    add(page, EXAMPLE)
    take_brush(page)
    paint(page)
    saved(page, "text=Mask", tmp_path)
    page.reload()
    assert asked == ["beforeunload"]


def test_a_slider_settles_although_another_photographs_moves(page: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    add(page, PHOTOGRAPHS / "ISIC_0014610.jpg")
    page.keyboard.press("p")
    slide(page, 0.3)
    page.keyboard.press("n")
    slide(page, 0.3)
    page.keyboard.press("p")
    changed(page, before)


def test_a_batch_selects_its_first_at_once_and_nothing_later(page: Any) -> None:
    let_go = hold(page, NEW, after=3)
    page.set_input_files("#files", sorted(PHOTOGRAPHS.glob("*.jpg")))
    assert page.get_attribute("#strip li:nth-child(1) button", "aria-current") == "true"
    assert page.locator("#strip li").count() == 4
    page.click("#strip li:nth-child(3) button")
    page.wait_for_selector(EXACT)
    take_brush(page)
    paint(page)
    painted = outline(page)
    with page.expect_response(NEW):
        let_go()
    page.wait_for_timeout(500)
    assert page.get_attribute("#strip li:nth-child(3) button", "aria-current") == "true"
    assert page.get_attribute("button[data-tool=add]", "aria-pressed") == "true"
    assert outline(page) == painted
    page.keyboard.press("Control+z")
    changed(page, painted)


def test_a_photograph_that_failed_is_tried_again(page: Any) -> None:
    page.route(ANY, lambda route: route.abort())
    page.set_input_files("#files", EXAMPLE)
    page.wait_for_selector(".strip .failed")
    page.problems.clear()  # the browser notes the failure
    assert page.input_value("#files") == ""  # the same file can be chosen again
    page.unroute(ANY)
    page.click("#strip button")
    page.wait_for_selector(EXACT)
    assert page.locator(".strip .failed").count() == 0


def test_a_click_chooses_and_the_wheel_zooms(page: Any) -> None:
    add(page, EXAMPLE)
    box = page.locator("#stage").bounding_box()
    with page.expect_request(lambda r: "x=" in r.url and "y=" in r.url):
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    before = page.get_attribute("#stage g", "transform")
    page.mouse.wheel(0, -100)
    page.wait_for_function(
        "t => document.querySelector('#stage g').getAttribute('transform') !== t", arg=before
    )


def test_a_chosen_view_outlasts_a_change_of_the_stages_size(page: Any) -> None:
    add(page, EXAMPLE)
    fitted = page.get_attribute("#stage g", "transform")
    page.set_viewport_size({"width": 1100, "height": 640})
    moved = "t => document.querySelector('#stage g').getAttribute('transform') !== t"
    page.wait_for_function(moved, arg=fitted)
    page.locator("#stage").hover()
    refitted = page.get_attribute("#stage g", "transform")
    page.mouse.wheel(0, -100)
    page.wait_for_function(moved, arg=refitted)
    zoomed = page.get_attribute("#stage g", "transform")
    page.set_viewport_size({"width": 1200, "height": 800})
    page.wait_for_timeout(300)
    assert page.get_attribute("#stage g", "transform") == zoomed


def test_everything_as_zip(page: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photograph")
    page.set_input_files("#files", [EXAMPLE, PHOTOGRAPHS / "ISIC_0014610.jpg", bad])
    page.wait_for_selector(".strip .failed")
    page.problems.clear()  # the browser notes the refusal
    page.wait_for_selector(EXACT)
    page.fill("#scale", "20")
    assert "mm²" in page.inner_text("#numbers")
    archive = zipfile.ZipFile(saved(page, "#zip", tmp_path))
    assert archive.testzip() is None
    rows = list(csv.DictReader(archive.read("report.csv").decode().splitlines()))
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    assert rows[0]["pixels_per_mm"] == "20"
    feature = json.loads(archive.read("ISIC_0003582_outline.geojson"))
    assert feature["properties"]["area"] == int(rows[0]["area"])
    assert len(archive.namelist()) == 9
    archive.close()
    page.problems.clear()  # what had failed was tried again


def test_a_zip_has_the_others_where_one_fails_meanwhile(page: Any, tmp_path: Path) -> None:
    add(page, EXAMPLE, PHOTOGRAPHS / "ISIC_0014610.jpg")
    page.click("#strip li:nth-child(2) button")
    page.wait_for_selector(EXACT)
    failing = iter([False] * 5 + [True])  # the second photograph's second file
    page.route(ANY, lambda r: r.abort() if next(failing, False) else r.continue_())
    archive = zipfile.ZipFile(saved(page, "#zip", tmp_path))
    rows = list(csv.DictReader(archive.read("report.csv").decode().splitlines()))
    assert [bool(row["error"]) for row in rows] == [False, True]
    assert len(archive.namelist()) == 5
    archive.close()
    page.problems.clear()


def test_after_a_failure_no_old_outline_stands_for_the_new_question(page: Any) -> None:
    add(page, EXAMPLE)
    before = outline(page)
    page.route(ANY, lambda route: route.abort())
    slide(page, 0.3)
    page.wait_for_selector("#stage[data-state=none]")
    assert outline(page) == ""
    assert page.is_disabled("[data-form='image/png']")
    assert page.text_content("#strip .said").startswith(", failed: ")
    page.problems.clear()
    page.unroute(ANY)
    page.click("#reset")
    shown(page, before)
    assert "failed" not in page.text_content("#strip .said")


def test_a_scale_is_that_of_photographs_of_one_size(page: Any, tmp_path: Path) -> None:
    with Image.open(EXAMPLE) as image:
        image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "same.png")
        image.resize((300, 200)).save(tmp_path / "other.png")
    add(page, EXAMPLE, tmp_path / "same.png", tmp_path / "other.png")
    page.fill("#scale", "20")
    for number, scale in ((2, "20"), (3, ""), (1, "20")):
        page.click(f"#strip li:nth-child({number}) button")
        page.wait_for_selector(EXACT)
        assert page.input_value("#scale") == scale
        assert ("mm" in page.inner_text("#numbers")) == bool(scale)
    page.fill("#scale", "-3")
    assert "mm" not in page.inner_text("#numbers")


def test_what_a_click_does_keys_do(page: Any) -> None:
    add(page, EXAMPLE)
    page.focus("#stage")
    before = page.get_attribute("#stage g", "transform")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#stage g", "transform") != before
    page.keyboard.press("0")
    with page.expect_request(lambda r: "x=" in r.url and "y=" in r.url):
        page.keyboard.press("Enter")


def test_a_zip_waits_for_photographs_in_work(page: Any, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("1/a.jpg", "2/A.jpg", "3/b.jpg")]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(EXAMPLE, path)
    let_go = hold(page, NEW, after=1)
    page.set_input_files("#files", paths)
    page.wait_for_selector(EXACT)
    with page.expect_download() as download:
        page.click("#zip")
        page.wait_for_timeout(1000)
        assert "waits" in page.inner_text("#status")
        let_go()
    path = tmp_path / "all.zip"
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        rows = list(csv.DictReader(archive.read("report.csv").decode().splitlines()))
        assert [row["error"] for row in rows] == ["", "", ""]
        assert len({name.lower() for name in archive.namelist()}) == 13


def names(page: Any) -> list[str]:
    return [str(text) for text in page.locator("#strip .name").all_inner_texts()]


def test_the_strip_says_what_is_known_of_each(page: Any, tmp_path: Path) -> None:
    bad = tmp_path / "<b>bad.jpg"
    bad.write_bytes(b"no photograph")
    paths = [*sorted(PHOTOGRAPHS.glob("*.jpg"))[:3], bad]
    page.set_input_files("#files", paths)
    page.wait_for_selector(".strip .failed")
    page.problems.clear()  # the browser notes the refusal
    assert names(page) == [path.name for path in paths]
    assert page.inner_text("#progress") == "1 of 4, 0 done"
    assert "not an image" in page.get_attribute(".strip .failed", "title")
    signs = page.locator("#strip .signs")
    sure = [float(text.split()[0]) for text in signs.all_inner_texts()[:3]]
    assert all(0 < value < 1 for value in sure)
    page.keyboard.press("x")  # done, and on to the next
    page.wait_for_selector("#strip li:nth-child(2) [aria-current=true]")
    assert page.inner_text("#progress") == "2 of 4, 1 done"
    assert "✓" in signs.nth(0).inner_text()
    take_brush(page)
    paint(page)
    assert "✎" in signs.nth(1).inner_text()
    page.select_option("#filter", "open")
    assert names(page) == [path.name for path in paths[1:]]
    assert page.inner_text("#progress") == "1 of 3, 1 hidden, 1 done"
    page.select_option("#filter", "failed")  # and the one that is looked at
    assert names(page) == [paths[1].name, bad.name]
    page.select_option("#filter", "all")
    page.keyboard.press("Control+z")
    page.wait_for_function("() => !document.querySelector('#strip').innerText.includes('✎')")
    assert float(signs.nth(1).inner_text().split()[0]) == sure[1]
    page.select_option("#sort", "sure")
    known = dict(zip([path.name for path in paths[:3]], sure, strict=True))
    *others, last = names(page)
    assert ([known[name] for name in others], last) == (sorted(sure), bad.name)


def test_a_photograph_is_removed(page: Any) -> None:
    paths = sorted(PHOTOGRAPHS.glob("*.jpg"))[:2]
    add(page, *paths)
    take_brush(page)
    paint(page)
    answers = iter(["dismiss", "accept"])
    page.on("dialog", lambda dialog: getattr(dialog, next(answers))())
    page.click("#remove")
    assert len(names(page)) == 2
    page.keyboard.press("Delete")
    page.wait_for_function("() => document.querySelectorAll('#strip li').length === 1")
    assert names(page) == [paths[1].name]
    page.wait_for_selector(EXACT)
    page.keyboard.press("Delete")
    page.wait_for_selector("body[data-empty]")
    add(page, EXAMPLE)
    assert names(page) == [EXAMPLE.name]


def test_the_strip_scrolls_with_the_photograph(page: Any, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(16)]
    for path in paths:
        shutil.copy(EXAMPLE, path)
    page.set_input_files("#files", paths)
    page.wait_for_selector("#strip li:nth-child(16)")
    assert page.evaluate("() => document.querySelector('#strip').scrollLeft") == 0
    for _ in range(15):
        page.keyboard.press("n")
    page.wait_for_function("() => document.querySelector('#strip').scrollLeft > 0")
    assert page.inner_text("#progress").startswith("16 of 16")


def test_a_format_that_browsers_cannot_show(page: Any, tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(EXAMPLE) as image:
        image.save(tmp_path / "a.tif")
    add(page, tmp_path / "a.tif")
    page.wait_for_function("document.querySelector('#stage img').naturalWidth > 0")


def test_everything_has_a_name_for_screen_readers(page: Any) -> None:
    add(page, EXAMPLE)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input:not([hidden])")].filter((one) =>
          !(one.ariaLabel || one.innerText?.trim() || one.labels?.length
            || one.querySelector?.("img[alt]:not([alt=''])"))).map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_a_folder_is_dropped_with_its_subfolders(page: Any, tmp_path: Path) -> None:
    folder = tmp_path / "patients"
    (folder / "b").mkdir(parents=True)
    for name in (".hidden", "@eaDir"):
        (folder / name).mkdir()
        shutil.copy(EXAMPLE, folder / name / "none.jpg")
    shutil.copy(EXAMPLE, folder / "b" / "three.jfif")
    shutil.copy(EXAMPLE, folder / "b" / "two.JPG")
    shutil.copy(EXAMPLE, folder / "one.jpg")
    for name in ("Thumbs.db", ".one.jpg", "notes.txt"):
        (folder / name).write_bytes(b"none")
    session = page.context.new_cdp_session(page)
    page.locator("text=Drop dermoscopic").wait_for()
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    page.wait_for_selector(EXACT)
    page.wait_for_function("() => document.querySelectorAll('.strip li').length === 3")
    assert names(page) == ["three.jfif", "two.JPG", "one.jpg"]


def test_a_phone_has_a_button_for_its_camera(browser: Any, address: str, page: Any) -> None:
    assert page.is_hidden("#camera")
    size = {"width": 390, "height": 844}
    phone = opened(browser, address, viewport=size, has_touch=True, is_mobile=True)
    with phone.expect_file_chooser() as chooser:
        phone.tap("#camera")
    chooser.value.set_files(EXAMPLE)
    phone.wait_for_selector(EXACT)
    assert phone.problems == []
    phone.context.close()


def test_a_phones_width_needs_no_sideways_scrolling(browser: Any, address: str) -> None:
    page = opened(browser, address, viewport={"width": 390, "height": 844})
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        add(page, EXAMPLE)
    page.context.close()


def test_the_service_is_explained_in_a_page_that_loads_nothing_from_elsewhere(
    browser: Any, address: str
) -> None:
    page = opened(browser, address)
    page.goto(f"{address}docs")
    page.click("text=POST /v1/segment >> nth=0")
    assert page.url.endswith("#post-v1-segment")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("text=The page")
    page.wait_for_selector("body[data-ready]", state="attached")
    assert page.problems == []
    page.context.close()


def test_how_sure_where_the_model_says_so(
    browser: Any, calibrated: Path, uncalibrated: Path
) -> None:
    for model, says in ((calibrated, True), (uncalibrated, False)):
        with listening(create_app(Segmenter(model))) as address:
            page = opened(browser, address)
            add(page, EXAMPLE)
            assert ("Predicted Jaccard" in page.inner_text("#sureness")) == says
            assert page.is_visible("#band-label") == says
            bands = page.get_attribute("path.bands", "d")
            assert bool(bands) == says
            if says:
                page.keyboard.press("w")
                assert page.get_attribute("path.bands", "d") == ""
                page.keyboard.press("w")
                with page.expect_response(ANY):
                    page.mouse.click(*middle(page))
                page.wait_for_function("() => !document.querySelector('#status').innerText")
                assert "Predicted Jaccard" in page.inner_text("#sureness")
                assert page.get_attribute("path.bands", "d") == bands
            assert page.problems == []
            page.context.close()


def test_a_line_over_a_ruler_gives_millimetres(page: Any) -> None:
    add(page, EXAMPLE)
    pixels = float(page.inner_text("#numbers dd:nth-of-type(3)").split()[0].replace(",", ""))
    drawn = outline(page)
    page.click("#ruler")
    x, y = middle(page)
    page.mouse.move(x - 100, y)
    page.mouse.down()
    page.mouse.move(x + 20, y + 40, steps=3)
    page.mouse.move(x + 100, y, steps=3)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('#scale').value")
    matrix = page.get_attribute("#stage svg g", "transform")
    stage_scale = float(matrix.removeprefix("matrix(").split()[0])
    scale = float(page.input_value("#scale"))
    assert scale == pytest.approx(
        200 / stage_scale / 10, rel=0.01
    )  # a pixel of the screen each way
    diameter = page.inner_text("#numbers dd:nth-of-type(3)")
    assert diameter.endswith(" mm")
    assert float(diameter.split()[0]) == pytest.approx(pixels / scale, abs=0.02)
    assert page.get_attribute("[data-tool=move]", "aria-pressed") == "true"
    assert outline(page) == drawn
    assert page.is_disabled("#undo")


def test_a_ruler_in_the_photograph_is_offered_and_never_assumed(page: Any, tmp_path: Path) -> None:
    Image.fromarray(with_ruler(40.0)).save(tmp_path / "ruler.png")
    add(page, tmp_path / "ruler.png")
    page.wait_for_selector("#ruler-offer:not([hidden])")
    assert "10 mm long, a millimetre is 40 px" in page.inner_text("#ruler-offer")
    assert page.get_attribute("path.scale", "d")
    assert page.input_value("#scale") == ""
    assert "px²" in page.inner_text("#numbers")
    before = page.inner_text("#numbers dd:nth-of-type(3)")
    page.click("#use-ruler")
    scale = float(page.input_value("#scale"))
    assert scale == pytest.approx(40, rel=0.01)
    diameter = page.inner_text("#numbers dd:nth-of-type(3)")
    pixels = float(before.split()[0].replace(",", ""))
    assert float(diameter.split()[0]) == pytest.approx(pixels / scale, abs=0.02)
    assert page.is_hidden("#ruler-offer")
    assert page.get_attribute("path.scale", "d") == ""
    page.fill("#scale", "")
    page.wait_for_function("() => document.querySelector('#numbers').innerText.includes('px²')")
    with page.expect_response("**/v1/ruler"):
        add(page, EXAMPLE)
    page.wait_for_timeout(200)
    assert page.is_hidden("#ruler-offer")


@pytest.fixture(scope="module")
def examples_masks(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the examples' masks; tests have copies."""
    masks = tmp_path_factory.mktemp("examples") / "masks"
    segment_all(find_jobs([PHOTOGRAPHS]), segmenter, masks)
    return masks


@pytest.fixture
def review(segmenter: Segmenter, examples_masks: Path, tmp_path: Path) -> Review:
    """Return the review of the examples' masks."""
    masks = Path(shutil.copytree(examples_masks, tmp_path / "masks"))
    return Review.load(find_jobs([PHOTOGRAPHS]), masks, segmenter)


def test_a_page_that_cannot_begin_says_why(
    browser: Any, address: str, segmenter: Segmenter, review: Review
) -> None:
    with listening(create_app(segmenter, review=review)) as reviewed:
        for place in (address, reviewed):
            page, problems = browser.new_page(), list[str]()
            page.set_default_timeout(WAIT)
            page.on("pageerror", lambda error, problems=problems: problems.append(str(error)))
            page.route("**/v1/settings", lambda route: route.abort())
            page.goto(place)
            page.wait_for_selector("#status.bad")
            assert "does not answer" in page.inner_text("#status")
            if place == address:
                page.set_input_files("#files", EXAMPLE)
                page.wait_for_function(
                    "() => document.querySelector('#status').innerText.includes('not ready')"
                )
            assert problems == []
            page.close()


def test_a_mask_that_comes_late_is_not_painted_over_another_photograph(
    browser: Any, segmenter: Segmenter, review: Review
) -> None:
    with listening(create_app(segmenter, review=review)) as address:
        page = opened(browser, address)
        waiting: list[Any] = []
        page.route("**/v1/review/0/mask", lambda route: waiting.append(route))
        with page.expect_request("**/v1/review/0/mask"):
            page.keyboard.press("b")
        page.wait_for_function("() => document.querySelector('[aria-pressed=true][data-tool=add]')")
        page.keyboard.press("n")
        page.wait_for_selector("#stage[data-number='1']")
        for route in waiting:
            route.continue_()
        assert waiting
        page.wait_for_timeout(300)
        assert page.locator("canvas.paint").is_hidden()
        with page.expect_response("**/v1/review/1/mask"):  # and not what is here already
            page.keyboard.press("b")
        page.wait_for_selector("canvas.paint:not([hidden])", state="attached")
        assert page.problems == []
        page.context.close()


def test_nothing_is_decided_of_a_mask_that_is_not_on_the_screen(
    browser: Any, segmenter: Segmenter, review: Review
) -> None:
    with listening(create_app(segmenter, review=review)) as address:
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        waiting: list[Any] = []
        page.route("**/v1/review/1/photograph", lambda route: waiting.append(route))
        page.goto(address)
        page.wait_for_selector("#stage[data-number='0']")
        page.keyboard.press("n")
        page.wait_for_function("() => !document.querySelector('#stage').dataset.number")
        assert page.get_attribute("path.outline", "d") == ""
        for key in ("a", "r", "b"):
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        assert [item.decision for item in review.items] == [""] * 4
        for route in waiting:
            route.continue_()
        page.unroute("**/v1/review/1/photograph")
        page.wait_for_selector("#stage[data-number='1']")
        # Someone else decides; what is seen here is no longer what is there.
        review.decide(1, "rejected")
        page.keyboard.press("a")
        page.wait_for_function("() => document.body.innerText.includes('reload the page')")
        assert review.items[1].decision == "rejected"
        page.reload()
        page.wait_for_selector("#stage[data-number='0']")
        page.wait_for_timeout(400)  # a person looks
        page.focus("#accept")
        for _ in range(4):  # held down, which presses it once
            page.keyboard.down("Enter")
        page.wait_for_selector("#stage[data-number='1']")
        page.wait_for_timeout(300)
        assert [item.decision for item in review.items] == ["accepted", "rejected", "", ""]
        page.close()


def test_the_review_of_a_folder(browser: Any, segmenter: Segmenter, review: Review) -> None:
    jobs, masks = [item.job for item in review.items], review.masks
    names = [item.job.mask for item in review.items]
    before = [(masks / name).read_bytes() for name in names]
    with listening(create_app(segmenter, review=review)) as address:
        page = opened(browser, address)
        page.keyboard.press("a")
        page.wait_for_selector("#stage[data-number='1']")
        page.keyboard.press("b")
        page.wait_for_selector("canvas.paint:not([hidden])", state="attached")
        box = page.locator("#stage").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + 90, steps=3)
        page.mouse.up()
        for key in ("a", "r", "n", "p"):  # no stroke is lost to them
            page.keyboard.press(key)
            assert "Save the correction" in page.inner_text("#status")
        page.keyboard.press("s")
        page.wait_for_selector("#stage[data-number='2']")
        page.keyboard.press("p")
        page.wait_for_selector("#stage[data-number='1']")
        page.keyboard.press("a")  # which keeps the correction
        page.wait_for_selector("#stage[data-number='2']")
        page.keyboard.press("n")
        page.wait_for_selector("#stage[data-number='3']")
        page.keyboard.press("b")
        page.wait_for_selector("canvas.paint:not([hidden])", state="attached")
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 40)
        page.keyboard.press("s")
        page.wait_for_function("() => document.body.innerText.includes('the last mask')")
        page.keyboard.press("p")  # for nothing is left to be saved
        page.wait_for_selector("#stage[data-number='2']")
        page.keyboard.press("r")
        page.wait_for_selector("#stage[data-number='3']")
        assert page.problems == []
        page.context.close()
    again = Review.load(jobs, masks, segmenter)
    decisions = [item.decision for item in again.items]
    assert decisions == ["accepted", "corrected", "rejected", "corrected"]
    seconds = [item.remark.seconds for item in again.items]
    assert min(seconds) >= 0 < sum(seconds)  # of a quick look 0.0 s are kept
    assert [(masks / name).read_bytes() for name in names] == before
    corrected = read_mask(again.corrected / names[1])
    assert (corrected != read_mask(masks / names[1])).any()


def test_a_dicom_file_is_shown_with_its_millimetres(page: Any, tmp_path: Path) -> None:
    made = pytest.importorskip("dicom_files").encapsulated(EXAMPLE.read_bytes(), spacing=0.02)
    (tmp_path / "IM0001.dcm").write_bytes(made.content)
    add(page, tmp_path / "IM0001.dcm")
    assert outline(page)
    assert page.input_value("#scale") == "50"
    with zipfile.ZipFile(saved(page, "#zip", tmp_path)) as archive:
        (row,) = csv.DictReader(archive.read("report.csv").decode().splitlines())
    assert row["pixels_per_mm"] == "50"
    assert float(row["area_mm2"]) == pytest.approx(int(row["area"]) / 2500, abs=0.001)


def test_the_review_has_the_page_s_tools(
    browser: Any, segmenter: Segmenter, review: Review
) -> None:
    with listening(create_app(segmenter, review=review)) as address:
        page = opened(browser, address)
        model = read_mask(review.mask_path(review.items[0])) > 0
        page.keyboard.press("k")
        page.wait_for_selector("canvas.paint:not([hidden])", state="attached")
        x, y = middle(page)
        corners = ((-150, -90), (150, -90), (150, 90))
        for right, down in corners:
            page.mouse.click(x + right, y + down)
        page.keyboard.press("Control+z")  # drops the lasso that is being made
        for key in ("Enter", "s"):
            page.keyboard.press(key)
        assert page.is_disabled("#correct")
        for right, down in corners:
            page.mouse.click(x + right, y + down)
        page.keyboard.press("Enter")
        page.wait_for_selector("#correct:not([disabled])")
        page.keyboard.press("Control+z")
        page.wait_for_selector("#redo:not([disabled])")
        page.keyboard.press("Control+Shift+z")
        page.keyboard.press("s")
        page.wait_for_selector("#stage[data-number='1']")
        erased = model & ~(read_mask(review.mask_path(review.items[0])) > 0)
        assert erased.sum() > 1000
        assert not (read_mask(review.mask_path(review.items[0])) > 0)[~model].any()
        assert page.problems == []
        page.context.close()


def test_the_review_exports_what_was_accepted_and_compares_readers(
    browser: Any, segmenter: Segmenter, review: Review, tmp_path: Path
) -> None:
    review.decide(0, "accepted")
    other = Review.load([item.job for item in review.items], review.masks, segmenter, "bo")
    mask = encode_mask(read_mask(review.mask_path(review.items[0])) > 0)
    with listening(create_app(segmenter, review=other)) as address:
        page = opened(browser, address)
        assert page.input_value("#reviewer") == "bo"
        assert page.locator("#reviewer").get_attribute("readonly") is not None
        page.keyboard.press("a")
        page.wait_for_selector("#stage[data-number='1']")
        with zipfile.ZipFile(saved(page, "#export", tmp_path)) as archive:
            assert [archive.read(name) for name in archive.namelist()] == [mask]
        page.select_option("#form", "coco")
        with zipfile.ZipFile(saved(page, "#export", tmp_path)) as archive:
            assert len(json.loads(archive.read("accepted.json"))["images"]) == 1
        page.click("#compare")
        page.wait_for_selector("#agreement dd")
        said = page.inner_text("#agreement").split("\n")
        assert "the unnamed reader, bo" in said
        assert "1 of 1, kappa 1.00" in said
        assert page.problems == []
        page.context.close()


def test_the_review_goes_through_the_masks_of_a_filter(
    browser: Any, segmenter: Segmenter, review: Review
) -> None:
    review.decide(1, "accepted")
    review.decide(3, "rejected")
    with listening(create_app(segmenter, review=review)) as address:
        page = opened(browser, address)
        page.select_option("#filter", "open")
        page.focus("#stage")
        page.keyboard.press("n")
        page.wait_for_selector("#stage[data-number='2']")
        page.keyboard.press("n")  # there is none
        page.wait_for_function("() => document.body.innerText.includes('This is the last mask')")
        page.keyboard.press("a")
        page.wait_for_function("() => document.body.innerText.includes('Undecided: 1.')")
        page.keyboard.press("p")
        page.wait_for_selector("#stage[data-number='0']")
        page.select_option("#filter", "rejected")
        page.wait_for_selector("#stage[data-number='3']")
        page.select_option("#filter", "corrected")
        page.wait_for_function("() => document.body.innerText.includes('no such mask')")
        page.focus("#stage")
        standing = outline(page)
        page.keyboard.press("o")
        assert outline(page) == ""
        page.keyboard.press("o")
        shown(page, standing)
        assert page.problems == []
        page.context.close()
    assert [item.decision for item in review.items] == ["", "accepted", "accepted", "rejected"]


def in_hand(page: Any) -> str:
    """Return the borders of the mask that is painted in the review, as the server traced them."""
    page.wait_for_selector(EXACT)
    return outline(page)


def test_the_review_changes_masks_as_a_whole_and_undoes_it_to_the_byte(
    browser: Any, segmenter: Segmenter, review: Review
) -> None:
    model = read_mask(review.mask_path(review.items[0])) > 0
    with listening(create_app(segmenter, review=review)) as address:
        page = opened(browser, address)
        scale = page.evaluate("new DOMMatrix(document.querySelector('.frame').style.transform).a")
        before = outline(page)
        for act in (".", "[data-edit=smooth]", "[data-edit=shrink]"):
            standing = outline(page)
            page.keyboard.press(act) if act == "." else page.click(act)
            changed(page, standing)
        page.keyboard.press("f")
        line = drawn_line(page, (0, -30), (30, -60), (90, -60), (120, 0))
        take_brush(page)
        paint(page)
        steps = [in_hand(page)]
        for _ in range(5):
            page.keyboard.press("Control+z")
            steps.append(in_hand(page))
        assert len(set(steps)) == 6
        assert outline(page) == before
        assert page.is_disabled("#correct")
        for step in steps[-2::-1]:
            page.keyboard.press("Control+y")
            assert in_hand(page) == step
        page.keyboard.press("Control+z")
        page.keyboard.press("s")
        page.wait_for_selector("#stage[data-number='1']")
        assert page.problems == []
        page.context.close()
    by, fine = max(1, round(1 / scale)), round(6 / scale)
    wanted = edit_mask(edit_mask(edit_mask(model, "grow", by), "smooth", fine), "shrink", by)
    kept = read_mask(review.mask_path(review.items[0])) > 0
    assert (kept != redraw(wanted, line)).sum() <= 2  # of grey rounded otherwise


def test_the_review_takes_the_model_s_outline_in_the_other_style(
    browser: Any, segmenter: Segmenter, review: Review
) -> None:
    other = segmenter.segment(review.items[0].job.photograph, style="semi-automatic")
    with listening(create_app(segmenter, review=review)) as address:
        page = opened(browser, address)
        before = outline(page)
        page.keyboard.press("t")
        changed(page, before)
        x, y = other.outline[0]
        assert outline(page).startswith(f"M{x + 0.5:g} {y + 0.5:g}L")
        page.keyboard.press("t")
        shown(page, before)
        page.keyboard.press("Control+z")
        changed(page, before)
        page.keyboard.press("s")
        page.wait_for_selector("#stage[data-number='1']")
        assert page.problems == []
        page.context.close()
    assert ((read_mask(review.mask_path(review.items[0])) > 0) == other.mask).all()


def test_the_review_keeps_the_largest_piece_and_fills_holes(
    browser: Any, segmenter: Segmenter, review: Review
) -> None:
    path = review.mask_path(review.items[0])
    mask = np.zeros_like(read_mask(path), np.bool_)
    mask[100:300, 100:300] = mask[400:440, 400:440] = True
    mask[150:200, 150:200] = False
    review.correct(0, encode_mask(mask))
    with listening(create_app(segmenter, review=review)) as address:
        page = opened(browser, address)
        page.wait_for_selector("#stage[data-number]")
        page.keyboard.press("p")
        page.wait_for_selector("#stage[data-number='0']")
        assert "2 pieces" in page.inner_text("#flags")
        for button in ("#keep-largest", "#fill-holes"):
            page.click(button)
            page.wait_for_selector(button, state="hidden")
        page.keyboard.press("s")
        page.wait_for_selector("#stage[data-number='1']")
        assert page.problems == []
        page.context.close()
    filled = np.zeros_like(mask)
    filled[100:300, 100:300] = True
    assert ((read_mask(review.mask_path(review.items[0])) > 0) == filled).all()


@pytest.mark.skipif(AXE is None, reason="needs DERMSEG_AXE, the path of axe-core's axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 390])
def test_nothing_keeps_people_out(
    browser: Any, address: str, segmenter: Segmenter, review: Review, scheme: str, width: int
) -> None:
    view = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    with listening(create_app(segmenter, review=review)) as reviewed:
        for number, place in enumerate((address, address, reviewed, f"{address}docs")):
            # axe is not one of the page's own scripts.
            ready = "table" if number == 3 else "body[data-ready]"
            page = opened(browser, place, ready=ready, bypass_csp=True, **view)
            if number == 1:
                add(page, EXAMPLE)
            page.evaluate(Path(str(AXE)).read_text(encoding="utf-8"))
            broken = page.evaluate("async () => (await axe.run()).violations")
            assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in broken] == []
            page.context.close()


def test_a_review_keeps_who_and_why(browser: Any, segmenter: Segmenter, review: Review) -> None:
    with listening(create_app(segmenter, review=review)) as address:
        page = opened(browser, address)
        page.fill("#reviewer", "R. Ader")
        page.keyboard.press("Enter")
        page.keyboard.press("m")
        page.keyboard.type("rab")  # letters, and not keys
        page.keyboard.press("Enter")
        page.keyboard.press("n")  # what was noted is kept without a decision too
        page.wait_for_selector("#stage[data-number='1']")
        assert page.input_value("#note") == ""
        page.keyboard.press("r")
        page.wait_for_selector("#stage[data-number='2']")
        page.keyboard.press("p")
        page.wait_for_selector("#stage[data-number='1']")
        assert "R. Ader" in page.inner_text("#facts")
        page.keyboard.press("u")
        page.wait_for_function("() => document.querySelector('#withdraw').disabled")
        page.keyboard.press("p")
        page.wait_for_selector("#stage[data-number='0']")
        assert page.input_value("#note") == "rab"
        page.reload()
        page.wait_for_selector("#stage[data-number='0']")
        assert page.input_value("#reviewer") == "R. Ader"
        assert page.problems == []
        page.context.close()
    assert [item.decision for item in review.items] == [""] * 4
    assert [item.remark.note for item in review.items] == ["rab", "", "", ""]
    assert review.items[0].remark.reviewer == review.items[1].remark.reviewer == "R. Ader"


def test_a_filter_that_goes_elsewhere_keeps_the_note(
    browser: Any, segmenter: Segmenter, review: Review
) -> None:
    review.decide(1, "rejected")
    with listening(create_app(segmenter, review=review)) as address:
        page = opened(browser, address)
        page.fill("#note", "rab")
        page.select_option("#filter", "rejected")
        page.wait_for_selector("#stage[data-number='1']")
        assert page.problems == []
        page.context.close()
    assert [item.remark.note for item in review.items] == ["rab", "", "", ""]
