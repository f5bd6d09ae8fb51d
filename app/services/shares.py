"""Links: 128 random bits that open one surface in one view, read only, until revoked. Only a token's SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from sqlalchemy import delete, select, update

from app.address import public_address
from app.database import ShareRow
from app.schemas import ShareInfo, SurfaceInfo, View
from app.services.surfaces import Surfaces
from landscape_core.errors import NotFound

TOKEN_BYTES = 16
NO_SUCH_LINK = "This link does not open anything: it was mistyped, or revoked by whoever made it."
"""The same for all tokens that open nothing."""


class Shares(Surfaces):
    """All about links."""

    def create_share(self, surface_id: str, view: View, label: str = "") -> ShareInfo:
        """Makes a link; this answer alone holds its token.

        Args:
            surface_id: What it opens.
            view: How.
            label: For its owner.

        Raises:
            NotFound: There is no such surface.
        """
        self.surface_row(surface_id)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        row = ShareRow(
            token_sha256=_digest(token),
            public_id=secrets.token_hex(8),
            surface=surface_id,
            view=view.canonical_json(),
            label=label[:200],
            views=0,
        )
        with self.database.writing() as session:
            session.add(row)
        return self._share_info(row, token)

    def create_link(self, surfaces: Sequence[str], view: View, label: str = "") -> str:
        """Makes a link to each of these surfaces, and the address that opens them together.

        The address of one surface is `/s/{token}`; that of two, side by side, `/s/{token}/{token}`. It opens nothing more than
        the two links do, and nothing once either of them is revoked.

        Args:
            surfaces: What it opens, one or two.
            view: How.
            label: For its owner, on each of the links.

        Raises:
            NotFound: There is no such surface.
        """
        for surface in surfaces:
            self.surface_row(surface)  # so that either all links are made, or none
        tokens = [self.create_share(surface, view, label).token for surface in surfaces]
        return f"{self._base()}/s/{'/'.join(tokens)}"

    def share(self, token: str) -> tuple[ShareInfo, SurfaceInfo]:
        """What a link opens.

        Raises:
            NotFound: Nothing.
        """
        row = self._share_row(token)
        return self._share_info(row, token), self.surface(row.surface)

    def is_shared(self, token: str) -> bool:
        """Whether a link opens something."""
        with self.database.reading() as session:
            return session.get(ShareRow, _digest(token)) is not None

    def shared_surface(self, token: str) -> str:
        """The id of the surface that a link opens.

        Raises:
            NotFound: None.
        """
        return self._share_row(token).surface

    def shares(self, surface_id: str) -> list[ShareInfo]:
        """The links to a surface, newest first; their `token` here is a public id that revokes but opens nothing.

        Raises:
            NotFound: There is no such surface.
        """
        self.surface_row(surface_id)
        with self.database.reading() as session:
            query = select(ShareRow).where(ShareRow.surface == surface_id).order_by(ShareRow.created.desc())
            rows = session.scalars(query).all()
        return [self._share_info(row, None) for row in rows]

    def revoke_share(self, key: str) -> None:
        """A link opens nothing from now on.

        Args:
            key: Its token, or its public id.

        Raises:
            NotFound: There is no such link.
        """
        with self.database.writing() as session:
            ours = (ShareRow.token_sha256 == _digest(key)) | (ShareRow.public_id == key)
            found = session.execute(delete(ShareRow).where(ours))
            if not found.rowcount:  # type: ignore[attr-defined]
                raise NotFound(NO_SUCH_LINK)

    def count_view(self, token: str) -> None:
        """A link was opened once more."""
        with self.database.writing() as session:
            ours = ShareRow.token_sha256 == _digest(token)
            session.execute(update(ShareRow).where(ours).values(views=ShareRow.views + 1))

    def _share_row(self, token: str) -> ShareRow:
        with self.database.reading() as session:
            row = session.get(ShareRow, _digest(token))
        if row is None:
            raise NotFound(NO_SUCH_LINK)
        return row

    def _base(self) -> str:
        return public_address(self.settings)

    def _share_info(self, row: ShareRow, token: str | None) -> ShareInfo:
        return ShareInfo(
            token=row.public_id if token is None else token,
            url="" if token is None else f"{self._base()}/s/{token}",
            surface=row.surface,
            view=View.model_validate_json(row.view),
            label=row.label,
            created=row.created,
            views=row.views,
        )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
