"""One codec for session ids: canonical UUID, 32 hex digits, 22 base64url characters.

The short form exists because Telegram callback data holds 64 bytes. Written form is
always the canonical UUID.
"""

from __future__ import annotations

import base64
import binascii
import re
from uuid import UUID

NO_SESSION = UUID(int=0)
"""Where there is no session: it sorts before every other."""

SHORT_LENGTH = 22
_SHORT = re.compile(r"[A-Za-z0-9_-]{22}")
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_CANONICAL = re.compile(
    r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
)


def parse_session_id(value: object) -> UUID:
    """Read any accepted form. Raises ValueError that names the accepted forms."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        if _CANONICAL.fullmatch(value) or _HEX.fullmatch(value):
            return UUID(value)
        if _SHORT.fullmatch(value):
            return _from_short(value)
    raise ValueError(
        f"{str(value)[:80]!r} is not a session id: expected a UUID, 32 hex digits "
        f"or {SHORT_LENGTH} base64url characters"
    )


def short_id(session_id: UUID) -> str:
    """The 22-character base64url form of a session id."""
    return base64.urlsafe_b64encode(session_id.bytes).rstrip(b"=").decode("ascii")


def _from_short(value: str) -> UUID:
    try:
        raw = base64.b64decode(value + "==", altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(f"{value!r} is not a session id: {error}") from error
    session_id = UUID(bytes=raw)
    # 22 characters carry 132 bits: without this check four texts would name one id.
    if short_id(session_id) != value:
        raise ValueError(f"{value!r} is not a session id: trailing bits are set")
    return session_id
