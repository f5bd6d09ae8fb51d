"""One surface as a link shows it: read only."""

from app.pages.page import Page
from app.pages.shared.callbacks import register
from app.pages.shared.layout import layout

PAGE = Page(path="/s/<token>", title="Shared surface", layout=layout, register=register)
