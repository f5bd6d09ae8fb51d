"""Upload and inspect files of parameters."""

from app.pages.checkpoints.callbacks import register
from app.pages.checkpoints.layout import layout
from app.pages.page import Page

PAGE = Page(path="/checkpoints", title="Checkpoints", layout=layout, register=register, icon="layers")
