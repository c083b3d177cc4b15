"""The page in a frame that grows with its content, where nothing may be kept: a Space's."""

import contextlib
import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Frame, Page, expect

from tests.browser.conftest import PATIENCE, SHOWN
from tests.browser.steps import small

OUTSIDE = """<!doctype html><title>frame</title><body style="margin:0">
<iframe src="{address}" style="width:100%;border:0" height="{height}"
  sandbox="allow-scripts allow-same-origin allow-forms allow-modals allow-popups allow-downloads">
</iframe>
<script>
  window.heights = [];
  addEventListener("message", ({{ data }}) => {{
    if (data.height === undefined) return;
    heights.push(data.height);
    document.querySelector("iframe").height = data.height;
  }});
</script>"""
# In the frame: what a browser does that keeps nothing for others' frames, and how Spaces measure.
INSIDE = """
if (window.parent !== window) {
  for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, {
    get() { throw new DOMException("The operation is insecure.", "SecurityError"); } });
  Object.defineProperty(Document.prototype, "cookie", {
    get() { throw new DOMException("The operation is insecure.", "SecurityError"); },
    set() { throw new DOMException("The operation is insecure.", "SecurityError"); } });
  setInterval(() => {
    const bottoms = [...document.querySelectorAll("[data-iframe-height]")]
      .map((each) => Math.ceil(each.getBoundingClientRect().bottom + scrollY));
    if (bottoms.length) parent.postMessage({ height: Math.max(...bottoms) }, "*");
  }, 100);
}
"""
SETTLED = "n => heights.length > n && new Set(heights.slice(-n)).size === 1"


@contextlib.contextmanager
def outside(text: str) -> Iterator[str]:
    """Serve the page that holds the frame, of an origin of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" else 204)
            self.send_header("content-type", "text/html")
            self.end_headers()
            if self.path == "/":
                self.wfile.write(text.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}/"
        serving.shutdown()


@pytest.fixture
def framed(new_context, watched, server):
    """Open the page in a frame of a height to begin with; returns both pages."""

    with contextlib.ExitStack() as stack:

        def make(query: str, height: int = 150, **options: object) -> tuple[Page, Frame]:
            text = OUTSIDE.format(address=f"{server.url}/{query}", height=height)
            context = new_context(**options)
            context.add_init_script(INSIDE)
            page = context.new_page()
            page.on("pageerror", lambda error: watched.errors.append(str(error)))
            page.on(
                "console",
                lambda said: watched.errors.append(said.text) if said.type == "error" else None,
            )
            page.set_default_timeout(PATIENCE)
            page.goto(stack.enter_context(outside(text)))
            frame = page.query_selector("iframe").content_frame()
            frame.wait_for_selector(SHOWN)
            return page, frame

        yield make
    watched.check()


@pytest.mark.parametrize("height", [150, 4000])
@pytest.mark.parametrize("width", [1600, 1000, 390])
def test_the_height_settles_at_that_of_the_content(framed, width, height):
    page, frame = framed(small("squares"), height, viewport={"width": width, "height": 800})
    page.wait_for_function(SETTLED, arg=15)
    settled = page.evaluate("heights.at(-1)")
    lowest = frame.evaluate("""() => Math.max(...['.panel', '.work', '.transport'].map(
        (name) => document.querySelector(name).getBoundingClientRect().bottom))""")
    assert abs(settled - lowest) <= 2
    assert 500 < settled < 3500


def test_a_run_is_trained_without_anything_being_kept(framed, server):
    page, frame = framed(small("squares"))
    frame.click("[data-do=train]")
    frame.wait_for_selector("[data-state=finished]")
    page.wait_for_function(SETTLED, arg=15)
    frame.click("[data-do=language]")
    expect(frame.locator("[data-do=train]")).to_contain_text("训练")
    link = frame.input_value("[data-link]")
    assert link.startswith(f"{server.url}/?")
    alone = page.context.new_page()
    alone.goto(link)
    alone.wait_for_selector(SHOWN)
    assert "hidden=2" in link
    expect(alone.locator("[data-link]")).to_have_value(link)
