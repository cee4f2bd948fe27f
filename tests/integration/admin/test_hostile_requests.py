"""Whatever an address or a form holds, the answer is one of ours: never a 500.

The addresses are taken from the resolver: a new page is asked without being entered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, get_resolver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from combat_history.models import CombatHistory, SettlementControl
from tests.support.admin import LIST_URL, add_failed, list_url, logged_in, one_of_each
from tests.support.api import TOKEN
from tests.support.examples import examples

pytestmark = pytest.mark.usefixtures("api")

VALUES = [
    *("", "\0", "a\0b", "0", "-1", "9" * 30, "1e400", "NaN", "x" * 5_000, "٣", "²"),
    *("0001-01-01", "9999-12-31", "0001-01-01T00:00:00+23:59", "\u202e🙂", "%00"),
    *("9999-12-31T23:59:59-23:59", "99999999999-01-01", "'\"\\;--", "[]", "{}"),
    "0001-01-01T00:00:00+23:59~AaIsZAcIeBKAgy8exga89A",
    "9999-12-31T23:59:59-23:59~AaIsZAcIeBKAgy8exga89A",
    *("2147483648", "9223372036854775808", "-9223372036854775809", "1.5", "true"),
    *("00000000-0000-0000-0000-000000000000", "1,2,x", "failed", "q=%00&older=%00"),
]

NAMES = [
    *("q", "p", "o", "all", "e", "_popup", "_to_field", "_facets", "older", "status"),
    *("_changelist_filters", "_selected_action", "action", "index", "select_across"),
    *("failure", "end", "finished_at__gte", "finished_at__lt", "received_at__gte"),
    *("outcome__exact", "code", "state", "scope", "range", "fights_below"),
    *("ledger_below", "what", "row", "item", "quantity", "durability", "format"),
    *("shortages", "since", "before", "result", "after", "session_id", "id", "list"),
    *("target", "verb", "hours", "assigned_to", "note", "reason", "document"),
    *("operations", "mode", "batch_id", "fingerprint", "on_shortage", "apply", "\0"),
    *("app_label", "model_name", "field_name", "term", "username", "password", "name"),
    *("groups__id__exact", "is_staff__exact", "char_id", "lang", "limit", "cursor"),
    "result_payload__icontains",
]

LISTS = [model for model in admin.site._registry if model is not SettlementControl]
"""Its page is no list."""

FEW = (User, Group)
"""Lists of a few people, which may be sorted."""

PLACE = re.compile(r"<[^>]*>")


def routes() -> list[str]:
    """Of every page of the site, with the places of its parts."""

    def walk(patterns: Any, before: str) -> Iterator[str]:
        for pattern in patterns:
            route = before + str(pattern.pattern).removeprefix("^").removesuffix("$")
            if isinstance(pattern, URLPattern):
                yield route
            else:
                yield from walk(pattern.url_patterns, route)

    found = walk(get_resolver().url_patterns, "/")
    return [r for r in found if "logout" not in r and "(?P" not in r]


@pytest.fixture
def boss(world: None) -> Client:
    """Sees an error as a browser would, and not as an exception."""
    client = logged_in(User.objects.create_superuser("boss"))
    client.raise_request_exception = False
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    return client


@pytest.fixture
def keys(boss: Client) -> dict[str, str]:
    """A row for every page that shows one."""
    rows: list[Model] = [*one_of_each(), User.objects.get(), add_failed()]
    return {str(row._meta.model_name): str(row.pk) for row in rows}


def address(route: str, keys: dict[str, str]) -> str:
    model = next((part for part in route.split("/") if part in keys), "")
    return PLACE.sub(keys.get(model, "1"), route)


@pytest.mark.parametrize("route", routes())
def test_no_page_fails_on_what_it_is_asked(
    boss: Client, keys: dict[str, str], route: str
) -> None:
    url = address(route, keys)
    failed: list[Any] = []

    def look(answer: Any, asked: object) -> None:
        if answer.status_code >= 500:
            failed.append((asked, answer.status_code))

    # On each page some of the names meet some of the values, on all pages all of them.
    chance = Random(route)
    for name in chance.sample(NAMES, 3):
        query = {name: chance.choice(VALUES)}
        sent = {"reason": "to see what happens", "code": "poison", **query}
        look(boss.get(url, query), query)
        look(boss.post(url, sent), sent)
    if PLACE.search(route):
        for value in ("a\0b", "9" * 5_000, chance.choice(VALUES)):
            hostile = PLACE.sub(quote(value, safe=""), route)
            look(boss.get(hostile), hostile)
            look(boss.post(hostile), hostile)
    assert failed == []


@settings(
    max_examples=examples(50),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(routes()),
    st.lists(
        st.tuples(
            st.sampled_from(NAMES) | st.text(max_size=9),
            st.sampled_from(VALUES) | st.text(max_size=40),
        ),
        max_size=6,
    ),
    st.binary(max_size=30),
)
def test_no_query_string_is_answered_by_a_failure(
    boss: Client,
    keys: dict[str, str],
    route: str,
    query: list[tuple[str, str]],
    rest: bytes,
) -> None:
    text = f"{urlencode(query, errors='replace')}&{quote(rest, safe='=&%;+')}"
    answer = boss.get(address(route, keys), QUERY_STRING=text)
    assert answer.status_code < 500


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("path", [LIST_URL, "/api/openapi.json", "/livez"])
def test_too_many_fields_are_a_bad_request(
    boss: Client, path: str, debug: bool, settings: Any
) -> None:
    settings.DEBUG = debug
    many = "&".join(f"f{n}=" for n in range(1_001))
    assert boss.get(path, QUERY_STRING=many).status_code == 400
    form = "application/x-www-form-urlencoded"
    assert boss.post(path, many, content_type=form).status_code == 400
    assert boss.get(f"{path}?q=%00").status_code == 400


def test_ends_of_time_are_left_out(boss: Client) -> None:
    for end in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        query = {"older": f"{end}~AaIsZAcIeBKAgy8exga89A"}
        assert boss.get(LIST_URL, query).status_code == 302


def lookups(model: type[Model]) -> Iterator[str]:
    """Of every column, and of every column beyond each relation."""
    for field in model._meta.get_fields():
        yield from (f"{field.name}__{kind}" for kind in ("icontains", "regex", "gt"))
        if field.related_model and isinstance(field.related_model, type):
            for beyond in field.related_model._meta.get_fields():
                yield f"{field.name}__{beyond.name}"
        else:
            yield field.name


@pytest.mark.parametrize("model", LISTS, ids=str)
def test_only_declared_lookups_are_taken_from_an_address(
    boss: Client, model: type[Model]
) -> None:
    owner = admin.site._registry[model]
    declared = {
        str(getattr(item, "parameter_name", item)) for item in owner.list_filter
    }
    taken = {
        lookup
        for lookup in lookups(model)
        if boss.get(list_url(model), {lookup: "1"}).status_code not in (400, 405)
    }
    assert taken <= declared


@pytest.mark.parametrize("model", [m for m in LISTS if m not in FEW], ids=str)
def test_no_address_changes_the_order_of_a_large_list(
    boss: Client, model: type[Model]
) -> None:
    owner = admin.site._registry[model]
    plain = boss.get(list_url(model))
    usual = plain.context["cl"].queryset.query.order_by
    for number in range(len(owner.list_display) + 1):
        asked = boss.get(list_url(model), {"o": f"-{number}"})
        assert asked.context["cl"].queryset.query.order_by == usual


def test_a_group_of_failures_is_still_listed_by_its_times(boss: Client) -> None:
    combat = add_failed("poison")
    bounds = {"received_at__gte": "2020-01-01T00:00:00+00:00"}
    found = boss.get(LIST_URL, {"failure": "poison", **bounds})
    assert [row.pk for row in found.context["cl"].result_list] == [combat.pk]
    assert boss.get(LIST_URL, bounds).status_code == 400
    assert CombatHistory.objects.count() == 1
