"""The inspect page in a browser: what a person sees and does.

With `--screenshots FOLDER` pictures are taken for the docs.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Serve
from tests.page.conftest import APPS, Scene

SOURCE = (APPS / "inspected.py").read_text().splitlines()
BLOCKING_LINE = next(number for number, line in enumerate(SOURCE, 1) if line.endswith("# blocks"))


# What the page's scripts know; their names are global there.
STILL = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
LATEST_STALL = """(() => {
  const stall = view.drawn.findLast((one) => one.isStall);
  return (stall.left + stall.right) / 2;
})()"""
SEGMENTS = """JSON.stringify(Object.fromEntries(
  [...model.requests.values()].map((one) => [one.line, one.segments.map((segment) => segment.kind)])
))"""
LATEST_WAIT = "[...model.requests.values()].findLast((one) => one.line.includes('/waits'))"
HELD_UP = f"""(() => {{
  const one = {LATEST_WAIT};
  return heldUp(one, one.received, one.ended).map(([from, to, stall]) => [to - from, culprit(stall)]);
}})()"""
BOTH = "new Set(model.stalls.map((stall) => stall.worker)).size === 2"
# How many milliseconds a drawing takes, but for the two worst of sixty.
DRAWING = """new Promise((done) => {
  const times = [];
  const draw = () => {
    const began = performance.now();
    drawTimeline();
    times.push(performance.now() - began);
    if (times.length < 60) requestAnimationFrame(draw);
    else done(times.sort((one, other) => one - other)[57]);
  };
  draw();
})"""


# The gaps between the times on the axis of the timeline, in pixels.
AXIS_GAPS = """(() => {
  const texts = [];
  const fillText = context.fillText;
  context.fillText = (text, x, y) => y === 12 && texts.push([x, x + context.measureText(text).width]);
  drawTimeline();
  context.fillText = fillText;
  return texts.slice(1).map(([left], place) => left - texts[place][1]);
})()"""


def until(page: Page, expression: str, seconds: float = 20.0) -> None:
    """Waits until it is so. (Playwright's own way evaluates text in the page, which the page's policy forbids.)"""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"it did not come to {expression}"
        page.wait_for_timeout(50)


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=re.compile(f"^{name}")).click()


def test_a_stall_appears_while_the_loop_is_blocked_and_a_click_shows_its_line(page: Page, scene: Scene) -> None:
    blocked = scene.begin("/blocks?seconds=4")
    expect(page.locator("#state")).to_contain_text("blocked by GET /blocks", timeout=3000)
    page.locator("#stalls button").first.click()
    detail = page.locator("#detail")
    expect(detail.locator("mark")).to_have_text(re.compile(rf"{BLOCKING_LINE} *time\.sleep\(seconds\)"))
    expect(detail.locator("h3")).to_contain_text("is blocking the event loop")
    assert blocked.is_alive(), "it was shown only when it was over"
    blocked.join()
    expect(detail.locator("h3")).to_contain_text("GET /blocks?seconds=4 blocked the event loop", timeout=3000)
    expect(page.locator("#state")).to_have_text("the loop answers")


def test_a_stall_on_the_timeline_opens_by_a_click_and_by_keys(page: Page, scene: Scene) -> None:
    scene.begin("/blocks?seconds=0.5").join()
    until(page, "view.drawn.some((one) => one.isStall && one.item.over)")
    box = page.locator("#timeline").bounding_box()
    assert box is not None
    # Nothing moves any more, and the place of the stall is where it is drawn.
    page.get_by_role("button", name="Pause").click()
    page.evaluate(STILL)
    place = page.evaluate(LATEST_STALL)
    page.mouse.click(box["x"] + place, box["y"] + 30)
    expect(page.locator("#detail mark")).to_contain_text("time.sleep(seconds)")
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    page.locator("#timeline").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#chosen")).not_to_be_empty()
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    expect(page.locator("#detail")).to_be_focused()


def test_requests_are_drawn_with_what_they_did(page: Page, scene: Scene) -> None:
    scene.begin("/waits?seconds=0.2").join()
    scene.begin("/thread?seconds=0.2").join()
    until(page, "[...model.requests.values()].filter((one) => one.ended !== null).length >= 2")
    kinds = json.loads(page.evaluate(SEGMENTS))
    assert kinds["GET /waits?seconds=0.2"][-3:] == ["run", "wait", "run"]
    assert "thread" in kinds["GET /thread?seconds=0.2"]


def test_a_request_that_had_to_wait_says_for_whom(page: Page, scene: Scene) -> None:
    waiting = scene.begin("/waits?seconds=2")
    until(page, f"{LATEST_WAIT}?.ended === null")
    scene.begin("/blocks?seconds=2.5").join()
    waiting.join()
    until(page, f"{LATEST_WAIT}.ended !== null")
    until(page, "model.stalls.at(-1).over")
    held = page.evaluate(HELD_UP)
    assert [who for _, who in held] == ["GET /blocks?seconds=2.5"]
    assert held[0][0] > 0.5


def test_routes_are_sorted_by_their_headings(page: Page, scene: Scene) -> None:
    scene.begin("/quick/1", 5).join()
    scene.begin("/blocks?seconds=0.2").join()
    tab(page, "Routes")
    routes = page.locator("#routes tbody tr")
    expect(routes.filter(has_text="/blocks").locator(".verdict")).to_have_text("Bad", timeout=5000)
    expect(routes.first).to_contain_text("/blocks")
    heading = page.get_by_role("columnheader", name="requests")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    numbers = [int(text) for text in page.locator("#routes tbody td:nth-child(3)").all_inner_texts()]
    assert numbers == sorted(numbers, reverse=True)
    page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")


def test_the_steps_are_read_and_taken_along(page: Page, scene: Scene) -> None:
    scene.begin("/later").join()
    tab(page, "Steps")
    page.get_by_label("Only requests with").fill("/later")
    rows = page.locator("#step-rows tbody tr")
    expect(rows.filter(has_text="is answered").first).to_contain_text("200 after", timeout=5000)
    with page.expect_download() as download:
        page.locator("#steps-csv").click()
    assert download.value.suggested_filename == "steps.csv"
    text = Path(download.value.path()).read_text()
    assert text.startswith("at,request,handler,action,server,response")
    assert "/later" in text


def test_charts_have_numbers_in_words_too(page: Page, scene: Scene) -> None:
    tab(page, "Charts")
    memory = page.get_by_role("img", name=re.compile(r"^Memory over 5 minutes: now \d+\.\d MB"))
    expect(memory).to_be_visible(timeout=5000)
    expect(page.locator("#charts canvas")).to_have_count(9)


def test_tabs_are_walked_with_arrows(page: Page) -> None:
    page.get_by_role("tab", name=re.compile("^Stalls")).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Routes")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Routes")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tabpanel", name=re.compile("^Stalls"))).to_be_visible()


def test_light_and_dark_follow_the_system_and_the_switch(browser: Browser, scene: Scene) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(scene.address)
    html = page.locator("html")
    expect(html).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(html).to_have_attribute("data-theme", "light")
    page.reload()
    expect(html).to_have_attribute("data-theme", "light")
    page.close()


def test_what_clients_send_is_text_and_nothing_else(page: Page, scene: Scene) -> None:
    scene.begin("/quick/1?{<img%20src=x%20onerror=alert(1)>}").join()
    tab(page, "Steps")
    page.get_by_label("Only requests with").fill("onerror")
    expect(page.locator("#step-rows")).to_contain_text("GET /quick/", timeout=5000)
    assert page.locator("#step-rows img, #step-rows script").count() == 0


@pytest.mark.parametrize("span", ["2", "10", "60"])
def test_the_times_on_a_narrow_axis_stay_apart(browser: Browser, scene: Scene, span: str) -> None:
    page = browser.new_page(viewport={"width": 380, "height": 800})
    page.goto(scene.address)
    page.locator("#span").select_option(span)
    gaps = page.evaluate(AXIS_GAPS)
    page.close()
    assert gaps
    assert min(gaps) > 3, gaps


def test_it_stays_smooth_with_many_requests_and_says_what_it_leaves_out(serve: Serve, browser: Browser) -> None:
    scene = Scene(serve("inspected:app", "--inspect=127.0.0.1:0", "--no-access-log", app_dir=APPS))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(scene.address)
    for _ in range(4):
        scene.begin("/quick/1", 1500)
    expect(page.locator("#note")).to_contain_text(re.compile(r"1 of \d+ requests is traced and drawn"), timeout=20000)
    worst = page.evaluate(DRAWING)
    scene.join()
    page.close()
    assert worst < 50, f"a picture took {worst:.0f} ms"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_for_the_docs(browser: Browser, scene: Scene, theme: str, screenshots: Path | None) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 960}, color_scheme=theme, device_scale_factor=1.5)
    page.goto(scene.address)
    for _ in range(3):
        scene.begin("/waits?seconds=0.12", 25)
        scene.begin("/thread?seconds=0.2", 12)
    until(page, "[...model.requests.values()].filter((one) => one.ended !== null).length > 25")
    scene.begin("/blocks?seconds=0.6").join()
    scene.join()
    blocked = scene.begin("/blocks?seconds=3")
    expect(page.locator("#state")).to_contain_text("blocked by", timeout=3000)
    page.locator("#stalls button").first.click()
    expect(page.locator("#detail mark")).to_be_visible()
    shown = page.locator("main > section").first.screenshot()
    assert len(shown) > 10_000
    if screenshots is not None:
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=screenshots / f"inspect-{theme}.png")
    blocked.join()
    page.get_by_role("button", name="Close").click()
    for name in ("Routes", "Steps", "Charts"):
        tab(page, name)
        expect(page.locator(f"#{name.lower()} :is(tbody tr, canvas)").first).to_be_visible(timeout=5000)
        # One set of these is enough.
        if screenshots is not None and theme == "light":
            page.locator("main > section").nth(1).screenshot(path=screenshots / f"inspect-{name.lower()}.png")
    page.close()


def test_workers_are_looked_at_together_and_one_by_one(serve: Serve, browser: Browser) -> None:
    served = serve("inspected:app", "--workers=2", "--inspect=127.0.0.1:0", "--no-access-log", app_dir=APPS)
    scene = Scene(served)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(scene.address)
    choice = page.get_by_label("Worker")
    expect(choice.locator("option")).to_have_count(3, timeout=20000)
    served.wait_for("Application startup complete", count=2)
    for _ in range(50):
        if page.evaluate(BOTH):
            break
        for _ in range(4):
            scene.begin("/blocks?seconds=0.15")
        scene.join()
    for worker in ("1", "2"):
        choice.select_option(worker)
        until(page, f"model.stalls.length > 0 && model.stalls.every((stall) => stall.worker === {worker})")
        expect(page.locator("#stall-count")).to_have_text(str(page.evaluate("model.stalls.length")))
    choice.select_option("")
    until(page, BOTH)
    page.close()
