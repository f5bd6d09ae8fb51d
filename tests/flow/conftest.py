"""Real Chromium, watched: no error in its console, no request to another host, no dialog.

Software rendering (SwiftShader) draws the 3-D scenes, so viewports are small and only one scene is open at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",  # pages are put together without it: a third less work for the processor
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
PATIENCE_MS = 120_000
"""How long the browser waits for anything; it shares two cores with the worker that it watches."""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium: nothing is downloaded.

    It ends with its file of tests. pytest-playwright's own would last for the whole run, and with it an event loop in the
    main thread, in which no later test could run one of its own.
    """
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


class Watch:
    """What went wrong in the pages of a test.

    Args:
        host: The address of the Loss Atlas; requests to any other are wrong.
    """

    def __init__(self, host: str) -> None:
        self.host, self.problems = host, []
        self.expected: set[int] = set()

    def follow(self, page: Page) -> Page:
        """Watches a page."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)
        page.on("dialog", lambda dialog: (self.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(f"console: {message.text} {message.location}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.host}/", "data:", "blob:")):
            self.problems.append(f"foreign request: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.problems.append(f"status {response.status}: {response.url}")


@pytest.fixture
def watch(atlas: str) -> Iterator[Watch]:
    """Watches pages, and fails if anything went wrong in them."""
    watching = Watch(atlas)
    yield watching
    assert not watching.problems


@pytest.fixture
def open_context(browser: Browser, atlas: str, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Opens a page in a browser context of its own: another person's browser, so to say."""
    contexts: list[BrowserContext] = []

    def open_page(width: int = 920, height: int = 560, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, base_url=atlas, **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        return watch.follow(context.new_page())

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def person(open_context: Callable[..., Page]) -> Page:
    """A page in a browser."""
    return open_context()


@pytest.fixture
def upload() -> Callable[[Page, str, str, bytes], None]:
    """Picks a file for a drop zone, by the button that the keyboard reaches too."""

    def pick(page: Page, zone: str, name: str, content: bytes) -> None:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name=zone).click()
        chooser.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})

    return pick
