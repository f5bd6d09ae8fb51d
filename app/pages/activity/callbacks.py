"""The activity page's callback.

tick ──▶ refresh ──▶ body
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from dash import Dash, Input, Output
from dash.development.base_component import Component

from app import ids
from app.pages.activity.layout import body
from app.pages.notices import listen

if TYPE_CHECKING:
    from app.services import Services


def register(app: Dash, services: Services) -> None:
    """Adds the callback to the app."""
    listen(app)(Output(ids.ACTIVITY_BODY, "children"), Input(ids.ACTIVITY_TICK, "n_intervals"), prevent_initial_call=True)(
        partial(refresh, services)
    )


async def refresh(services: Services, _ticks: int) -> list[Component]:
    """The page as things are now."""
    return body(await asyncio.to_thread(services.activity))
