"""Single pages in a real browser: what they show, what they refuse, how they behave in the dark, on a phone and without a mouse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.flow.scene import near, painted, shown, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

GALLERY = Path(__file__).parents[2] / "app" / "gallery" / "fashion-mlp"
ZONE = re.compile("Drop checkpoints here")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
HOSTILE = "<img src=x onerror=alert(1)>\u202egpj.pt"


def open_gallery_surface(page: Page) -> dict:
    page.goto("/")
    page.locator(".card", has_text="A small network on Fashion-MNIST").click()
    return painted(page)


def test_the_gallery_opens_its_surface_and_every_look_at_it(person):
    seen = open_gallery_surface(person)
    assert (seen["type"], seen["rows"], seen["columns"], seen["finite"]) == ("surface", 51, 51, 2601)
    expect(person.locator("#surface-badge")).to_have_text("Finished", ignore_case=True)
    expect(person.locator("#surface-facts")).to_contain_text("0.036")
    person.get_by_role("button", name="Download").click()
    expect(person.get_by_role("menuitem", name="NumPy (.npz)")).to_be_visible()
    expect(person.get_by_role("menuitem", name="Directions (.h5)")).to_have_count(0)
    for name in ("ParaView (.vtp)", "3-D print (.stl)", "3-D model (.glb)"):
        expect(person.get_by_role("menuitem", name=name)).to_be_visible()
    with person.expect_download() as taken:
        person.get_by_role("menuitem", name="3-D model (.glb)").click()
    assert re.fullmatch(r"[\w-]+-[0-9a-f]{8}\.glb", taken.value.suggested_filename)
    assert Path(taken.value.path()).read_bytes().startswith(b"glTF")
    person.get_by_role("button", name="Download").click()
    person.keyboard.press("Escape")
    person.get_by_label("Highest loss shown").fill("1.5")
    until(person, "window.lossAtlas.stream.current().view.clip === 1.5")
    assert shown(person)["high"] == pytest.approx(1.5)
    person.get_by_role("switch", name="Contour lines").check(force=True)
    person.get_by_label("Highest loss shown").fill("")
    person.get_by_text("Contours", exact=True).click()
    until(person, "document.querySelector('.surface-plot')._fullData[0].type === 'contour'")
    person.get_by_text("3-D", exact=True).click()
    until(person, "document.querySelector('.surface-plot')._fullLayout.scene?._scene")
    assert near(shown(person)["eye"], seen["eye"])


def test_a_curve_is_not_offered_as_a_solid(person, atlas):
    curve = {"format": "loss-atlas surface", "version": 1, "x": [-1, 0, 1], "y": None, "loss": [[1, 0, 1]], "accuracy": [[None] * 3],
             "stderr": [[None] * 3], "examples": [[10] * 3], "state": [[1] * 3], "request": None, "provenance": {}}  # fmt: skip
    answer = person.request.post(f"{atlas}/api/v1/surfaces/import?filename=line.json", data=curve)
    person.goto(f"/surface/{answer.json()['id']}")
    expect(person.locator("#surface-badge")).to_have_text("Finished", ignore_case=True)
    expect(person.locator("#surface-facts")).to_contain_text("3 points")
    person.get_by_role("button", name="Download").click()
    expect(person.get_by_role("menuitem", name="ParaView (.vtp)")).to_be_visible()
    expect(person.get_by_role("menuitem", name="3-D print (.stl)")).to_be_hidden()
    expect(person.get_by_role("menuitem", name="3-D model (.glb)")).to_be_hidden()


def test_the_keyboard_walks_from_cell_to_cell(person):
    open_gallery_surface(person)
    person.locator(".surface-graph").focus()
    cell = person.locator("#surface-cell")
    expect(cell).to_contain_text("the trained network")
    person.keyboard.press("ArrowRight")
    person.keyboard.press("ArrowRight")
    person.keyboard.press("ArrowUp")
    expect(cell).to_contain_text("0.04")
    expect(cell).to_contain_text("chosen")
    person.keyboard.press("Escape")
    expect(cell).to_contain_text("the trained network")


def test_a_refused_file_says_why_and_a_hostile_name_is_only_a_name(person, upload):
    person.goto("/checkpoints")
    upload(person, ZONE, HOSTILE, POINTER)
    card = person.locator(".file", has_text="onerror")
    expect(card).to_contain_text("Git LFS")
    expect(card.locator(".state")).to_have_text("Rejected", ignore_case=True)
    assert "<img src=x onerror=alert(1)>" in card.locator(".file-name").inner_text()
    expect(person.locator("img[src=x]")).to_have_count(0)
    expect(person.locator(".upload-name")).to_contain_text("<img src=x")
    upload(person, ZONE, "nothing.pt", b"")
    expect(person.locator(".upload-text")).to_contain_text("The file is empty")


def test_an_interrupted_upload_goes_on_where_it_was(person, upload):
    person.goto("/checkpoints")
    person.route("**/api/v1/uploads/**", lambda route: route.abort() if route.request.method == "PATCH" else route.continue_())
    upload(person, ZONE, "interrupted.pt", b"not a checkpoint, but long enough to be sent" * 1000)
    panel = person.locator(".upload-panel", has_text="interrupted.pt")
    expect(panel).to_contain_text("trying again")
    expect(panel).to_contain_text("press Resume")
    person.unroute("**/api/v1/uploads/**")
    panel.get_by_role("button", name="Resume").click()
    expect(person.locator(".file", has_text="interrupted.pt").locator(".state")).to_have_text("Rejected", ignore_case=True)


def test_an_upload_that_another_connection_holds_can_be_resumed(person, upload, watch):
    watch.expected.add(409)
    person.goto("/checkpoints")
    busy = '{"error": {"code": "conflict", "message": "Another connection is sending this upload; try again in a moment."}}'
    person.route(
        "**/api/v1/uploads/**",
        lambda route: (
            route.fulfill(status=409, content_type="application/json", body=busy)
            if route.request.method == "PATCH"
            else route.continue_()
        ),
    )
    person.clock.install()
    upload(person, ZONE, "held.pt", b"not a checkpoint, but long enough to be sent" * 1000)
    panel = person.locator(".upload-panel", has_text="held.pt")
    expect(panel).to_contain_text("trying again")
    for _ in range(10):
        person.clock.run_for(45_000)
        person.wait_for_timeout(100)
    expect(panel).to_contain_text("Another connection")
    person.unroute("**/api/v1/uploads/**")
    panel.get_by_role("button", name="Resume").click()
    person.clock.resume()
    expect(person.locator(".file", has_text="held.pt").locator(".state")).to_have_text("Rejected", ignore_case=True)


def test_a_checkpoint_is_deleted_only_after_a_question(person, upload):
    person.goto("/checkpoints")
    upload(person, ZONE, "to_delete.pt", b"not a checkpoint at all")
    card = person.locator(".file", has_text="to_delete.pt")
    expect(card.locator(".state")).to_have_text("Rejected", ignore_case=True)
    card.get_by_role("button", name="Delete to_delete.pt").click()
    dialog = person.get_by_role("dialog")
    expect(dialog).to_contain_text("to_delete.pt")
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()
    expect(card).to_be_visible()
    card.get_by_role("button", name="Delete to_delete.pt").click()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(card).to_have_count(0)


def test_the_form_says_what_does_not_fit_at_the_field(person):
    person.goto("/checkpoints")
    expect(person.get_by_role("link", name="New surface").nth(1)).to_be_visible()  # a network has been inspected
    person.goto("/new")
    compute = person.get_by_role("button", name="Compute")
    expect(compute).to_be_enabled()
    examples = person.get_by_label("Examples", exact=True)
    examples.fill("99999999")
    expect(person.locator(".cost")).to_contain_text("3,000")
    field = person.locator(".mantine-InputWrapper-root", has=examples)
    expect(field.locator(".mantine-InputWrapper-error")).to_contain_text("ask for at most 3,000")
    expect(compute).to_be_disabled()
    examples.fill("")
    expect(compute).to_be_enabled()
    expect(field.locator(".mantine-InputWrapper-error")).to_have_count(0)
    start = person.get_by_label("α from")
    start.fill("2")
    expect(person.locator(".cost")).to_contain_text("start must be below stop", ignore_case=True)
    start.fill("-1")
    expect(person.locator(".cost")).to_contain_text("Forward passes")
    person.get_by_label("Seed of η").fill("1")
    expect(person.locator(".cost")).to_contain_text("different seeds")
    before = person.get_by_label("Seed of δ").input_value()
    person.get_by_role("button", name="New draw").click()
    expect(person.get_by_label("Seed of δ")).not_to_have_value(before)
    expect(compute).to_be_enabled()


def test_each_kind_of_direction_has_its_own_controls(person):
    person.goto("/checkpoints")
    expect(person.get_by_role("link", name="New surface").nth(1)).to_be_visible()  # a network has been inspected
    person.goto("/new")
    compute, cost = person.get_by_role("button", name="Compute"), person.locator(".cost")
    expect(compute).to_be_enabled()

    def choose(label: str, option: str) -> None:
        person.get_by_label(label, exact=True).first.click()
        person.get_by_role("option", name=option).locator("visible=true").first.click()

    choose("Directions", "Towards other checkpoints")
    expect(cost).to_contain_text("Choose the checkpoint that δ leads to.")
    expect(person.get_by_label("Seed of δ")).to_be_hidden()
    own = person.get_by_label("Checkpoint", exact=True).first.input_value()
    choose("δ leads to", own)
    choose("η leads to", own)
    expect(cost).to_contain_text("the very checkpoint that it starts from")
    expect(compute).to_be_disabled()
    choose("Directions", "Principal directions")
    expect(cost).to_contain_text("Choose the checkpoints of a training run.")
    choose("Directions", "Eigenvectors of the Hessian")
    expect(person.get_by_label("Running statistics")).to_be_hidden()
    expect(compute).to_be_enabled()
    person.get_by_label("Number of η").fill("1")
    expect(cost).to_contain_text("Both directions are the same")
    person.get_by_label("Number of η").fill("-1")
    person.get_by_label("Examples of the Hessian").fill("64")
    expect(cost).to_contain_text("Forward passes")
    expect(compute).to_be_enabled()
    compute.click()
    person.wait_for_url("**/surface/*")
    expect(person.locator("#surface-badge")).to_have_text("Finished", ignore_case=True)
    expect(person.get_by_text("Hessian eigenvector 1 from the smallest eigenvalue, 64 examples")).to_be_visible()


def test_a_curve_is_drawn_with_its_band(person):
    person.goto("/new")
    person.get_by_text("One (a curve)").click()
    expect(person.get_by_label("β from")).to_be_hidden()
    person.get_by_role("button", name="Compute").click()
    person.wait_for_url("**/surface/*")
    expect(person.locator("#surface-badge")).to_have_text("Finished", ignore_case=True)
    assert painted(person)["type"] == "scatter"
    until(person, "document.querySelector('.surface-plot')._fullData[0].x.length === 25")
    names = person.evaluate("document.querySelector('.surface-plot')._fullData.map((trace) => trace.name)")
    assert names[:2] == ["mean loss", "± 2 standard errors"]
    expect(person.get_by_label("Kind of picture")).to_be_hidden()


def test_a_surface_is_cancelled_and_goes_on(person):
    person.goto("/new")
    person.get_by_text("101 · fine").click()
    person.get_by_label("Examples", exact=True).fill("")
    expect(person.locator(".cost")).to_contain_text("10,201")
    person.get_by_role("button", name="Compute").click()
    person.wait_for_url("**/surface/*")
    badge = person.locator("#surface-badge")
    painted(person)
    person.get_by_role("button", name="Cancel").click()
    expect(badge).to_have_text("Cancelled", ignore_case=True)
    person.get_by_role("button", name="Go on").click()
    expect(badge).to_have_text(re.compile("Computing|Finished", re.IGNORECASE))
    stage = shown(person)["stages"][-1]
    until(person, f"window.lossAtlas.stream.current().stages.at(-1) > {stage}")


def test_a_surface_file_is_brought_in(person, upload):
    person.goto("/")
    upload(person, re.compile("Open a surface file"), "brought.npz", (GALLERY / "surface.npz").read_bytes())
    person.get_by_role("link", name="Open the imported surface").click()
    seen = painted(person)
    assert (seen["rows"], seen["columns"]) == (51, 51)


def brightness(page: Page) -> float:
    """Of the page's ground, 0 … 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3]) / 3


