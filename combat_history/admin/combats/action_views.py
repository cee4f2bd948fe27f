"""The pages of preview, correct and void. A GET shows; only a POST acts.

Each action checks its permission again where it acts, and writes the audit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions import correct, void
from combat_history.actions.dry_run import DryRun, dry_run, dry_run_of
from combat_history.actions.replay import PERMISSION as REPLAY_PERMISSION
from combat_history.actions.replay import Terms, replay
from combat_history.admin import movements, sides
from combat_history.admin.base import BoundedAdmin
from combat_history.admin.combats import catalogue, dossier
from combat_history.admin.forms import SHORTAGES, DocumentForm, ReasonForm
from combat_history.admin.naming import Names, names
from combat_history.admin.rendering import visible
from combat_history.insight import explain
from combat_history.models import CombatHistory, Status
from persistence.contract.document import Document, parse_strictly
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.ids import short_id
from persistence.savers.combat.rows import LedgerEntry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NAME = "combat_history_combathistory"
PAGE = f"admin:{NAME}"
FOLDER = "admin/combat_history/combathistory"
MAX_SHOWN = 100
"""Inventory rows shown of one player; all of them are changed."""


class PreviewForm(ReasonForm):
    """`fingerprint` names the state on the page: another one is refused."""

    shortages = forms.ChoiceField(label=_("Shortages"), choices=SHORTAGES)
    fingerprint = forms.CharField(
        required=False, min_length=64, max_length=64, widget=forms.HiddenInput
    )


class ActionViews(BoundedAdmin):
    """Pages of one combat: what a replay would do, a correction, and voiding."""

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "preview": self.preview_view,
            "correct": self.correct_view,
            "void": self.void_view,
            "status": self.status_view,
        }
        return [
            *(
                path(
                    f"<uuid:session_id>/{name}/",
                    self.admin_site.admin_view(view),
                    name=f"{NAME}_{name}",
                )
                for name, view in pages.items()
            ),
            *super().get_urls(),
        ]

    def decisions(
        self, request: HttpRequest, combat: CombatHistory
    ) -> list[tuple[str, str]]:
        """Pages that this person may act on for this combat, as (address, label)."""
        status = combat.settlement_status
        waits = status in (Status.PENDING, Status.FAILED)
        may = request.user.has_perm
        offered = [
            ("preview", gettext("Preview"), waits),
            (
                "correct",
                gettext("Correct"),
                status == Status.FAILED and may(correct.PERMISSION),
            ),
            ("void", gettext("Void"), waits and may(void.PERMISSION)),
        ]
        return [
            (reverse(f"{PAGE}_{page}", args=[combat.pk]), label)
            for page, label, is_offered in offered
            if is_offered
        ]

    def status_view(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        """The status alone, for the script that renews the page of what waits."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        combat = CombatHistory.objects.filter(pk=session_id)
        status = combat.values_list("settlement_status", flat=True).first()
        if status is None:
            raise Http404
        return HttpResponse(status, content_type="text/plain")

    def preview_view(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        self._may_view(request, REPLAY_PERMISSION)
        if request.method == "POST":
            form = PreviewForm(request.POST)
            if not request.user.has_perm(REPLAY_PERMISSION) or form.is_valid():
                return self._replay_previewed(request, session_id)
            policy = form.data.get("shortages", "record")
        else:
            policy = request.GET.get("shortages", "record")
            form = PreviewForm(initial={"shortages": policy})
        seen = self._seen(dry_run, session_id, fail_on_shortage=policy == "fail")
        combat = CombatHistory.objects.defer("result_payload").get(pk=session_id)
        may_replay = (
            request.user.has_perm(REPLAY_PERMISSION)
            and combat.settlement_status == Status.FAILED
        )
        context = {
            **self._context(request, session_id, _("What a replay would do")),
            **_dry_run_context(seen),
            "missing": _missing(request, seen),
            "form": form,
            "policy": policy,
            "policies": SHORTAGES,
            "may_replay": may_replay,
            "status": combat.get_settlement_status_display(),
        }
        return TemplateResponse(request, f"{FOLDER}/preview.html", context)

    def correct_view(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        self._may_view(request, correct.PERMISSION)
        if not request.user.has_perm(correct.PERMISSION) and request.method != "POST":
            raise PermissionDenied
        try:
            standing = correct.standing_document(session_id)
        except correct.NotCorrectable as error:
            raise Http404(str(error)) from None
        context = self._context(request, session_id, _("Correct and replay"))
        if request.method == "POST":
            return self._corrected(request, session_id, context)
        text = json.dumps(standing, indent=2, ensure_ascii=False)
        context["form"] = DocumentForm(initial={"document": text})
        return TemplateResponse(request, f"{FOLDER}/correct.html", context)

    def void_view(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        self._may_view(request, void.PERMISSION)
        if request.method != "POST":
            if not request.user.has_perm(void.PERMISSION):
                raise PermissionDenied
            form = ReasonForm()
        else:
            form = ReasonForm(request.POST)
            if not request.user.has_perm(void.PERMISSION) or form.is_valid():
                return self._void(request, session_id)
        combat = CombatHistory.objects.filter(pk=session_id).first()
        if combat is None:
            raise Http404
        context = {
            **self._context(request, session_id, _("Void this combat")),
            "form": form,
            "combat": combat,
            "can_be_voided": combat.settlement_status
            in (Status.PENDING, Status.FAILED),
        }
        return TemplateResponse(request, f"{FOLDER}/void.html", context)

    def _replay_previewed(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
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

        return self._act(request, session_id, act)

    def _void(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        def act(actor: User, reason: str) -> str:
            if void.void([session_id], actor=actor, reason=reason).voided:
                return gettext("The combat is voided: it will never be settled.")
            return gettext("Nothing was voided: the combat is settled or voided.")

        return self._act(request, session_id, act)

    def _corrected(
        self, request: HttpRequest, session_id: UUID, context: dict[str, Any]
    ) -> HttpResponse:
        """Shows the difference and what it would do; writes it when told to apply."""
        form = DocumentForm(request.POST)
        context["form"] = form
        if not request.user.has_perm(correct.PERMISSION):
            return self._write_correction(request, session_id, {})
        document = self._read(request, form, session_id, context)
        if document is not None and form.is_valid() and "apply" in request.POST:
            return self._write_correction(request, session_id, document)
        return TemplateResponse(request, f"{FOLDER}/correct.html", context)

    def _read(
        self,
        request: HttpRequest,
        form: DocumentForm,
        session_id: UUID,
        context: dict[str, Any],
    ) -> Document | None:
        """The document of the form, with its difference and dry run on the page."""
        text = form.data.get("document", "")
        try:
            document = parse_strictly(text.encode("utf-8", "surrogatepass"))
            found = correct.check(session_id, document)
        except PayloadInvalid as error:
            context["faults"] = error.errors
            return None
        except correct.NothingToCorrect:
            context["is_same"] = True
            return None
        context["diff"] = dossier.differences(found)
        seen = self._seen(dry_run_of, session_id, document, fail_on_shortage=False)
        context.update(_dry_run_context(seen))
        context["missing"] = _missing(request, seen, document)
        return document

    def _write_correction(
        self, request: HttpRequest, session_id: UUID, document: Document
    ) -> HttpResponse:
        def act(actor: User, reason: str) -> str:
            correct.correct(session_id, document, actor=actor, reason=reason)
            if not actor.has_perm(REPLAY_PERMISSION):
                return gettext("The correction is written. Replaying it is for others.")
            replay([session_id], actor=actor, reason=reason)
            return gettext("The correction is written and was put into the queue.")

        return self._act(request, session_id, act)

    def _act(
        self,
        request: HttpRequest,
        session_id: UUID,
        act: Callable[[User, str], str],
    ) -> HttpResponse:
        actor = cast("User", request.user)  # admin_view lets in nobody else
        try:
            told = act(actor, request.POST.get("reason", ""))
        except (Error, correct.NotCorrectable, ValueError) as error:
            text = gettext("Nothing was changed: %s")
            self.message_user(request, text % error, messages.ERROR)
        else:
            self.message_user(request, told, messages.SUCCESS)
        return HttpResponseRedirect(_page_of(session_id))

    def _seen(self, run: Callable[..., DryRun], *args: Any, **kwargs: Any) -> DryRun:
        try:
            return run(*args, **kwargs)
        except LookupError as error:
            raise Http404(str(error)) from None

    def _may_view(self, request: HttpRequest, permission: str) -> None:
        """What somebody sends who may not act is denied where it acts, and audited."""
        is_denied = request.method == "POST" and not request.user.has_perm(permission)
        if not is_denied and not self.has_view_permission(request):
            raise PermissionDenied

    def _context(
        self, request: HttpRequest, session_id: UUID, title: Any
    ) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
            "session_id": session_id,
            "short_id": short_id(session_id),
            "back_url": _page_of(session_id),
        }


def _dry_run_context(seen: DryRun) -> dict[str, Any]:
    """A dry run as a page shows it: before and after, per player and item."""
    code, detail = seen.failure or ("", "")
    moved = [item["item_template_id"] for line in seen.lines for item in line.items]
    lacking = [short.character_id for short in seen.shortages]
    known = names(
        [*(line.character_id for line in seen.lines), *lacking],
        [*moved, *(short.item_template_id for short in seen.shortages)],
    )
    return {
        "seen": seen,
        "failure": explain.failure(code) if code else None,
        "failure_detail": visible(detail),
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
        "items": [
            movements.movement_of(item, known) for item in line.items[:MAX_SHOWN]
        ],
        "more_items": max(0, len(line.items) - MAX_SHOWN),
    }


def _missing(
    request: HttpRequest, seen: DryRun, document: object = None
) -> catalogue.Links:
    """Where to add what the run lacks; of the document that stands if none is given."""
    if seen.failure is None or seen.failure[0] != FailureCode.UNKNOWN_ITEM:
        return []
    document = document or correct.standing_document(seen.session_id)
    known = names([], sides.gained_templates(document))
    return catalogue.missing(document, known, request.user)


def _page_of(session_id: UUID) -> str:
    return reverse("admin:combat_history_combathistory_change", args=[session_id])
