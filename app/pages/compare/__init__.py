"""Two surfaces side by side: chosen, looked at together, shared; and the same behind two links."""

from app.pages.compare.callbacks import register, register_shared
from app.pages.compare.layout import layout, shared_layout
from app.pages.page import Page

PAGE = Page(path="/compare", title="Compare", layout=layout, register=register)
SHARED = Page(path="/s/<token>/<other>", title="Shared comparison", layout=shared_layout, register=register_shared)
