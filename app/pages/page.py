"""What a page is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from dash import Dash
from dash.development.base_component import Component


@dataclass(frozen=True)
class Page:
    """One screen.

    Attributes:
        path: Its path; `<name>` stands for a variable.
        title: For the navigation and the window.
        layout: `layout(services, settings, query, **variables)`; raises `NotFound` for what does not exist.
        register: `register(app, services)` adds its callbacks.
        icon: Its icon in the navigation; None keeps it out of there.
    """

    path: str
    title: str
    layout: Callable[..., Awaitable[Component]]
    register: Callable[[Dash, Any], None]
    icon: str | None = None
