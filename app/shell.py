"""What surrounds every page: head, navigation, colour scheme, notifications, uploads in progress, and the way to a page.

    location ──▶ clientside `shell.show` ──▶ content, title   (it asks for `show`'s answer below the page's own address)
    location ──▶ clientside `shell.arrive` ──▶ navigation marks; a figure that was left closes its stream

Pages are listed in `app.pages.PAGES` and found by their path here, not by Dash's page plugin: on FastAPI that plugin calls
layouts on the event loop, and adds an inline script at the first request, after the hashes of the content security policy
have been taken.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, dcc, html
from dash.development.base_component import Component

from app import ids
from app.pages import PAGES, Page
from app.pages.blocks import aria, data_attributes, empty, icon, link_button
from landscape_core.errors import NotFound

if TYPE_CHECKING:
    from app.services import Services
    from app.settings import AppSettings

STATIC = Path(__file__).parent / "static"
STYLES = ("css/fonts.css", "css/icons.css", "css/atlas.css", "css/surface.css", "css/compare.css")
SCRIPTS = (
    "vendor/tus-js-client/tus.min.js",
    "javascript/values.js",
    "javascript/scene.js",
    "javascript/curves.js",
    "javascript/way.js",
    "javascript/events.js",
    "javascript/sharpness.js",
    "javascript/picture.js",
    "javascript/stream.js",
    "javascript/upload.js",
    "javascript/whereabouts.js",
    "javascript/clientside.js",
)
DESCRIPTION = "An interactive atlas of neural-network loss landscapes: filter-normalised surfaces, measured and shared."

THEME: dict[str, Any] = {
    "primaryColor": "indigo",
    "primaryShade": {"light": 6, "dark": 5},
    "fontFamily": '"Inter Variable", Inter, system-ui, -apple-system, "Segoe UI", sans-serif',
    "fontFamilyMonospace": 'ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace',
    "headings": {"fontWeight": "650"},
    "defaultRadius": "md",
    "cursorType": "pointer",
    "colors": {
        "indigo": [
            "#eef2ff", "#e0e7ff", "#c7d2fe", "#a5b4fc", "#818cf8", "#6366f1", "#4f46e5", "#4338ca", "#3730a3", "#312e81",
        ],
        "dark": [
            "#d5dceb", "#b4bfd3", "#93a0b8", "#647189", "#38435a", "#2a3347", "#1b2231", "#11161f", "#0c1018", "#080b11",
        ],
    },
}  # fmt: skip


def build(dash_app: Dash, services: Services) -> None:
    """Gives the Dash app its layout, its pages and their callbacks.

    Args:
        dash_app: A Dash app on FastAPI, without pages of its own; `static/` is served under `/static/`.
        services: What the pages ask; its methods block, so they are called in threads.
    """
    dash_app.title = "Loss Atlas"
    dash_app.backend.websocket_capability = False  # else every tab would hold a websocket open, which no callback here uses
    dash_app.config.suppress_callback_exceptions = True
    dash_app.index_string = index_string()
    dash_app.layout = layout()
    dash_app.clientside_callback(
        ClientsideFunction("shell", "show"),
        Output(ids.CONTENT, "children"),
        Output(ids.TITLE, "data"),
        Input(ids.LOCATION, "pathname"),
        Input(ids.LOCATION, "search"),
    )
    dash_app.clientside_callback(
        ClientsideFunction("shell", "arrive"),
        Output(ids.NAVIGATION, "data-path"),
        Input(ids.LOCATION, "pathname"),
        Input(ids.TITLE, "data"),
    )
    for page in PAGES:
        page.register(dash_app, services)


async def show(services: Services, settings: AppSettings, pathname: str, query: Mapping[str, str]) -> tuple[Component, str]:
    """The page of a path, and its title.

    A page is asked for by GET below its own address, not by a callback of Dash, which are all behind one address: so a proxy
    can let people who have a link see its page, and keep them from every callback that changes something.

    Raises:
        NotFound: There is no such page, or nothing to be shown on it.
    """
    page, variables = find(pathname)
    return await page.layout(services, settings, query, **variables), f"{page.title} · Loss Atlas"


def find(pathname: str) -> tuple[Page, dict[str, str]]:
    """The page of a path, and the values of the variables in it.

    Raises:
        NotFound: No page has this path.
    """
    for page in PAGES:
        pattern = re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", page.path)
        if found := re.fullmatch(pattern, pathname.rstrip("/") or "/"):
            return page, found.groupdict()
    raise NotFound("There is no page at this address. It may have been mistyped.")


def not_found(text: str, shared: bool) -> Component:
    """What is shown in place of a page that does not exist."""
    if shared:
        text = "This link opens nothing: it was mistyped, or the person who made it has revoked it. Ask them for a new one."
    action = None if shared else link_button("To the gallery", "/", "house")
    return html.Div(empty("compass", "Nothing at this place on the map", text, action), className="not-found")


def layout() -> Component:
    """The frame around the pages."""
    frame = dmc.AppShell(
        [
            dmc.AppShellHeader(header(), className="top"),
            dmc.AppShellMain(html.Div(id=ids.CONTENT, className="content")),
        ],
        header={"height": 56},
        padding=0,
    )
    return dmc.MantineProvider(
        [
            dcc.Location(id=ids.LOCATION, refresh="callback-nav"),
            dcc.Location(id=ids.COMPARE_LED, refresh="callback-nav"),  # stays: one that left with its page would still be told
            dcc.Store(id=ids.TITLE),
            *[dcc.Store(id=ids.upload(kind)) for kind in ids.UPLOAD_KINDS],
            dmc.NotificationContainer(id=ids.NOTICES, position="bottom-right", zIndex=1000),
            frame,
        ],
        theme=THEME,
        defaultColorScheme="auto",
    )


def header() -> Component:
    """Logo, navigation, colour scheme."""
    home = dmc.Anchor(
        [html.Img(src="/static/images/logo.svg", alt="", width=28, height=28), html.Span("Loss Atlas")],
        href="/",
        underline="never",
        className="brand",
    )
    listed = [page for page in PAGES if page.icon]
    links = [dmc.Anchor(page.title, href=page.path, underline="never", className="top-link") for page in listed]
    menu = dmc.Menu(
        [
            dmc.MenuTarget(dmc.ActionIcon(icon("menu"), variant="subtle", color="gray", size="lg", **aria(label="Menu"))),
            dmc.MenuDropdown([dmc.MenuItem(p.title, href=p.path, leftSection=icon(p.icon or "")) for p in listed]),
        ],
        position="bottom-end",
        width=200,
    )
    scheme = dmc.ColorSchemeToggle(
        lightIcon=icon("moon"), darkIcon=icon("sun"), variant="subtle", color="gray", size="lg",
        **aria(label="Switch between light and dark"),
    )  # fmt: skip
    return html.Div(
        [
            home,
            html.Nav(
                links,
                id=ids.NAVIGATION,
                className="top-links",
                **aria(label="Main"),
                **data_attributes(path=""),
            ),
            html.Div([scheme, html.Div(menu, className="top-menu")], className="top-end"),
        ],
        className="top-inner",
    )


def index_string() -> str:
    """The HTML around the app: our styles and scripts, each with a mark of its content so that caches notice changes."""

    def address(name: str) -> str:
        return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"

    styles = "\n".join(f'    <link rel="stylesheet" href="{address(name)}">' for name in STYLES)
    scripts = "\n".join(f'    <script src="{address(name)}"></script>' for name in SCRIPTS)
    return f"""<!DOCTYPE html>
<html lang="en">
  <head>
    {{%metas%}}
    <meta name="description" content="{DESCRIPTION}">
    <meta name="color-scheme" content="light dark">
    <title>{{%title%}}</title>
    <link rel="icon" type="image/svg+xml" href="{address("favicon.svg")}">
    <script src="{address("javascript/theme.js")}"></script>
    {{%css%}}
{styles}
  </head>
  <body>
    {{%app_entry%}}
    <footer>
      {{%config%}}
      {{%scripts%}}
{scripts}
      {{%renderer%}}
    </footer>
  </body>
</html>"""
