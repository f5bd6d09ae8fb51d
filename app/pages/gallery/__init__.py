"""The first screen: what a loss landscape is, examples to open, and the surfaces made here."""

from app.pages.gallery.callbacks import register
from app.pages.gallery.layout import layout
from app.pages.page import Page

PAGE = Page(path="/", title="Gallery", layout=layout, register=register, icon="house")
