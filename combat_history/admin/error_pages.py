"""Refusals of the admin as pages of its own: what is amiss or missing, and a way back.

Whatever is no address of the admin is answered as Django does: programs ask there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views import defaults

from combat_history.admin.rendering import visible

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

TEMPLATE = "admin/combat_history/error.html"
BROKEN = "admin/combat_history/error_500.html"

MAX_DETAIL = 300

_CODE = re.compile(r"[a-z_]+\.([a-z]+_[a-z]+)")
_STOCK = re.compile(r"combat_history_([a-z]+)_(changelist|change|history|add|delete)")
_VERBS = {"changelist": "view", "change": "view", "history": "view"}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    # Of another host's request no page of ours can be made: it asks for the host.
    if isinstance(exception, DisallowedHost) or not _is_ours(request):
        return defaults.bad_request(request, exception)
    title = _("The address or the form cannot be read")
    return _page(request, 400, title, detail=visible(str(exception))[:MAX_DETAIL])


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _is_ours(request):
        return defaults.permission_denied(request, exception)
    code = _missing(request, exception)
    title = _("You may not do this")
    return _page(request, 403, title, code=code, words=_words(code))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _is_ours(request):
        return defaults.page_not_found(request, exception)
    return _page(request, 404, _("There is nothing at this address"))


def server_error(request: HttpRequest) -> HttpResponse:
    """Asks neither database nor session: they may be what is broken."""
    if not _is_ours(request):
        return defaults.server_error(request)
    return HttpResponse(loader.render_to_string(BROKEN), status=500)


def _is_ours(request: HttpRequest) -> bool:
    return request.path.startswith(reverse("admin:index"))


def _page(
    request: HttpRequest, status: int, title: _StrPromise, **more: Any
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": title,
        "status": status,
        "back_url": _back_url(request),
        **more,
    }
    text = loader.render_to_string(TEMPLATE, context, request)
    return HttpResponse(text, status=status)


def _back_url(request: HttpRequest) -> str:
    """The page before, if it is one of ours; else the first."""
    before = request.headers.get("Referer", "")
    hosts = {request.get_host()}
    is_safe = url_has_allowed_host_and_scheme(before, hosts)
    here = before == request.build_absolute_uri()
    return before if is_safe and not here else reverse("admin:index")


def _missing(request: HttpRequest, exception: Exception) -> str:
    """The code of the permission: as told, or of one of Django's own pages."""
    if found := _CODE.fullmatch(str(exception)):
        return found[0]
    match = request.resolver_match
    stock = _STOCK.fullmatch(match.url_name or "") if match else None
    if stock is None:
        return ""
    verb = _VERBS.get(stock[2], stock[2])
    return f"combat_history.{verb}_{stock[1]}"


def _words(code: str) -> str:
    """What the permission is for: a model's own words, or its verb and its name."""
    _app, _dot, codename = code.partition(".")
    for model in apps.get_app_config("combat_history").get_models():
        own = dict(model._meta.permissions)
        if codename in own:
            return str(own[codename])
        verb, _line, name = codename.partition("_")
        if name == model._meta.model_name and verb == "view":
            what = model._meta.verbose_name_plural
            return gettext("to view: %(what)s") % {"what": what}
    return ""
