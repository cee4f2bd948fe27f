"""What a player can be told of a fight: the bot's own words, to be copied and sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import get_language_info

from combat_history.admin.rendering import session_link, visible
from combat_history.reading import history_row
from combat_history.reading.lookup import answer_of
from combat_history.reading.player_text import message_text
from persistence.contract.ids import parse_session_id

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

PARAMETER = "fight"


@dataclass(frozen=True, slots=True)
class Answer:
    """`texts`: code of a language, its own name for itself, and the text."""

    link: SafeString
    texts: list[tuple[str, str, str]]


def asked(request: HttpRequest) -> UUID | None:
    """The fight that the address names, if it names one."""
    try:
        return parse_session_id(request.GET.get(PARAMETER, ""))
    except ValueError:
        return None


def answer(char_id: int, session_id: UUID) -> Answer | None:
    """None of a fight that is not there, or is none of the player's."""
    row = history_row.read(session_id)
    if row is None or char_id not in row.participants:
        return None
    told = answer_of(row, char_id)
    texts = [
        (
            code,
            get_language_info(code)["name_local"],
            visible(message_text(told, code)),
        )
        for code, _name in settings.LANGUAGES
    ]
    return Answer(session_link(session_id), texts)
