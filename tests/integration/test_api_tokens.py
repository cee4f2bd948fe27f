"""Who may do what over HTTP: scopes, made and revoked by command, obeyed by the API."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import Settings

from combat_history.api import tokens
from combat_history.callers import Scope
from combat_history.models import (
    ApiToken,
    AuditEntry,
    CombatHistory,
    InventoryItem,
    RejectedPayload,
)
from persistence.belts import reservations
from persistence.engine import scripts
from persistence.engine.handoff import checked
from persistence.tasks import settle_combat, settle_inbox
from settlement_project import checks
from tests.support.admin import body, change_url, logged_in, viewer
from tests.support.api import (
    NOBODY_LISTENS,
    TOKEN,
    accepted,
    get,
    post,
    problem,
    request,
    result_path,
)
from tests.support.belts import begin, holders
from tests.support.documents import HERO, POTION, make_document
from tests.support.ids import new_session_id
from tests.support.pages import text_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world", "api")

REASON = "for the tests of tokens"

PLACES = {
    "session_id": str(uuid4()),
    "character_id": str(HERO),
    "item_id": "wolf_pelt",
    "balance_id": "dust",
}

ACTS = {
    "combats": ("POST", Scope.COMBATS_SUBMIT),
    "result": ("GET", Scope.RESULTS_READ),
    "combat_belts": ("POST", Scope.BELTS_RESERVE),
    "operations": ("POST", Scope.OPERATIONS_WRITE),
    **dict.fromkeys(
        ("start", "heartbeat", "use", "join", "leave", "finish", "context"),
        ("POST", Scope.COMBATS_SUBMIT),
    ),
    "character_combats": ("GET", Scope.RESULTS_READ),
    "character_belt": ("GET", Scope.RESULTS_READ),
    "ledger": ("GET", Scope.RESULTS_READ),
    "events": ("GET", Scope.EVENTS_READ),
    "character": ("PUT", Scope.CHARACTERS_WRITE),
    "item": ("PUT", Scope.CHARACTERS_WRITE),
    "balance": ("PUT", Scope.CHARACTERS_WRITE),
}
"""Every address of the API that asks for a token: a new one has to be entered here."""

OPEN = {"openapi", "not_found"}


def forget() -> None:
    """As a web process that begins."""
    tokens.known.close()
    tokens.known = tokens.KnownTokens()


@contextmanager
def table_away() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE api_tokens RENAME TO elsewhere")
        yield
        cursor.execute("ALTER TABLE elsewhere RENAME TO api_tokens")


def api_token(verb: str, *words: str) -> str:
    out = io.StringIO()
    why = [] if verb == "list" else ["--reason", REASON]
    call_command("api_token", verb, *words, *why, stdout=out)
    forget()
    return out.getvalue().strip()


def made(*scopes: Scope | str, name: str = "bot-2") -> str:
    return api_token("make", name, *(f"--scope={scope}" for scope in scopes))


def api_patterns() -> Iterator[URLPattern]:
    for resolver in get_resolver().url_patterns:
        if isinstance(resolver, URLResolver) and resolver.app_name == "api":
            for pattern in resolver.url_patterns:
                assert isinstance(pattern, URLPattern)
                yield pattern


def address(name: str) -> str:
    (pattern,) = [p for p in api_patterns() if p.name == name]
    path = f"/api/{pattern.pattern}"
    for place, value in PLACES.items():
        path = path.replace(f"<str:{place}>", value)
    return path


def asked(name: str, token: str | None) -> Any:
    method, _ = ACTS[name]
    fight = make_document(session_id=UUID(PLACES["session_id"]))
    body = {"char_ids": [HERO]} if name == "combat_belts" else fight
    return request(
        method,
        f"{address(name)}?char_id={HERO}",
        token,
        **({"data": json.dumps(body)} if method != "GET" else {}),
        content_type="application/json",
    )


def test_no_address_is_forgotten() -> None:
    assert {pattern.name for pattern in api_patterns()} == {*ACTS, *OPEN}


@pytest.mark.parametrize("name", ACTS)
def test_every_address_refuses_a_token_without_its_scope_and_changes_nothing(
    name: str, redis_client: Any
) -> None:
    scope = ACTS[name][1]
    begin(redis_client, UUID(PLACES["session_id"]), HERO)
    lacking = made(*(set(Scope) - {scope}), name="all-but-one")
    enough = made(scope, name="just-one")
    before = redis_client.keys()

    refused = asked(name, lacking)

    told = problem(refused, HTTPStatus.FORBIDDEN, "missing_scope")
    assert scope in told.detail
    assert f'scope="{scope}"' in refused["WWW-Authenticate"]
    assert (redis_client.keys(), holders()) == (before, {})
    assert not CombatHistory.objects.exists()
    assert asked(name, enough).status_code not in (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
    )


def test_a_token_is_shown_once_and_stored_as_a_digest() -> None:
    secret = made(Scope.RESULTS_READ)

    assert len(secret) >= 43
    row = ApiToken.objects.get()
    assert (row.name, row.scopes) == ("bot-2", ["results:read"])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT t::text FROM api_tokens t), a::text FROM audit_log a"
        )
        assert secret not in str(cursor.fetchall())
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target_id, entry.outcome, entry.reason) == (
        "make_token",
        "bot-2",
        "done",
        REASON,
    )
    assert entry.actor_name
    listed = api_token("list")
    assert "bot-2  results:read  made " in listed
    assert "never used" in listed
    assert secret not in listed


def test_a_rotated_token_is_another_one_and_a_revoked_one_is_none() -> None:
    first = made(Scope.COMBATS_SUBMIT)
    accepted(post(make_document(), first))

    second = api_token("rotate", "bot-2")
    problem(post(make_document(), first), HTTPStatus.UNAUTHORIZED, "unauthorized")
    accepted(post(make_document(), second))

    assert api_token("revoke", "bot-2") == "bot-2 is revoked"
    problem(post(make_document(), second), HTTPStatus.UNAUTHORIZED, "unauthorized")
    assert "revoked" in api_token("list")
    verbs = AuditEntry.objects.order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["make_token", "rotate_token", "revoke_token"]
    for verb in ("rotate", "revoke"):
        with pytest.raises(CommandError, match="no token named bot-2"):
            api_token(verb, "bot-2")
    with pytest.raises(CommandError, match="there is or was"):
        made(Scope.RESULTS_READ)


@pytest.mark.parametrize("name", ["", "Bot", "a b", "x" * 61, "a=b"])
def test_a_name_is_plain(name: str) -> None:
    with pytest.raises(CommandError, match="a token's name"):
        made(Scope.RESULTS_READ, name=name)
    assert not ApiToken.objects.exists()


def test_a_revoked_token_is_known_no_longer_than_it_is_said() -> None:
    secret = made(Scope.RESULTS_READ)
    path = f"/api/characters/{HERO}/belt"
    assert get(path, secret).status_code == HTTPStatus.OK
    ApiToken.objects.update(revoked_at=datetime.now(UTC))

    def is_refused() -> bool:
        return get(path, secret).status_code == HTTPStatus.UNAUTHORIZED

    wait_until(is_refused, "the token is refused", tokens.OBEYED_WITHIN_SECONDS)


def test_the_use_is_written_once_a_minute() -> None:
    secret = made(Scope.RESULTS_READ)
    path = f"/api/characters/{HERO}/belt"

    def used() -> datetime | None:
        return ApiToken.objects.get().last_used_at

    get(path, secret)
    wait_until(lambda: used() is not None, "the use is written")
    first = used()
    get(path, secret)
    forget()
    get(path, secret)
    forget()
    assert used() == first

    first = datetime.now(UTC) - timedelta(minutes=2)
    ApiToken.objects.update(last_used_at=first)
    forget()
    get(path, secret)
    wait_until(lambda: used() not in (None, first), "the use is written again")


def test_a_known_token_costs_an_answer_of_redis_no_statement(settled: UUID) -> None:
    secret = made(Scope.RESULTS_READ)
    get(result_path(settled), secret)
    with CaptureQueriesContext(connection) as queries:
        assert get(result_path(settled), secret).status_code == HTTPStatus.OK
    assert len(queries) == 0


def test_while_the_table_cannot_be_read_what_was_known_stands(settled: UUID) -> None:
    secret = made(Scope.RESULTS_READ)
    path = result_path(settled)
    get(path, secret)
    with table_away():
        time.sleep(tokens.READ_AGAIN_SECONDS)
        assert get(path, secret).status_code == HTTPStatus.OK

        forget()
        problem(get(path, secret), HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
        assert get(path).status_code == HTTPStatus.OK


def test_the_name_stands_on_what_a_token_caused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "combat_history.api")
    accepted(post(make_document(), made(Scope.COMBATS_SUBMIT, name="engine-7")))

    (record,) = [r for r in caplog.records if r.getMessage() == "API call"]
    assert vars(record)["caller"] == "engine-7"


@pytest.mark.parametrize("url", [None, NOBODY_LISTENS])
def test_a_combat_keeps_the_name_of_who_handed_it_over(
    settings: Settings, url: str | None
) -> None:
    settings.REDIS_URL = url or settings.REDIS_URL
    first = made(Scope.COMBATS_SUBMIT, name="engine-7")
    other = made(Scope.COMBATS_SUBMIT, name="engine-8")
    document = make_document()

    accepted(post(document, first))
    assert accepted(post(document, other)).duplicate
    # The same twice: seen again, it is still of whom it came from.
    for token in (other, first):
        refused = post({**document, "more": 1}, token)
        problem(refused, HTTPStatus.CONFLICT, "payload_conflict")

    row = CombatHistory.objects.get()
    rejected = RejectedPayload.objects.get()
    assert (row.caller, rejected.caller) == ("engine-7", "engine-8")
    client = logged_in(viewer())
    assert "API token engine-7" in text_of(body(client, change_url(row)))
    assert "engine-8" in text_of(body(client, change_url(rejected)))


def test_what_an_engine_handed_over_itself_is_no_tokens(redis_client: Any) -> None:
    document = make_document()
    handoff = checked(json.dumps(document).encode(), 10_000)
    script = redis_client.register_script(scripts.source("handoff"))
    script(keys=handoff.keys, args=handoff.args)

    assert accepted(post(document, made(Scope.COMBATS_SUBMIT))).duplicate
    settle_inbox()

    assert CombatHistory.objects.get().caller == ""


def test_a_belt_keeps_the_name_of_who_reserved_it_while_it_is_reserved(
    redis_client: Any, fight: UUID
) -> None:
    begin(redis_client, fight, HERO)
    token = made(Scope.BELTS_RESERVE, name="engine-7")
    ask = {"data": json.dumps({"char_ids": [HERO]}), "content_type": "application/json"}

    request("POST", f"/api/combats/{fight}/belts", token, **ask)

    item = InventoryItem.objects.get(pk=POTION)
    assert (item.reserved_session_id, item.reserved_caller) == (fight, "engine-7")
    client = logged_in(viewer())
    assert "engine-7" in text_of(body(client, change_url(item)))
    settle_combat(make_document(session_id=fight))
    assert "engine-7" not in text_of(body(client, change_url(item)))
    reservations.assemble(new_session_id(), [HERO])
    assert InventoryItem.objects.get(pk=POTION).reserved_caller == ""


def test_a_bare_token_of_the_environment_reads_and_no_more(
    settings: Settings,
) -> None:
    settings.SETTLEMENT_API_TOKENS = [TOKEN]

    assert get(f"/api/characters/{HERO}/belt").status_code == HTTPStatus.OK
    problem(post(make_document()), HTTPStatus.FORBIDDEN, "missing_scope")
    (warning,) = checks.check_tokens()
    assert warning.id == "settlement.W014"
    assert "token 1 names no scopes" in warning.msg
    assert TOKEN not in f"{warning.msg}{warning.hint}"
    assert "name=scope+scope=secret" in str(warning.hint)


def test_one_players_forged_buttons_silence_nobody_else(
    settings: Settings,
) -> None:
    settings.SETTLEMENT_API_UNKNOWN_PER_MINUTE = 2
    for _ in range(3):
        forged = get(result_path(uuid4(), 102))

    problem(forged, HTTPStatus.TOO_MANY_REQUESTS, "too_many_unknown")
    problem(get(result_path(uuid4(), HERO)), HTTPStatus.NOT_FOUND, "unknown_combat")
