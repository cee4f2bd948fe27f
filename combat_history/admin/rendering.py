"""Data as HTML that cannot act: everything is escaped, cut to size, and visible."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from combat_history.insight import explain
from combat_history.models import CombatHistory, Status
from persistence.contract.ids import short_id

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

EMPTY = "—"

UNDONE = _("undone")
"""What a combat is whose `compensated_at` is set."""

MAX_SHOWN = 100_000
"""Characters of one document or traceback on a page; a document may be a megabyte."""

# Controls, the marks that would turn the writing direction of what follows, and lone
# surrogates, which no page can be written with.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Text whose control characters can be seen instead of acting."""
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cut(text: str) -> str:
    """At most MAX_SHOWN characters; the last line says how many are missing."""
    rest = len(text) - MAX_SHOWN
    if rest <= 0:
        return text
    note = ngettext("… %(count)d more character", "… %(count)d more characters", rest)
    return f"{text[:MAX_SHOWN]}\n{note % {'count': rest}}"


def pretty(document: object) -> str:
    """A JSON value to be read by people."""
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True)
    return cut(visible(text))


def as_json(value: object) -> str:
    """A JSON value within a line, as it stands in its document."""
    return visible(json.dumps(value, ensure_ascii=False))


def bytes_as_text(raw: bytes) -> str:
    """Bytes of unknown making: what is no UTF-8 shows as \\xNN."""
    return cut(visible(raw.decode("utf-8", "backslashreplace")))


def preformatted(text: str) -> SafeString:
    return format_html('<pre class="combat-raw">{}</pre>', text)


def badge(status: str) -> SafeString:
    return format_html(
        '<span class="combat-badge combat-{}">{}</span>', status, Status(status).label
    )


def badges(row: CombatHistory) -> SafeString:
    """The status, and whether the effects of it were undone."""
    shown = badge(row.settlement_status)
    if row.compensated_at is None:
        return shown
    return format_html(
        '{} <span class="combat-badge combat-undone">{}</span>',
        shown,
        UNDONE,
    )


def failure_label(code: str | None) -> str:
    """The code's plain words, with the code itself for logs and developers."""
    if not code:
        return EMPTY
    return format_html('<span title="{}">{}</span>', code, explain.failure(code).label)


def combat_url(session_id: UUID) -> str:
    return reverse("admin:combat_history_combathistory_change", args=[session_id])


def session_link(session_id: UUID) -> SafeString:
    return format_html(
        '<a class="combat-id" href="{}">{}</a>',
        combat_url(session_id),
        short_id(session_id),
    )
