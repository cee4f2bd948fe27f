"""The page that undoes a settled combat. A GET shows; only a POST acts.

`combat_history.actions.undo` checks the permission again and writes the audit.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import psycopg
from django import forms
from django.contrib import messages
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions.undo import (
    COMBAT,
    PERMISSION,
    Key,
    OnShortage,
    Preview,
    SkipReason,
    UndoRefused,
    UndoResult,
    preview_undo,
    undo_combat,
)
from combat_history.actions.undo_plan import Balance, ItemChange, Undo
from combat_history.admin.base import actor_of
from combat_history.admin.combats.combat_page import MAX_SHOWN, CombatPage
from combat_history.admin.forms import ReasonForm
from combat_history.admin.movements import change_of
from combat_history.admin.naming import Names, names
from combat_history.admin.rendering import EMPTY, combat_url, visible
from combat_history.insight import explain
from combat_history.models import CombatHistory, Status
from persistence.contract.errors import DomainFailure
from persistence.savers.combat.rows import Discrepancy

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

SKIPPED: dict[SkipReason, str | _StrPromise] = {
    SkipReason.PENDING: _("it is not settled yet"),
    SkipReason.FAILED: _("it failed, nothing of it was settled"),
    SkipReason.VOIDED: _("it is voided, nothing of it was settled"),
    SkipReason.UNDONE: _("it is undone already"),
    SkipReason.UNKNOWN: _("it is not in the history"),
}


class UndoForm(ReasonForm):
    on_shortage = forms.ChoiceField(
        label=_("If something falls short"),
        choices=[
            ("refuse", _("change nothing")),
            ("record", _("undo what can be undone; record each shortage")),
        ],
        initial="refuse",
        widget=forms.RadioSelect,
    )


def undo_url(request: HttpRequest, row: CombatHistory) -> str | None:
    """Where the button leads; None where this user cannot undo the combat."""
    is_settled = row.settlement_status == Status.PROCESSED
    if not is_settled or row.compensated_at is not None:
        return None
    if not request.user.has_perm(PERMISSION):
        return None
    return reverse("admin:combat_history_combathistory_undo", args=[row.pk])


class UndoPage(CombatPage):
    route = "<uuid:key>/undo/"
    name = "undo"
    fresh_for = PERMISSION
    kind = COMBAT
    title = _("Undo a settled combat")
    submit = _("Undo the combat")
    done = _("The combat is undone by counter-lines.")

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        key: Key = named["key"]
        form = UndoForm(request.POST if request.method == "POST" else None)
        if not self.may_act(request, PERMISSION):
            return self._undo(request, key, "refuse")
        if request.method == "POST" and form.is_valid():
            try:
                return self._undo(request, key, form.cleaned_data["on_shortage"])
            except UndoRefused:
                text = gettext(
                    "Nothing was changed: some of it can no longer be undone."
                )
                messages.error(request, text)
        return self._undo_page(request, key, form)

    def undo(self, key: Any, **decided: Any) -> UndoResult:
        return undo_combat(key, **decided)

    def back_url(self, key: Any) -> str:
        return combat_url(key)

    def head(self, request: HttpRequest, key: Any) -> dict[str, Any]:
        return self.combat_context(request, key, self.title)

    def _undo(
        self, request: HttpRequest, key: Key, on_shortage: OnShortage
    ) -> HttpResponse:
        try:
            done = self.undo(
                key,
                actor=actor_of(request),
                reason=request.POST.get("reason", ""),
                on_shortage=on_shortage,
            )
        except (Error, psycopg.Error, DomainFailure) as error:
            text = gettext("Nothing was changed: %s")
            messages.error(request, text % error)
        else:
            self._tell_undone(request, done)
        return HttpResponseRedirect(self.back_url(key))

    def _tell_undone(self, request: HttpRequest, done: UndoResult) -> None:
        if done.skipped is not None:
            messages.warning(request, _skipped(done.skipped))
        else:
            messages.success(request, self.done)
        if not done.announced:
            text = gettext(
                "Redis does not answer. For up to a day players may still be told "
                "that the reward was credited; repeat the action to correct that."
            )
            messages.warning(request, text)

    def _undo_page(
        self, request: HttpRequest, key: Key, form: UndoForm
    ) -> HttpResponse:
        failure = None
        try:
            seen = preview_undo(key, "refuse", self.kind)
        except DomainFailure as error:
            seen, failure = Preview(None), error
        if seen.skipped is SkipReason.UNKNOWN:
            raise Http404
        context = {
            **self.head(request, key),
            "form": form,
            "submit": self.submit,
            "skipped": _skipped(seen.skipped) if seen.skipped else None,
            "failure": explain.failure(failure.code) if failure else None,
            "failure_detail": visible(failure.detail) if failure else "",
            **(_undo_context(seen.undo) if seen.undo else {}),
        }
        template = "admin/combat_history/combathistory/undo.html"
        return TemplateResponse(request, template, context)


def _undo_context(undo: Undo) -> dict[str, Any]:
    """What every player has now, and would have after it."""
    changed = [row for c in undo.changes.values() for row in (c.before, c.after) if row]
    templates = {row.item_template_id for row in changed}
    templates |= {s.item_template_id for s in undo.shortages if s.item_template_id}
    balances = {id_ for owned in undo.before.values() for id_ in owned.named}
    named = names(undo.before, templates, balances)
    slots = {
        movement["inventory_id"]: visible(movement["slot_taken"])
        for line in undo.lines
        for movement in line.items
        if "slot_taken" in movement
    }
    changes: defaultdict[int, list[tuple[int, ItemChange]]] = defaultdict(list)
    for row_id, change in undo.changes.items():
        changes[change.character_id].append((row_id, change))
    return {
        "undo": undo,
        "players": [
            {
                "player": named.player(char_id),
                **_balances(undo.before[char_id], undo.after[char_id], named),
                "items": [
                    _item(row_id, change, named, slots.get(row_id))
                    for row_id, change in changes[char_id][:MAX_SHOWN]
                ],
                "more_items": max(0, len(changes[char_id]) - MAX_SHOWN),
            }
            for char_id in undo.before
        ],
        "shortages": [_shortage(short, named) for short in undo.shortages],
    }


def _balances(before: Balance, after: Balance, named: Names) -> dict[str, Any]:
    return {
        "xp": change_of(after.xp - before.xp, after.xp),
        "gold": change_of(after.gold - before.gold, after.gold),
        "balances": [
            (
                named.balance(id_),
                change_of(row.amount - before.named[id_].amount, row.amount),
            )
            for id_, row in after.named.items()
        ],
    }


def _item(
    row_id: int, change: ItemChange, named: Names, slot_taken: str | None
) -> dict[str, Any]:
    before, after = change.before, change.after
    row = after or before
    assert row is not None
    return {
        "item": named.piece(row.item_template_id, row.properties),
        # One that is not there yet has no id to show.
        "row": f"#{row_id}" if row_id > 0 else "",
        "before": before.quantity if before else 0,
        "after": after.quantity if after else 0,
        "is_removed": after is None,
        "is_put_back": before is None,
        "slot_taken": slot_taken,
        "durability_before": before.durability if before else None,
        "durability_after": after.durability if after else None,
        "is_mended": before is not None
        and after is not None
        and before.durability != after.durability,
    }


def _shortage(short: Discrepancy, named: Names) -> dict[str, Any]:
    item = named.item(short.item_template_id) if short.item_template_id else EMPTY
    if short.balance_id:
        item = named.balance(short.balance_id)
    row = f"#{short.inventory_id}" if short.inventory_id is not None else ""
    words = explain.discrepancy(short.code)
    return {
        "player": named.player(short.character_id),
        "code": short.code,
        "label": words.label,
        "meaning": words.meaning,
        "subject": f"{item} {row}".strip(),
        "wanted": short.wanted,
        "applied": short.applied,
    }


def _skipped(reason: SkipReason) -> str:
    return gettext("This cannot be undone: %s.") % SKIPPED[reason]
