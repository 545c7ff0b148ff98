"""The page in a real browser, over what the demo made."""

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.support.demo_run import ARGUMENTS, SCRIPT, serve
from tests.support.servers.server_process import answers_on, wait_until

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = Path(__file__).parents[2] / "build" / "page"
SIZES = {"1440": (1440, 900), "375": (375, 800)}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is missing")


@pytest.fixture(scope="module")
def address(demo: dict) -> Iterator[str]:
    with serve(demo["output_dir"]) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Root needs --no-sandbox; nothing but our own pages is opened.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, size: str = "1440", scheme: str = "dark") -> Iterator[Page]:
    """A tab; whatever its console or the network complains of fails the test."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, base_url="http://none"
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.on(
        "response",
        lambda r: complaints.append(f"{r.status} {r.url}") if r.status >= 400 else None,
    )
    yield page
    assert not complaints
    context.close()


def keep(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def created_image(demo: dict) -> dict:
    return next(i for i in demo["images"] if i["outcome"] == "created")


def wait_for_pixels(page: Page, pane: str = "science") -> None:
    """Until a pane shows something that is not of one colour."""
    page.wait_for_function(
        """(pane) => {
          const canvas = document.querySelector(`#pane-${pane} canvas`);
          if (!canvas || !canvas.width) return false;
          const w = canvas.width, h = canvas.height;
          const data = canvas.getContext("2d").getImageData(w / 4, h / 4, w / 2, h / 2).data;
          const seen = new Set();
          for (let i = 0; i < data.length; i += 4) if (data[i + 3]) seen.add(data[i]);
          return seen.size > 20;
        }""",
        arg=pane,
        timeout=60_000,
    )


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", list(SIZES))
def test_three_clicks_from_the_address_to_a_blinking_transient(
    demo: dict, address: str, browser: Browser, size: str, scheme: str
):
    image = created_image(demo)
    with opened(browser, size, scheme) as page:
        page.goto(f"{address}/")
        expect(page.locator("#live-words")).to_have_text("live")
        counts = page.locator(".counts dd")
        numbers = [demo["arrivals"], demo["created"], demo["skipped"], demo["failed"]]
        assert counts.all_inner_texts()[:4] == list(map(str, numbers))
        assert page.locator("#live tbody tr").count() == demo["arrivals"]
        assert overflow(page) <= 0
        keep(page, f"tonight-{scheme}-{size}")

        page.locator(f"#live a[href$='{image['dataset_id']}']").click()
        for pane in ("science", "template", "difference"):
            wait_for_pixels(page, pane)
        assert overflow(page) <= 0
        keep(page, f"image-{scheme}-{size}")

        page.locator("button.look").first.click()
        caption = page.locator("#caption-science")
        expect(caption).to_have_text("matched template")
        expect(caption).to_have_text("science")
        wait_for_pixels(page)
        keep(page, f"blink-{scheme}-{size}")


@pytest.mark.slow
def test_a_newcomer_is_three_clicks_from_the_demo_to_a_blinking_transient(
    browser: Browser, tmp_path: Path
):
    """As the README has it: `residua demo --serve` ends with an address, the first click."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["demo", "-o", str(tmp_path / "demo"), *ARGUMENTS, "--serve", "--port", str(port)]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *command], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        said = re.compile(rf"Open in a browser: (http://\S+:{port}/)")
        wait_until(lambda: said.search(log.read_text()), "its address", seconds=500)
        found = said.search(log.read_text())
        assert found is not None
        wait_until(lambda: answers_on(port), "it answers", seconds=60)
        with opened(browser) as page:
            page.goto(found[1])
            page.locator("#live tr:has(.tag.created) th a").first.click()
            wait_for_pixels(page)
            page.locator("button.look").first.click()
            for name in ("matched template", "science"):
                expect(page.locator("#caption-science")).to_have_text(name)
    finally:
        process.terminate()
        process.wait(120)


def overflow(page: Page) -> int:
    """Pixels by which a page is wider than the window."""
    script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(page.evaluate(script))


def brightness(page: Page, share: float = 0.06) -> float:
    """Mean of the middle of the leading pane."""
    return float(
        page.evaluate(
            """(share) => {
              const canvas = document.querySelector("#pane-science canvas");
              const n = Math.round(canvas.height * share);
              const x = canvas.width / 2 - n / 2, y = canvas.height / 2 - n / 2;
              const data = canvas.getContext("2d").getImageData(x, y, n, n).data;
              let sum = 0;
              for (let i = 0; i < data.length; i += 4) sum += data[i];
              return sum / (data.length / 4);
            }""",
            share,
        )
    )


def test_what_blinks_is_the_transient(demo: dict, address: str, browser: Browser):
    with opened(browser) as page:
        page.goto(f"{address}/view/{created_image(demo)['dataset_id']}")
        wait_for_pixels(page)
        page.locator("input[type=range]#speed").fill("0.5")
        page.locator("button.look").first.click()
        seen: dict[str, float] = {}
        for name in ("matched template", "science"):
            expect(page.locator("#caption-science")).to_have_text(name)
            page.wait_for_timeout(500)
            seen[name] = brightness(page)
        # The first detection is the brightest; it is in the visit image alone, or in the template.
        assert abs(seen["science"] - seen["matched template"]) > 25


def circles(page: Page, pane: str) -> list[float]:
    """Where the detections are drawn, across."""
    script = "(circles) => circles.map((c) => Number(c.getAttribute('cx')))"
    found: list[float] = page.locator(f"#pane-{pane} svg circle").evaluate_all(script)
    return found


def test_panes_move_together_and_the_keyboard_moves_them(
    demo: dict, address: str, browser: Browser
):
    with opened(browser) as page:
        page.goto(f"{address}/view/{created_image(demo)['dataset_id']}")
        wait_for_pixels(page)
        before = circles(page, "difference")
        page.locator("#pane-science .openseadragon-canvas").focus()
        page.keyboard.press("+")
        page.wait_for_timeout(800)
        after = {pane: circles(page, pane) for pane in ("science", "template", "difference")}
        assert after["template"] == pytest.approx(after["science"], abs=2)
        assert after["difference"] == pytest.approx(after["science"], abs=2)
        assert max(abs(a - b) for a, b in zip(after["difference"], before, strict=True)) > 10
        page.keyboard.press("b")
        expect(page.locator("#blink")).to_have_attribute("aria-pressed", "true")


def test_mask_planes_are_laid_over_by_name(demo: dict, address: str, browser: Browser):
    with opened(browser) as page:
        page.goto(f"{address}/view/{created_image(demo)['dataset_id']}")
        wait_for_pixels(page, "difference")
        page.locator(".masks summary").click()
        with page.expect_response(lambda r: "/tiles/mask/" in r.url) as answer:
            page.locator("input[name=mask][value=DETECTED]").check()
        assert answer.value.status == 200
        assert "show=DETECTED" in answer.value.url
        page.wait_for_timeout(500)
        keep(page, "masks")
        coloured = page.evaluate(
            """() => {
              const canvas = document.querySelector("#pane-difference canvas");
              const context = canvas.getContext("2d");
              const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
              let n = 0;
              for (let i = 0; i < data.length; i += 4) n += data[i + 1] > data[i] + 20;
              return n;
            }"""
        )
        assert coloured > 50


def test_every_control_has_a_name_and_every_heading_its_place(
    demo: dict, address: str, browser: Browser
):
    """What a screen reader says; Chromium's own tree of what is accessible."""
    with opened(browser) as page:
        for path in ("/", f"/view/{created_image(demo)['dataset_id']}", "/sign-in"):
            page.goto(f"{address}{path}")
            assert page.locator("h1").count() == 1
            assert page.locator("html").get_attribute("lang") == "en"
            nameless = page.evaluate(
                """() => [...document.querySelectorAll("button, a, input, select, textarea, img")]
                  .filter((e) => !e.closest("[aria-hidden=true]") && e.type !== "hidden")
                  .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim()
                    || e.labels?.length || e.hasAttribute("alt")))
                  .map((e) => e.outerHTML)"""
            )
            assert not nameless


def test_what_failed_says_who_should_act_and_how_to_try_again(
    demo: dict, address: str, browser: Browser
):
    failed = next(i for i in demo["images"] if i["outcome"] == "failed")
    with opened(browser) as page:
        page.goto(f"{address}/view/{failed['dataset_id']}")
        expect(page.locator("main")).to_contain_text("CorruptFileError")
        expect(page.locator("main")).to_contain_text("producer")
        expect(page.locator("pre.command")).to_contain_text("residua replay --instrument")
        keep(page, "failed")


@pytest.mark.parametrize(("size", "scheme"), [("1440", "light"), ("375", "dark")])
def test_the_other_pages_are_walked(
    demo: dict, address: str, browser: Browser, size: str, scheme: str
):
    image = created_image(demo)
    day, run = int(image["visit_detector"].split("/")[-2]) // 100_000, run_of(demo)
    with opened(browser, size, scheme) as page:
        page.goto(f"{address}/")
        page.get_by_role("link", name="Night", exact=True).click()
        expect(page.locator("h1")).to_have_text(f"Night {day}")
        expect(page.locator("#chart canvas")).to_be_visible()
        assert page.locator("svg.map").count() == 2
        expect(page.locator("main")).to_contain_text("CorruptFileError")
        expect(page.locator("main")).to_contain_text(f"residua replay --day-obs {day}")
        assert overflow(page) <= 0
        keep(page, f"night-{scheme}-{size}")

        page.get_by_role("link", name="Search", exact=True).click()
        page.locator("input[name=ra]").fill("150.13")
        page.locator("input[name=dec]").fill("2.2")
        page.locator("input[name=radius]").fill("0.05")
        page.get_by_role("button", name="Find").click()
        assert page.locator("a", has_text="look").count() >= 1
        keep(page, f"search-{scheme}-{size}")
        page.get_by_role("link", name="Noise and depth by band").click()
        expect(page.locator("#answer")).to_contain_text("1 rows")

        page.goto(f"{address}/compare?a={run}&b={run}&day={day}")
        expect(page.locator("main")).to_contain_text("visit-detectors in both")
        assert overflow(page) <= 0
        keep(page, f"compare-{scheme}-{size}")


def run_of(demo: dict) -> str:
    """The one run of the demo."""
    runs = Path(demo["output_dir"], "difference_images", "residua", "0", "demo").iterdir()
    return f"residua/0/demo/{next(runs).name}"


def test_a_click_tells_what_is_at_a_place(demo: dict, address: str, browser: Browser):
    with opened(browser) as page:
        page.goto(f"{address}/view/{created_image(demo)['dataset_id']}")
        wait_for_pixels(page, "difference")
        box = page.locator("#pane-difference").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
        expect(page.locator("#place")).to_contain_text("Nearest detection")
        expect(page.locator("#place")).to_contain_text("of its sigma")
        keep(page, "place")