def test_light_and_dark_follow_the_system_until_chosen(open_context):
    page = open_context(color_scheme="dark")
    page.goto("/activity")
    expect(page.locator(".worker")).to_have_count(1)
    assert brightness(page) < 40
    page.get_by_role("button", name="Switch between light and dark").click()
    until(page, "document.documentElement.dataset.mantineColorScheme === 'light'")
    assert brightness(page) > 220
    page.reload()
    expect(page.locator(".worker")).to_have_count(1)
    assert brightness(page) > 220
    page.close()
    light = open_context(color_scheme="light")
    light.goto("/activity")
    assert brightness(light) > 220


def test_nothing_is_wider_than_a_phone(open_context):
    page = open_context(width=390, height=844)
    for path, part in (("/", ".card"), ("/checkpoints", ".dropzone"), ("/new", ".cost .facts"), ("/activity", ".worker")):
        page.goto(path)
        page.locator(part).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("menuitem", name="Gallery").click()
    page.locator(".card").first.click()
    painted(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_page_begins_at_its_top_wherever_the_one_before_was(open_context):
    page = open_context(width=390, height=844)
    page.goto("/new")
    expect(page.get_by_role("button", name="Compute")).to_be_enabled()
    page.get_by_role("button", name="Compute").scroll_into_view_if_needed()
    assert page.evaluate("window.scrollY") > 100
    page.get_by_role("button", name="Compute").click()
    page.wait_for_url("**/surface/*")
    painted(page)
    assert page.evaluate("window.scrollY") == 0


@pytest.mark.parametrize("path", ["/nowhere", "/surface/0", "/s/never-made"])
def test_a_place_that_is_not_there_says_so(person, watch, path):
    watch.expected.add(404)
    answer = person.goto(path)
    assert answer
    expect(person.locator(".not-found")).to_be_visible()
    assert answer.status in {200, 404} if path.startswith("/surface") else answer.status == 404


def test_an_answer_that_is_no_page_is_told_as_that(person):
    """As of a proxy whose login has run out: it answers with its own page."""
    person.goto("/")
    person.route(
        "**/activity/content", lambda route: route.fulfill(status=200, content_type="text/html", body="<h1>Log in</h1>")
    )
    person.get_by_role("link", name="Activity").first.click()
    expect(person.locator(".not-found")).to_contain_text("What answered is no page of Loss Atlas (HTTP 200)")
    expect(person.locator(".not-found")).to_contain_text("login")
    person.unroute("**/activity/content")
    person.route("**/checkpoints/content", lambda route: route.abort())
    person.get_by_role("link", name="Checkpoints").first.click()
    expect(person.locator(".not-found")).to_contain_text("The server does not answer")


def test_the_labels_of_a_row_stand_level(person):
    person.goto("/checkpoints")
    expect(person.get_by_role("link", name="New surface").nth(1)).to_be_visible()  # a network has been inspected
    person.goto("/new")
    for label in ("Cut along", "Directions"):
        expect(person.get_by_text(label, exact=True).first).to_be_visible()
    tops = "['Cut along', 'Directions'].map(t => [...document.querySelectorAll('label')].find(l => l.textContent === t).getBoundingClientRect().y)"
    until(person, f"(([one, other]) => Math.abs(one - other) < 0.75)({tops})", 10)  # at one instant: the page fills from above


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_a_page_that_is_gone_back_to_stands_where_it_was_left(open_context, width, height):
    page = open_context(width=width, height=height)
    page.goto("/")
    card = page.locator(".card", has_text="A small network on Fashion-MNIST")
    card.wait_for()
    until(page, "document.documentElement.scrollHeight > 2000")
    page.evaluate("window.scrollTo(0, 0.5 * document.documentElement.scrollHeight)")  # its end moves while pictures come
    # The mouse would scroll to it first; pictures that come above move the place, so it is read at the click.
    place = page.evaluate("(() => { const y = window.scrollY; document.querySelector('.card').click(); return y; })()")
    assert place > 300
    page.wait_for_url("**/surface/*")
    painted(page)
    assert page.evaluate("window.scrollY") == 0
    page.wait_for_timeout(1000)  # the picture's page has its own height by then
    page.go_back()
    card.wait_for()
    until(page, f"Math.abs(window.scrollY - {place}) < 2", 10)


def test_every_visit_of_a_page_has_a_place_of_its_own(open_context):
    page = open_context(width=1440, height=500)

    def here(path: str, place: int) -> None:
        page.locator(f'.top-link[href="{path}"][aria-current="page"]').wait_for(state="attached")  # the page has come
        until(page, f"Math.abs(window.scrollY - {place}) < 2", 10)

    def follow(path: str) -> None:
        page.evaluate(f"""document.querySelector('.top-link[href="{path}"]').click()""")
        here(path, 0)

    page.goto("/")
    page.locator(".card").first.wait_for()
    page.evaluate("window.scrollTo(0, 300)")
    follow("/activity")
    follow("/")
    page.evaluate("window.scrollTo(0, 120)")
    follow("/")  # where one is already
    page.evaluate("window.scrollTo(0, 200)")
    follow("/activity")
    for path, place in (("/", 200), ("/", 120), ("/activity", 0), ("/", 300)):
        page.go_back()
        here(path, place)
    follow("/checkpoints")
    page.reload()
    here("/checkpoints", 0)
    page.go_back()
    here("/", 300)


FORM_SEEN = """() => {
  window.forms = [];
  new MutationObserver(() => {
    const form = document.querySelector('.form');
    if (form && window.forms.at(-1) !== form.className.trim()) window.forms.push(form.className.trim());
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['class'] });
}"""


def test_the_form_begins_with_what_is_chosen_alone(open_context):
    page = open_context(width=390, height=844)
    page.goto("/checkpoints")
    expect(page.locator("main").get_by_role("link", name="New surface").first).to_be_visible()  # a network has been inspected
    page.add_init_script(f"({FORM_SEEN})()")
    page.goto("/new")
    expect(page.get_by_role("button", name="Compute")).to_be_enabled()
    assert page.evaluate("window.forms") == ["form shape-surface order-seed directions-random curvature-off budget-exact"]
