"""README is up to date: the make targets, the picture of the demo, the parts of the diagram."""

from __future__ import annotations

import re
import subprocess

from tests.codegen import demo_picture
from tests.integration.test_cli import success
from tests.support.builders.pages import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_make_target_of_documents_exists() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = {
        target
        for document in ("README.md", "CONTRIBUTING.md")
        for target in re.findall(r"(?:^\$ |`)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "check", "bench", "sync"} <= named
    for target in named:
        assert f"make {target} " in listed


def test_picture_of_demo_matches_its_output(fresh_database_url: str) -> None:
    shown = success("demo", DATABASE_URL=fresh_database_url)
    assert demo_picture.TARGET.read_text(encoding="utf-8") == demo_picture.picture(shown), "make picture writes it"


def test_site_shows_diagram_of_readme() -> None:
    (mermaid,) = re.findall(r"```mermaid\n(.*?)```", README, re.DOTALL)
    site = (ROOT / "docs" / "pages" / "architecture" / "index.md").read_text(encoding="utf-8")
    (drawn,) = re.findall(r"<svg class=\"diagram\".*?</svg>", site, re.DOTALL)
    words = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawn))
    quoted = re.findall(r"[\[\(]+\"?([^\]\)\"]+)\"?[\]\)]+", mermaid)
    labels = [*quoted, *re.findall(r"-[-.] (.+?) \.?--?>", mermaid)]
    assert len(labels) == 11
    for label in labels:
        for line in label.split("<br>"):
            assert line in words
