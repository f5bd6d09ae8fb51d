"""A link opens one surface, for reading, until it is revoked: SECURITY's rows 44 and 45, section 5.3."""

from __future__ import annotations

import hashlib
import http.client
from datetime import timedelta

import httpx
import pytest

from app.database import now
from app.schemas import Camera, Vector, View


@pytest.fixture(scope="module")
def surface(site):
    """A finished surface: the gallery's."""
    return next(s["id"] for s in site.http.get("/surfaces").json() if s["origin"] == "gallery")


@pytest.fixture
def link(site, surface):
    view = View(camera=Camera(eye=Vector(x=1, y=2, z=0.5)), colour="Magma", log=True, clip=3.5, contours=True)
    answer = site.http.post(f"/surfaces/{surface}/shares", json={"view": view.model_dump(), "label": "For the group"})
    assert answer.status_code == 201
    return answer.json(), view


def test_a_link_shows_its_surface_in_its_view(site, surface, link):
    made, view = link
    assert made["url"] == f"{site.url}/s/{made['token']}"
    assert len(made["token"]) == 22
    opened = site.http.get(f"/shares/{made['token']}").json()
    assert View.model_validate(opened["share"]["view"]) == view
    assert opened["share"]["label"] == "For the group"
    assert opened["surface"]["id"] == surface
    for suffix in ("npz", "h5", "csv", "json", "vtp", "stl", "glb"):
        shared = site.http.get(f"/shares/{made['token']}/data.{suffix}")
        assert shared.status_code == 200
        assert shared.headers["cache-control"] == "private, no-store"
        if suffix != "h5":  # it holds the time at which it was made
            assert shared.content == site.http.get(f"/surfaces/{surface}/data.{suffix}").content
    assert site.http.get(f"/shares/{made['token']}/preview.png").headers["content-type"] == "image/png"
    assert [kind for kind, _, _ in site.events(f"/shares/{made['token']}/events")] == ["surface", "progress", "end"]


def test_a_public_address_is_used_where_there_is_one(site, surface, start_site):
    other = start_site(site.settings.model_copy(update={"base_url": "https://atlas.example"}))
    assert other.http.post(f"/surfaces/{surface}/shares", json={}).json()["url"].startswith("https://atlas.example/s/")


def test_the_token_is_kept_nowhere(site, surface, link):
    token = link[0]["token"]
    for file in site.settings.data.glob("atlas.sqlite*"):
        assert token.encode() not in file.read_bytes()
    listed = site.http.get(f"/surfaces/{surface}/shares").json()
    assert token not in str(listed)
    with site.services.database.reading() as session:
        from app.database import ShareRow

        assert session.get(ShareRow, hashlib.sha256(token.encode()).hexdigest()) is not None


def test_a_listed_link_can_be_revoked_but_not_opened(site, surface, link):
    token = link[0]["token"]
    newest = site.http.get(f"/surfaces/{surface}/shares").json()[0]
    assert newest["url"] == ""
    assert site.http.get(f"/shares/{newest['token']}").status_code == 404
    assert site.http.delete(f"/shares/{newest['token']}").status_code == 204
    assert site.http.get(f"/shares/{token}").status_code == 404


def test_wrong_and_revoked_links_get_the_same_answer(site, link):
    token = link[0]["token"]
    answers = [
        site.http.get(f"/shares/{wrong}")
        for wrong in (token[:-1] + ("A" if token[-1] != "A" else "B"), token[:-1], "x" * 5000, "..%2f")
    ]
    assert site.http.delete(f"/shares/{token}").status_code == 204
    answers += [site.http.get(f"/shares/{token}{rest}") for rest in ("", "/data.npz", "/preview.png", "/events")]
    answers += [site.http.delete(f"/shares/{token}")]
    assert {answer.status_code for answer in answers} == {404}
    texts = {answer.text for answer in answers if not answer.url.path.endswith(("%2f", "../"))}
    assert len(texts) == 1, texts


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("rest", ["", "/data.npz", "/preview.png", "/events", "/cancel", "/retry", "/shares"])
def test_a_link_changes_nothing(site, link, method, rest):
    answer = site.http.request(method, f"/shares/{link[0]['token']}{rest}", json={})
    assert answer.status_code in {404, 405}


