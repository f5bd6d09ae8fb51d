"""Ask for a surface: a form that says what it will cost."""

from app.pages.new_surface.callbacks import register
from app.pages.new_surface.layout import layout
from app.pages.page import Page

PAGE = Page(path="/new", title="New surface", layout=layout, register=register, icon="mountain")
