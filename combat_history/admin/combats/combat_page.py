"""What the pages that act on one combat have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import messages
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext

from combat_history.actions.correct import NotCorrectable
from combat_history.admin.base import Page, actor_of
from combat_history.admin.rendering import combat_url
from persistence.contract.ids import short_id

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.utils.functional import _StrPromise

MAX_SHOWN = 100
"""Inventory rows shown of one player; all of them are changed."""


class CombatPage(Page):
    def combat_context(
        self, request: HttpRequest, session_id: UUID, title: _StrPromise
    ) -> dict[str, Any]:
        return {
            **self.context(request),
            "title": title,
            "session_id": session_id,
            "short_id": short_id(session_id),
            "back_url": combat_url(session_id),
        }

    def act(
        self,
        request: HttpRequest,
        session_id: UUID,
        act: Callable[[User, str], str],
    ) -> HttpResponse:
        """Run `act` with user and reason, and say on the combat's page what came of it.

        `act` returns what to say. It checks the permission, and writes the audit.
        """
        try:
            done = act(actor_of(request), request.POST.get("reason", ""))
        except (Error, NotCorrectable, ValueError) as error:
            text = gettext("Nothing was changed: %s")
            messages.error(request, text % error)
        else:
            messages.success(request, done)
        return HttpResponseRedirect(combat_url(session_id))
