"""The built site in a browser: every page on a phone's width, in its light and its dark colours."""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.browser import Browser

SITE: Final = Path(__file__).parents[2] / "build" / "site"
PHONE_PX: Final = 390
READABLE: Final = 4.5
"""The contrast of text that WCAG 2 asks for at level AA."""

# Each page is in a frame of a phone's width, looked at in both schemes; what is measured ends up in the <pre>.
_LOOK: Final = """<!doctype html><pre></pre>FRAMES<script>
const light = text => {
    const linear = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map(Number).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
const look = frame => {
    const root = frame.contentDocument, body = root.body, view = frame.contentWindow, schemes = {};
    for (const scheme of ["default", "slate"]) {
        body.setAttribute("data-md-color-scheme", scheme);
        const text = view.getComputedStyle(root.querySelector("article p, article li, article h1")).color;
        schemes[scheme] = contrast(text, view.getComputedStyle(body).backgroundColor);
    }
    return {width: root.documentElement.scrollWidth, schemes, heading: root.querySelector("h1")?.textContent};
};
onload = () => {
    const seen = [...document.querySelectorAll("iframe")].map(frame => [frame.getAttribute("src"), look(frame)]);
    document.querySelector("pre").textContent = JSON.stringify(Object.fromEntries(seen));
};
</script>"""


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pages() -> list[str]:
    if not SITE.is_dir():
        pytest.skip("the site is not built: make docs")
    return sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html") if path.name != "404.html")


@pytest.fixture
def address(tmp_path: Path, pages: list[str]) -> Iterator[str]:
    """The address of a server with the site, and with the page that checks all others."""
    served = tmp_path / "site"
    served.mkdir()
    for path in SITE.iterdir():
        (served / path.name).symlink_to(path)
    frames = "".join(f'<iframe src="{page}" width="{PHONE_PX}" height="800"></iframe>' for page in pages)
    (served / "look.html").write_text(_LOOK.replace("FRAMES", frames), encoding="utf-8")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_each_page_fits_a_phone_and_is_readable_in_both_schemes(
    browser: Browser, address: str, pages: list[str]
) -> None:
    document = browser.loaded(f"{address}/look.html")
    found = re.search(r"<pre>(\{.*\})</pre>", document, re.DOTALL)
    assert found is not None, document[:500]
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    assert sorted(seen) == pages
    assert {page: look["width"] for page, look in seen.items() if look["width"] > PHONE_PX} == {}
    assert {page: look["schemes"] for page, look in seen.items() if min(look["schemes"].values()) < READABLE} == {}
    assert [page for page, look in seen.items() if not look["heading"]] == []
