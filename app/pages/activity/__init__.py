"""What the workers are doing."""

from app.pages.activity.callbacks import register
from app.pages.activity.layout import layout
from app.pages.page import Page

PAGE = Page(path="/activity", title="Activity", layout=layout, register=register, icon="activity")
