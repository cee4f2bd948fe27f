"""What every list of this admin has: bounded cost, search by id, no changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import display_for_value, get_fields_from_path
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import Model, Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from combat_history.admin.fresh import freshly
from combat_history.admin.paginator import EstimatedPaginator
from combat_history.admin.rendering import EMPTY, visible
from combat_history.models import Character
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.ids import parse_session_id

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.utils.functional import _StrPromise

    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

MAX_NAMESAKES = 20
"""Characters that one search by name looks at."""

Column = Callable[[Any], str | bool]


@contextmanager
def snapshot() -> Iterator[None]:
    """All that is read inside is of one moment, and nothing can be written.

    Inside a caller's transaction it is what that one is.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(SNAPSHOT)
        yield


def column(
    label: str | _StrPromise, source: str | Callable[[Any], object], *, name: str = ""
) -> Column:
    """A read-only column under a translated label; `source`: a field or a function."""
    read = source if callable(source) else _reader(source)

    @admin.display(description=label)
    def value(obj: Model) -> str:
        return display_for_value(read(obj), EMPTY)

    value.__name__ = name or (source if isinstance(source, str) else source.__name__)
    return value


def _reader(field: str) -> Callable[[Any], object]:
    def read(obj: Model) -> object:
        return getattr(obj, field)

    return read


class StrictAdmin(ModelAdmin):
    """An admin that takes from an address only what `list_filter` declares.

    Django takes any of the model's own columns: a text search over all documents. Keys
    that no row can have are refused, where Django would fail.
    """

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        return super().get_object(request, object_id, from_field or None)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        for selected in request.POST.getlist(ACTION_CHECKBOX_NAME):
            self.opts.pk.to_python(selected)
        return super().changelist_view(request, extra_context)

    def lookup_allowed(
        self, lookup: str, value: str, request: HttpRequest | None = None
    ) -> bool:
        assert request is not None
        return lookup in self._declared(request)

    def _declared(self, request: HttpRequest) -> Iterator[str | None]:
        for item in cast("Iterable[Any]", self.get_list_filter(request)):
            if isinstance(item, type):
                yield cast("type[admin.SimpleListFilter]", item).parameter_name
                continue
            is_named = isinstance(item, str)
            path, make = (item, admin.FieldListFilter.create) if is_named else item
            field = get_fields_from_path(self.model, path)[-1]
            made = make(field, request, {}, self.model, self, field_path=path)
            yield from made.expected_parameters()


