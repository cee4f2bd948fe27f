"""The worklist of the first page: a card for each thing that needs a person now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from combat_history.admin.naming import player_url
from combat_history.admin.rendering import visible
from combat_history.admin.review.failures import FAILURES, group_context
from combat_history.insight import worklist
from combat_history.insight.failures import failures
from combat_history.models import CombatHistory
from persistence.contract.errors import FailureCode

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

MAX_NOTE = 200
MAX_GROUPS = 5
"""Groups of failures with a card of their own; the others are behind one link."""

BAD, WARN = "bad", "warn"

RECORDS = {
    "rejected": (BAD, "rejectedpayload", _("Rejected and conflicting documents")),
    "parked": (WARN, "parkedoperation", _("Parked operations")),
    "discrepancy": (WARN, "settlementdiscrepancy", _("Discrepancies")),
}
"""By what waits: how bad it is, its model, and its name."""


@dataclass(frozen=True, slots=True)
class Card:
    """One thing to do. `button`: what is done first, at `url`."""

    tone: str
    title: str | _StrPromise
    url: str
    button: str | _StrPromise
    facts: list[str] = field(default_factory=list)
    oldest: datetime | None = None


def context(request: HttpRequest) -> dict[str, Any]:
    """For who may view combats. `is_new`: no fight has ever come."""
    seen = failures(worklist.MAX_LOOKED_AT)
    awake = [group for group in seen.groups if not group.cause.is_snoozed]
    told = [group_context(group, request.user) for group in awake[:MAX_GROUPS]]
    cards = [*map(_of_group, told), *_of_records(request), *_of_players(request)]
    return {
        "cards": sorted(cards, key=lambda card: card.tone != BAD),
        "more_groups": max(0, len(awake) - MAX_GROUPS) + seen.more_groups,
        "failures_url": reverse(FAILURES),
        "is_new": not cards and not CombatHistory.objects.exists(),
    }


def _of_group(group: dict[str, Any]) -> Card:
    stakes = group["stakes"]
    url, button = (*group["remedies"], (group["group_url"], _("Look at it")))[0]
    return Card(
        WARN if group["code"] == FailureCode.HELD_FOR_REVIEW else BAD,
        group["title"],
        url,
        button,
        [_combats(stakes.combats), _players(stakes.players), *_withheld(stakes)],
        stakes.oldest,
    )


def _withheld(stakes: Any) -> Iterator[str]:
    if stakes.gold:
        yield gettext("%(amount)s gold") % {"amount": stakes.gold}
    if stakes.xp:
        yield gettext("%(amount)s XP") % {"amount": stakes.xp}


def _of_records(request: HttpRequest) -> Iterator[Card]:
    for one in worklist.waiting():
        tone, model, title = RECORDS[one.kind]
        if request.user.has_perm(f"combat_history.view_{model}"):
            url = reverse(f"admin:combat_history_{model}_changelist")
            many = one.number == worklist.MAX_LOOKED_AT
            facts = [f"{one.number}+" if many else str(one.number)]
            facts += [_players(one.players)] if one.players else []
            yield Card(tone, title, url, _("Look at it"), facts, one.oldest)


def _of_players(request: HttpRequest) -> Iterator[Card]:
    if not request.user.has_perm("combat_history.view_character"):
        return
    for one in worklist.handed_over():
        title = gettext("%(player)s: handed over to %(who)s") % {
            "player": f"{visible(one.name)} ({one.character_id})",
            "who": one.to,
        }
        facts = [visible(one.note[:MAX_NOTE])] if one.note else []
        url = player_url(one.character_id)
        yield Card(WARN, title, url, _("Look at it"), facts, one.since)


def _combats(count: int) -> str:
    return ngettext("%(count)d combat", "%(count)d combats", count) % {"count": count}


def _players(count: int) -> str:
    text = ngettext("%(count)d player waits", "%(count)d players wait", count)
    return text % {"count": count}
