"""The texts that a player reads after a button of an old fight: plain, no markup.

Telegram counts UTF-16 units, so lengths here are in those.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto

from django.conf import settings
from django.utils.translation import (
    get_supported_language_variant,
    gettext,
    ngettext,
    override,
)

from combat_history.reading import balance_names
from combat_history.reading.lookup import Credit, Lookup, State
from combat_history.reading.outcomes import Outcome, is_drawn, winner_of
from persistence.contract.meta import FinishReason

CALLBACK_LIMIT = 200
"""Characters that Telegram shows of the answer to a callback query."""

MESSAGE_LIMIT = 4096
CALLBACK_NAME_LIMIT = 40
"""Characters of a team's name in that answer: the lines below it must fit, too."""


def callback_text(lookup: Lookup, language: str | None) -> str:
    """At most CALLBACK_LIMIT; a long list of loot ends in an ellipsis.

    `language` is any code a client may send; one we do not speak gets LANGUAGE_CODE.
    """
    return _text(lookup, language, CALLBACK_LIMIT, CALLBACK_NAME_LIMIT)


def message_text(lookup: Lookup, language: str | None) -> str:
    """At most MESSAGE_LIMIT; see `callback_text`."""
    return _text(lookup, language, MESSAGE_LIMIT, MESSAGE_LIMIT)


def supported_language(language: str | None) -> str:
    try:
        return get_supported_language_variant(language or "")
    except LookupError:
        return settings.LANGUAGE_CODE


def _text(lookup: Lookup, language: str | None, limit: int, name_limit: int) -> str:
    with override(supported_language(language)):
        if lookup.state is State.UNKNOWN:
            return gettext("The fight is out of date or does not exist")
        if lookup.state is State.ACTIVE:
            return gettext("The fight is still going on")
        if lookup.state is State.CANNOT_SAY:
            return gettext(
                "The result cannot be looked up right now. Please try again later."
            )
        return _finished(lookup, limit, name_limit)


def _finished(lookup: Lookup, limit: int, name_limit: int) -> str:
    lines = [gettext("The fight is already over!")]
    named: list[str] = []
    loot: list[str] = []
    outcome = lookup.outcome
    if outcome is not None:
        lines += _ending(outcome, name_limit)
        # A reward that nobody will get, or keeps, is not named.
        if lookup.credit not in (Credit.CANCELLED, Credit.REVERSED):
            lines += _reward(outcome)
            named = _named(outcome)
            loot = _loot(outcome)
    status = _status(lookup)
    for text, entries in (("%(items)s", named), (gettext("Loot: %(items)s"), loot)):
        room = limit - _length("\n".join([*lines, *status])) - 1
        lines += _listed(text, entries, room)
    return "\n".join([*lines, *status])


def _ending(outcome: Outcome, name_limit: int) -> list[str]:
    """Lines that say how it ended, and who won where anybody did."""
    reasons: dict[str, str] = {
        FinishReason.FLEE: gettext("The fight ended in an escape"),
        FinishReason.ABANDONED: gettext("The fight was broken off"),
    }
    lines = [
        text for reason, text in reasons.items() if outcome.finish_reason == reason
    ]
    team = _plain(winner_of(outcome.winner_team) or "")
    if team and not is_drawn(outcome):
        known = {"blue": gettext("Blue"), "red": gettext("Red")}
        shown = known.get(team.lower()) or _cut(team, name_limit)
        return [*lines, gettext("Winner: %(team)s") % {"team": shown}]
    return lines or [_without_winner(outcome)]


def _without_winner(outcome: Outcome) -> str:
    """The line without a team's name: the player's own part says who won."""
    if is_drawn(outcome):
        return gettext("Draw")
    return gettext("Victory!") if outcome.is_winner else gettext("Defeat")