class BoundedChangeList(ChangeList):
    """Reads of each row only what the list shows, in the list's own order."""

    def get_ordering(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> list[str | Combinable]:
        # Django reads it from the address also where no column may be sorted by.
        self.params.pop(ORDER_VAR, None)
        return super().get_ordering(request, queryset)

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        owner = self.model_admin
        return owner.narrow(rows) if isinstance(owner, BoundedAdmin) else rows


def actor_of(request: HttpRequest) -> User:
    """Who asks: `admin_view` lets in nobody but users."""
    return cast("User", request.user)


class Page(ABC):
    """A page of an admin beside Django's own: one class for one address.

    `admin` lists it in its `pages`, and lends it permissions and site. Its address is
    named as Django names its own: by application, model and `name`.
    """

    route: str
    name: str
    fresh_for: str | None = None
    """Who has this permission opens the page only with a fresh sign-in."""

    def __init__(self, admin: BoundedAdmin) -> None:
        self.admin = admin

    @abstractmethod
    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponseBase: ...

    @property
    def full_name(self) -> str:
        opts = self.admin.opts
        return f"{opts.app_label}_{opts.model_name}_{self.name}"

    def url(self, *args: object) -> str:
        return reverse(f"admin:{self.full_name}", args=args)

    def require_view(self, request: HttpRequest) -> None:
        if not self.admin.has_view_permission(request):
            opts = self.admin.opts
            raise PermissionDenied(f"{opts.app_label}.view_{opts.model_name}")

    def may_act(
        self, request: HttpRequest, permission: str, *, viewers_look: bool = False
    ) -> bool:
        """Whether the user may do what this page does; who may not even look gets 403.

        A POST of somebody who may not act is let through for the action to deny, which
        writes that into the audit.
        """
        may_act = request.user.has_perm(permission)
        if request.method == "POST" and not may_act:
            return False
        if not may_act and not viewers_look:
            raise PermissionDenied(permission)
        self.require_view(request)
        return may_act

    def context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page of an admin is drawn with."""
        return {
            **self.admin.admin_site.each_context(request),
            "opts": self.admin.opts,
            "media": self.admin.media,
        }


class BoundedAdmin(StrictAdmin):
    """A list whose cost does not grow with its table.

    Search takes a session id in any form, a character id or the beginning of a
    character's name, and nothing else: a text search over millions of documents would
    never end.
    """

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    # Sorting by an arbitrary column would sort the table.
    sortable_by = ()
    paginator = EstimatedPaginator
    session_field = "session_id"
    character_field = "character_id"
    pages: Sequence[type[Page]] = ()

    def page_urls(self) -> list[URLPattern]:
        return [
            path(
                page.route,
                self.admin_site.admin_view(freshly(page, page.fresh_for)),
                name=page.full_name,
            )
            for page in (page(self) for page in self.pages)
        ]

    def get_urls(self) -> list[URLPattern]:
        # Before Django's own, whose last pattern takes everything for an id.
        return [*self.page_urls(), *super().get_urls()]

    def list_url(self) -> str:
        meta = self.opts
        return reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Django's title is a sentence, which no noun of another gender fits.
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Leave out of the list's query what the list does not show."""
        return queryset

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if (session_id := _session_id(term)) is not None and self.session_field:
            return queryset.filter(**{self.session_field: session_id}), False
        if term.isascii() and term.isdigit() and int(term) <= MAX_BIGINT:
            return self.of_characters(queryset, [int(term)]), False
        named = characters_named(term) if self.character_field else []
        return self.of_characters(queryset, named), False

    def of_characters(
        self, queryset: QuerySet[Any], character_ids: Sequence[int]
    ) -> QuerySet[Any]:
        if not self.character_field or not character_ids:
            return queryset.none()
        return queryset.filter(**{f"{self.character_field}__in": character_ids})


def audit_of(object_id: str) -> HttpResponse:
    """In place of Django's own log, which knows nothing of settlements."""
    url = reverse("admin:combat_history_auditentry_changelist")
    return HttpResponseRedirect(f"{url}?{urlencode({'q': object_id})}")


class ReadOnlyAdmin(BoundedAdmin):
    """For those who may view; nobody adds, changes or deletes, superusers included.

    `details`: the columns of one row's page.
    """

    details: Sequence[Column] = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return list(self.details)

    def name_of(self, obj: Any) -> str:
        """Short enough for a heading."""
        return visible(f"#{obj.pk}")

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the page of one row shows beside its `details`."""
        return {}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        with snapshot():
            return super().change_view(request, object_id, form_url, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        context |= self.page_context(request, row)
        name = self.name_of(row)
        context["title"] = f"{capfirst(self.opts.verbose_name)} {name}"
        context["subtitle"] = None
        context["crumb"] = name
        return super().render_change_form(request, context, *args, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return list(self.details)


SEARCH_BY_BOTH = _(
    "A session id (UUID, 32 hex digits or 22 characters), a character id, or the "
    "beginning of a character's name."
)
SEARCH_BY_SESSION = _("A session id (UUID, 32 hex digits or 22 characters).")
SEARCH_BY_CHARACTER = _("A character id, or the beginning of a name.")


def characters_named(term: str) -> list[int]:
    """Characters of that name, else those whose name begins so, at most MAX_NAMESAKES.

    Reads the characters once: they are few beside the combats.
    """
    is_exact = Q(name__iexact=term)
    begins = Character.objects.filter(name__istartswith=term).annotate(exact=is_exact)
    best = begins.order_by("-exact", "pk").values_list("pk", "exact")
    found = list(best[:MAX_NAMESAKES])
    same = [pk for pk, exact in found if exact]
    return same or [pk for pk, _exact in found]


def _session_id(term: str) -> UUID | None:
    try:
        return parse_session_id(term)
    except ValueError:
        return None
