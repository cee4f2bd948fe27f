"""The page of preview: what a replay would do, and the replay of exactly that.

A GET shows; only a POST acts. `combat_history.actions.replay` checks the permission
again, and writes the audit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions import correct
from combat_history.actions.dry_run import DryRun, dry_run
from combat_history.actions.replay import PERMISSION, Terms, replay
from combat_history.admin import catalogue, movements, sides
from combat_history.admin.combats import dossier
from combat_history.admin.combats.combat_page import MAX_SHOWN, CombatPage
from combat_history.admin.forms import SHORTAGES, ReasonForm
from combat_history.admin.naming import Names, names
from combat_history.admin.rendering import visible
from combat_history.insight import explain
from combat_history.models import CombatHistory, Status
from persistence.savers.combat.rows import LedgerEntry

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class PreviewForm(ReasonForm):
    """`fingerprint` names the state on the page: another one is refused."""

    shortages = forms.ChoiceField(label=_("Shortages"), choices=SHORTAGES)
    fingerprint = forms.CharField(
        required=False, min_length=64, max_length=64, widget=forms.HiddenInput
    )


class PreviewPage(CombatPage):
    route = "<uuid:session_id>/preview/"
    name = "preview"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        session_id: UUID = named["session_id"]
        may_replay = self.may_act(request, PERMISSION, viewers_look=True)
        if request.method == "POST":
            form = PreviewForm(request.POST)
            if not may_replay or form.is_valid():
                return self._replay(request, session_id)
            policy = form.data.get("shortages", "record")
        else:
            policy = request.GET.get("shortages", "record")
            form = PreviewForm(initial={"shortages": policy})
        try:
            seen = dry_run(session_id, fail_on_shortage=policy == "fail")
        except LookupError as error:
            raise Http404(str(error)) from None
        combat = CombatHistory.objects.defer("result_payload").get(pk=session_id)
        context = {
            **self.combat_context(request, session_id, _("What a replay would do")),
            **dry_run_context(request, seen),
            "form": form,
            "policy": policy,
            "policies": SHORTAGES,
            "may_replay": may_replay and combat.settlement_status == Status.FAILED,
            "status": combat.get_settlement_status_display(),
        }
        template = "admin/combat_history/combathistory/preview.html"
        return TemplateResponse(request, template, context)

    def _replay(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        fingerprint = request.POST.get("fingerprint", "")
        terms = Terms(
            request.POST.get("shortages", "record"),
            {session_id: fingerprint} if fingerprint else {},
        )

        def act(actor: User, reason: str) -> str:
            result = replay([session_id], actor=actor, reason=reason, terms=terms)
            if result.replayed:
                return gettext("The combat was put back into the queue on these terms.")
            return gettext("Nothing was replayed: the combat is not failed any more.")

        return self.act(request, session_id, act)


def dry_run_context(
    request: HttpRequest, seen: DryRun, document: object = None
) -> dict[str, Any]:
    """A dry run as a page shows it: before and after, per player and item.

    `document` is what ran; the one in force if none is given.
    """
    code, detail = seen.failure or ("", "")
    moved = [item["item_template_id"] for line in seen.lines for item in line.items]
    lacking = [short.character_id for short in seen.shortages]
    known = names(
        [*(line.character_id for line in seen.lines), *lacking],
        [*moved, *(short.item_template_id for short in seen.shortages)],
        [
            *(id_ for line in seen.lines for id_ in line.balances or ()),
            *(short.balance_id for short in seen.shortages),
        ],
    )
    return {
        "seen": seen,
        "failure": explain.failure(code) if code else None,
        "failure_detail": visible(detail),
        "missing": _missing(request, seen, document),
        "players": [_player(line, known) for line in seen.lines],
        "shortages": [dossier.lack_of(short, known) for short in seen.shortages],
        "shortage_count": ngettext(
            "%(count)d thing falls short",
            "%(count)d things fall short",
            len(seen.shortages),
        )
        % {"count": len(seen.shortages)},
    }


def _player(line: LedgerEntry, known: Names) -> dict[str, Any]:
    return {
        "player": known.player(line.character_id),
        "xp": movements.change_of(line.xp_delta, line.xp_after),
        "gold": movements.change_of(line.gold_delta, line.gold_after),
        "balances": movements.balances_of(line.balances, known),
        "items": [
            movements.movement_of(item, known) for item in line.items[:MAX_SHOWN]
        ],
        "more_items": max(0, len(line.items) - MAX_SHOWN),
    }


def _missing(request: HttpRequest, seen: DryRun, document: object) -> catalogue.Links:
    """Where to add what the run lacks."""
    code = seen.failure[0] if seen.failure else ""
    if code not in catalogue.FORMS:
        return []
    document = document or correct.standing_document(seen.session_id)
    known = names([], sides.gained_templates(document), sides.balance_ids(document))
    return catalogue.missing(code, document, known, request.user)
