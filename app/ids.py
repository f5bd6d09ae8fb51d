"""Every id that a callback names, made here and nowhere else.

A plain id is a string; ids of repeated parts are dicts, matched by `ALL`. Names are `<page>-<part>`.
"""

from __future__ import annotations

from typing import Any, Final

LOCATION: Final = "shell-location"
CONTENT: Final = "shell-content"
TITLE: Final = "shell-title"
NAVIGATION: Final = "shell-navigation"
NOTICES: Final = "shell-notices"

CHECKPOINTS_LIST: Final = "checkpoints-list"
CHECKPOINTS_TICK: Final = "checkpoints-tick"
CHECKPOINTS_DOOMED: Final = "checkpoints-doomed"
CHECKPOINTS_DIALOG: Final = "checkpoints-dialog"
CHECKPOINTS_DIALOG_TEXT: Final = "checkpoints-dialog-text"
CHECKPOINTS_CONFIRM: Final = "checkpoints-confirm"
CHECKPOINTS_KEEP: Final = "checkpoints-keep"
CHECKPOINTS_DELETED: Final = "checkpoints-deleted"

GALLERY_IMPORTED: Final = "gallery-imported"
GALLERY_MINE: Final = "gallery-mine"
GALLERY_TICK: Final = "gallery-tick"

NEW_CHECKPOINT_NOTE: Final = "new-checkpoint-note"
NEW_REQUEST: Final = "new-request"
NEW_ORIGIN: Final = "new-origin"
NEW_ORDER: Final = "new-order"
NEW_PRESET: Final = "new-preset"
NEW_DRAW: Final = "new-draw"
NEW_SHAPE: Final = "new-shape"
NEW_CUSTOM: Final = "new-custom"
NEW_TOLERANCE: Final = "new-tolerance"
NEW_CURVATURE: Final = "new-curvature"
NEW_CURVATURE_NOTE: Final = "new-curvature-note"
NEW_COST: Final = "new-cost"
NEW_COMPUTE: Final = "new-compute"
NEW_ASKED: Final = "new-asked"
NEW_REACH: Final = "new-reach"
NEW_FIT: Final = "new-fit"
NEW_FITTED: Final = "new-fitted"
NEW_RANGE_NOTE: Final = "new-range-note"
NEW_DATA_NOTE: Final = "new-data-note"
NEW_WAITING: Final = "new-waiting"
NEW_TICK: Final = "new-tick"

SURFACE_ADDRESS: Final = "surface-address"
SURFACE_LIVE: Final = "surface-live"
SURFACE_POINT: Final = "surface-point"
SURFACE_COLOURS: Final = "surface-colours"
SURFACE_VIEW: Final = "surface-view"
SURFACE_DONE: Final = "surface-done"
SURFACE_AGAIN: Final = "surface-again"
SURFACE_FOLLOWED: Final = "surface-followed"
SURFACE_GRAPH_NOTE: Final = "surface-graph-note"
SURFACE_BADGE: Final = "surface-badge"
SURFACE_PROBLEM: Final = "surface-problem"
SURFACE_BAR: Final = "surface-bar"
SURFACE_BAR_BOX: Final = "surface-bar-box"
SURFACE_PROGRESS: Final = "surface-progress"
SURFACE_CANCEL: Final = "surface-cancel"
SURFACE_RETRY: Final = "surface-retry"
SURFACE_CANCELLED: Final = "surface-cancelled"
SURFACE_CELL: Final = "surface-cell"
SURFACE_FACTS: Final = "surface-facts"
SURFACE_HOLES: Final = "surface-holes"
SURFACE_RUN: Final = "surface-run"
SURFACE_FLATNESS: Final = "surface-flatness"
SURFACE_QUESTION: Final = "surface-question"
SURFACE_PROVENANCE: Final = "surface-provenance"
SURFACE_PROJECTION: Final = "surface-projection"
SURFACE_COLOUR: Final = "surface-colour"
SURFACE_COLOUR_BY: Final = "surface-colour-by"
SURFACE_SWATCH: Final = "surface-swatch"
SURFACE_LOG: Final = "surface-log"
SURFACE_CLIP: Final = "surface-clip"
SURFACE_CONTOURS: Final = "surface-contours"
SURFACE_HOME: Final = "surface-home"
SURFACE_HOME_DONE: Final = "surface-home-done"
SURFACE_PICTURE: Final = "surface-picture"
SURFACE_PICTURE_DONE: Final = "surface-picture-done"
SURFACE_DOWNLOADS: Final = "surface-downloads"
SURFACE_SHARE: Final = "surface-share"
SURFACE_SHARE_DIALOG: Final = "surface-share-dialog"
SURFACE_SHARE_LABEL: Final = "surface-share-label"
SURFACE_SHARE_CREATE: Final = "surface-share-create"
SURFACE_SHARE_WISH: Final = "surface-share-wish"
SURFACE_SHARE_MADE: Final = "surface-share-made"
SURFACE_SHARE_REVOKED: Final = "surface-share-revoked"
SURFACE_SHARE_LIST: Final = "surface-share-list"

COMPARE_LINKED: Final = "compare-linked"
COMPARE_SAME: Final = "compare-same"
COMPARE_BOUND: Final = "compare-bound"
COMPARE_OTHER_SPLIT: Final = "compare-other-split"
COMPARE_LED: Final = "compare-led"
COMPARE_FIRST: Final = "compare-first"

SIDES: Final = ("a", "b")

ACTIVITY_TICK: Final = "activity-tick"
ACTIVITY_BODY: Final = "activity-body"

UPLOAD_KINDS: Final = ("checkpoint", "dataset", "directions", "surface")


def upload(kind: str) -> str:
    """The store that `upload.js` tells how far the upload of this kind is; laid out once, in the shell."""
    return f"upload-{kind}"


def side(name: str, part: str) -> str:
    """A part of one side of a comparison, `a` or `b`: `live`, `point`, `note`, `badge`, `bar`, `facts` and so on."""
    return f"compare-{name}-{part}"


def upload_part(kind: str, part: str) -> str:
    """A part of the upload panel of this kind: `panel`, `name`, `bar`, `text`, `resume`, `cancel`, `zone`."""
    return f"upload-{kind}-{part}"


def field(path: Any) -> dict[str, Any]:
    """The control of one field of the request, by its dotted path; `ALL` for every one of them."""
    return {"type": "request-field", "path": _without_dots(path)}


def field_error(path: Any) -> dict[str, Any]:
    """The frame around a control that has no place for an error of its own."""
    return {"type": "request-field-error", "path": _without_dots(path)}


def path_of(identity: dict[str, str]) -> str:
    """The dotted path that an id of `field` or `field_error` stands for."""
    return identity["path"].replace("-", ".")


def _without_dots(path: Any) -> Any:
    """Dash takes a dot in an id for the beginning of a property."""
    return path.replace(".", "-") if isinstance(path, str) else path


def delete_checkpoint(checkpoint: Any) -> dict[str, Any]:
    """The button that asks to delete a checkpoint."""
    return {"type": "delete-checkpoint", "checkpoint": checkpoint}


def revoke_share(token: Any) -> dict[str, Any]:
    """The button that revokes a link."""
    return {"type": "revoke-share", "token": token}