def _reward(outcome: Outcome) -> list[str]:
    gold, xp = outcome.gold, outcome.xp
    lines = []
    if gold < 0:
        penalty = ngettext("Penalty: %(gold)d gold", "Penalty: %(gold)d gold", -gold)
        lines.append(penalty % {"gold": -gold})
    elif gold:
        reward = ngettext("Reward: %(gold)d gold", "Reward: %(gold)d gold", gold)
        lines.append(reward % {"gold": gold})
    if xp:
        experience = ngettext(
            "Experience: %(xp)d point", "Experience: %(xp)d points", xp
        )
        lines.append(experience % {"xp": xp})
    if not lines and not outcome.loot and not any(outcome.balances.values()):
        lines.append(gettext("No reward"))
    return lines


def _named(outcome: Outcome) -> list[str]:
    # By id: a tombstone and PostgreSQL have them in orders of their own.
    moved = sorted((id_, n) for id_, n in outcome.balances.items() if n)
    names = balance_names.names([id_ for id_, _ in moved])
    return [f"{_plain(names[id_])} {amount:+d}" for id_, amount in moved]


def _loot(outcome: Outcome) -> list[str]:
    pieces: Counter[str] = Counter()
    for entry in outcome.loot:
        pieces[_plain(entry.name)] += entry.qty
    return [name if qty == 1 else f"{name} ×{qty}" for name, qty in pieces.items()]


def _listed(text: str, entries: list[str], room: int) -> list[str]:
    """The line with as many as fit; no line where not even an ellipsis does."""
    if not entries:
        return []
    for count in range(len(entries), -1, -1):
        shown = entries if count == len(entries) else [*entries[:count], "…"]
        line = text % {"items": ", ".join(shown)}
        if _length(line) <= room:
            return [line]
    return []


class _Moved(Enum):
    """The direction of a fight's settlement for one player."""

    GIVES = auto()
    TAKES = auto()
    BOTH_OR_NEITHER = auto()


def _moved(outcome: Outcome | None) -> _Moved:
    if outcome is None:
        return _Moved.GIVES  # nobody knows; it is what players wait for
    amounts = (outcome.gold, outcome.xp, *outcome.balances.values())
    gives = bool(outcome.loot) or any(amount > 0 for amount in amounts)
    takes = any(amount < 0 for amount in amounts)
    if gives == takes:
        return _Moved.BOTH_OR_NEITHER
    return _Moved.GIVES if gives else _Moved.TAKES


def _status(lookup: Lookup) -> list[str]:
    """The line on its settlement; only what is given is called credited."""
    credit, moved = lookup.credit, _moved(lookup.outcome)
    match credit, moved:
        case None, _:
            return []
        case Credit.REVERSED, _:
            return [gettext("The result of the fight was reversed")]
        case Credit.PENDING, _ if lookup.outcome is None:
            return [gettext("The result has not arrived yet")]
        case Credit.PENDING, _Moved.GIVES:
            return [gettext("Status: being credited")]
        case Credit.PENDING, _Moved.TAKES:
            return [gettext("Status: being deducted")]
        case Credit.PENDING, _:
            return [gettext("Status: being settled")]
        case Credit.CREDITED, _Moved.GIVES:
            return [gettext("Status: credited")]
        case Credit.CREDITED, _Moved.TAKES:
            return [gettext("Status: deducted")]
        case Credit.CREDITED, _:
            return [gettext("Status: settled")]
        case Credit.UNDER_REVIEW, _Moved.GIVES:
            return [gettext("Status: under review, nothing is credited yet")]
        case Credit.UNDER_REVIEW, _Moved.TAKES:
            return [gettext("Status: under review, nothing is deducted yet")]
        case Credit.UNDER_REVIEW, _:
            return [gettext("Status: under review")]
        case Credit.CANCELLED, _Moved.GIVES:
            return [gettext("Status: cancelled, nothing will be credited")]
        case Credit.CANCELLED, _Moved.TAKES:
            return [gettext("Status: cancelled, nothing will be deducted")]
        case _:
            return [gettext("Status: cancelled")]


def _plain(name: str) -> str:
    """One line without control characters: a name must not forge a line of ours."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


def _cut(text: str, limit: int) -> str:
    if _length(text) <= limit:
        return text
    while _length(text) >= limit:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
