"""What SECURITY.md tells a proxy to let through is enough to see what a link opens, and opens nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Route, expect

from tests.flow.scene import painted, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECURITY = Path(__file__).parents[2] / "SECURITY.md"


def allowed_paths() -> list[str]:
    """The paths that SECURITY.md lists for people who only have a link."""
    listed = SECURITY.read_text().partition("people who only have a link")[2].partition(": that is all")[0]
    return [path.rstrip("…") for path in re.findall(r"`(/[^`]*)`", listed)]


@pytest.fixture
def link(atlas: str) -> str:
    with httpx.Client(base_url=f"{atlas}/api/v1") as http:
        surface = http.get("/surfaces").json()[0]["id"]
        return str(http.post(f"/surfaces/{surface}/shares", json={}).json()["url"])


def test_a_link_is_seen_through_a_proxy_that_passes_nothing_else(open_context, link):
    allowed, refused = allowed_paths(), []
    assert len(allowed) == 6, "SECURITY.md lists what a proxy passes"

    def proxy(route: Route) -> None:
        asked = route.request
        if asked.method == "GET" and urlsplit(asked.url).path.startswith(tuple(allowed)):
            route.continue_()
        else:
            refused.append(f"{asked.method} {asked.url}")
            route.abort()

    page = open_context(width=900, height=640)
    page.context.route("**", proxy)
    page.goto(link)
    assert painted(page)["finite"] == 2601
    expect(page.locator("#surface-facts")).to_contain_text("0.036")
    page.get_by_role("switch", name="Contour lines").check(force=True)
    until(page, "window.lossAtlas.stream.current().view.contours === true")
    assert page.title() == "A small network on Fashion-MNIST · Loss Atlas"
    assert refused == []


def test_what_the_proxy_passes_changes_nothing_and_lists_nothing(atlas, link):
    token = link.rpartition("/")[2]
    with httpx.Client(base_url=atlas) as http:
        known = http.get("/_dash-layout").text + http.get("/_dash-dependencies").text
        ids = [found["id"] for kind in ("surfaces", "checkpoints") for found in http.get(f"/api/v1/{kind}").json()]
        assert ids
        assert not [known_id for known_id in ids if known_id in known]
        shown = http.get(f"/s/{token}/content")
        assert shown.headers["cache-control"] == "private, no-store"
        assert shown.headers["x-robots-tag"] == "noindex, nofollow"