@pytest.mark.parametrize(
    "rest", ["/../../checkpoints", "/..%2f..%2fcheckpoints", "/%2e%2e/%2e%2e/checkpoints", "/../x/data.npz"]
)
def test_a_link_opens_no_other_surface(site, link, rest):
    connection = http.client.HTTPConnection("127.0.0.1", httpx.URL(site.url).port, timeout=20)
    connection.request("GET", f"/api/v1/shares/{link[0]['token']}{rest}")  # as it is: httpx would resolve the dots
    assert connection.getresponse().status == 404
    connection.close()
    assert site.http.get(f"/surfaces/{link[0]['token']}").status_code == 404


def test_what_is_no_view_is_refused(site, surface):
    for view, field in (
        ({"colour": "<script>"}, "view.colour"),
        ({"clip": -1}, "view.clip"),
        ({"projection": "globe"}, "view.projection"),
    ):
        answer = site.http.post(f"/surfaces/{surface}/shares", json={"view": view})
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert site.http.post(f"/surfaces/{surface}/shares", json={"label": "x" * 201}).status_code == 422


def test_links_cannot_be_made_for_what_is_not_there(site):
    assert site.http.post(f"/surfaces/{'0' * 64}/shares", json={}).status_code == 404


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paged(site):
    """A site with pages, on the same data."""
    running = type(site)(site.settings, pages=True).start()
    yield running
    running.stop()


def test_the_page_of_a_link_is_kept_out_of_caches_indexes_and_frames(paged, surface):
    made = paged.http.post(f"/surfaces/{surface}/shares", json={}).json()
    page = httpx.get(made["url"])
    assert page.status_code == 200
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-robots-tag"] == "noindex, nofollow"
    assert page.headers["cache-control"] == "private, no-store"
    assert page.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert f'<meta property="og:image" content="{paged.url}/api/v1/shares/{made["token"]}/preview.png">' in page.text
    embedded = httpx.get(f"{made['url']}?embed=1")
    assert "frame-ancestors *" in embedded.headers["content-security-policy"]
    assert "x-frame-options" not in embedded.headers
    assert paged.http.get(f"/surfaces/{surface}/shares").json()[0]["views"] == 2


def test_the_page_of_a_revoked_link_is_404(paged, surface):
    made = paged.http.post(f"/surfaces/{surface}/shares", json={}).json()
    paged.http.delete(f"/shares/{made['token']}")
    gone, wrong = httpx.get(made["url"]), httpx.get(f"{paged.url}/s/wrong")
    assert gone.status_code == wrong.status_code == 404
    assert "text/html" in gone.headers["content-type"]


def test_pages_have_a_strict_policy_with_their_own_scripts(paged):
    page = httpx.get(paged.url)
    policy = page.headers["content-security-policy"]
    assert "unsafe-eval" not in policy
    assert "script-src 'self' 'sha256-" in policy
    scripts = policy.partition("script-src")[2].partition(";")[0]
    assert "unsafe-inline" not in scripts
    assert httpx.get(f"{paged.url}/nowhere").status_code == 404
    assert httpx.get(f"{paged.url}/api/nowhere").json()["error"]["code"] == "not_found"
    assert httpx.get(f"{paged.url}/static/css/fonts.css?v=abc").headers["cache-control"].endswith("immutable")
    assert httpx.get(f"{paged.url}/static/../settings.py").status_code == 404


def test_the_gallery_is_there_from_the_start(site, paged, surface):
    info = site.http.get(f"/surfaces/{surface}").json()
    assert (info["state"], info["origin"], info["progress"]["done"]) == ("finished", "gallery", 1.0)
    assert info["request"]["checkpoint"] in [c["id"] for c in site.http.get("/checkpoints").json()]
    assert info["provenance"]["about"]["title"] == info["title"]
    assert site.http.delete(f"/surfaces/{surface}").status_code == 409
    assert [s["id"] for s in paged.http.get("/surfaces").json()].count(surface) == 1
    again = site.services.surface(surface)
    assert now() - again.created < timedelta(minutes=5)
