"""One surface: watch it appear, look at it, share it."""

from app.pages.page import Page
from app.pages.surface.callbacks import register
from app.pages.surface.layout import layout

PAGE = Page(path="/surface/<surface>", title="Surface", layout=layout, register=register)
