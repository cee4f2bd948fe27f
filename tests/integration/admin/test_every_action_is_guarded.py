"""Every page that acts: a GET changes nothing, and nobody acts who may not.

The pages are taken from the admin's URLs: a new one has to be entered here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import redis
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import URLPattern, reverse

from combat_history.actions.adjust import give
from combat_history.actions.operate import operate
from combat_history.models import (
    ApiToken,
    AuditEntry,
    BalanceTemplate,
    CombatHistory,
    ItemTemplate,
    ParkedOperation,
    RejectedPayload,
    ReplayBatch,
    ReviewRule,
    SettlementDiscrepancy,
)
from persistence.contract.operate import Operation
from persistence.worker import mode as settlement
from tests.conftest import Settle
from tests.support.actions import corrected
from tests.support.admin import REASON, logged_in, unknown_loot, viewer
from tests.support.documents import HERO, PELT, sample_document
from tests.support.operating import operation

HISTORY = "combat_history_combathistory"
PARKED = "combat_history_parkedoperation"
REJECTED = "combat_history_rejectedpayload"
DISCREPANCY = "combat_history_settlementdiscrepancy"
BATCH = "combat_history_replaybatch"
TOKEN = "combat_history_apitoken"

TRADE = "trade/1?q=%"
"""The op_id of an operation: of letters as a game may take them."""

DJANGO_S = ("changelist", "add", "change", "delete", "history")
STOCK = {f"{page}_view" for page in DJANGO_S}
"""Pages of Django's own; `test_access` has them."""


@dataclass(frozen=True)
class World:
    """Something for each action to act on."""

    failed: UUID
    settled: UUID
    rejected: int
    parked: int
    discrepancy: int
    batch: UUID
    token: int


Data = dict[str, Any]
Asked = Callable[[World], tuple[list[Any], Data]]
"""What names the page, and what to send there to act."""


def said(target: Any) -> tuple[list[Any], Data]:
    return [], {"target": str(target), "verb": "acknowledge"}


def correction(w: World) -> tuple[list[Any], Data]:
    document = CombatHistory.objects.get(pk=w.failed).result_payload
    return [w.failed], {"document": json.dumps(corrected(document)), "apply": "1"}


def resubmission(w: World) -> tuple[list[Any], Data]:
    return [w.rejected], {"document": json.dumps(sample_document()), "resubmit": "1"}


def correction_of_inventory(w: World) -> tuple[list[Any], Data]:
    return [HERO], {"operations": json.dumps(give("admin:one", PELT, 1))}


ACTING: dict[str, Asked] = {
    f"{HISTORY}_preview": lambda w: ([w.failed], {"shortages": "record"}),
    f"{HISTORY}_correct": correction,
    f"{HISTORY}_void": lambda w: ([w.failed], {}),
    f"{HISTORY}_replay": lambda w: ([], {"session_id": str(w.failed)}),
    f"{HISTORY}_replay_batch": lambda w: ([], {"session_id": str(w.failed)}),
    f"{HISTORY}_undo": lambda w: ([w.settled], {"on_shortage": "refuse"}),
    f"{HISTORY}_triage": lambda w: said(w.failed),
    f"{BATCH}_decide": lambda w: ([w.batch], {"verb": "cancel"}),
    f"{PARKED}_retry": lambda w: ([], {"id": w.parked}),
    f"{PARKED}_discard": lambda w: ([], {"id": w.parked}),
    f"{PARKED}_triage": lambda w: said(w.parked),
    f"{REJECTED}_resubmit": resubmission,
    f"{REJECTED}_triage": lambda w: said(w.rejected),
    f"{DISCREPANCY}_triage": lambda w: said(w.discrepancy),
    "combat_history_character_inventory": correction_of_inventory,
    "combat_history_settlementcontrol_changelist": lambda w: (
        [],
        {"mode": "paused", "confirmed": "on"},
    ),
    "combat_history_operation_undo": lambda w: (
        [quote(TRADE)],
        {"on_shortage": "refuse"},
    ),
    "combat_history_character_triage": lambda w: said(HERO),
    f"{TOKEN}_make": lambda w: ([], {"name": "bot-2", "scopes": "results:read"}),
    f"{TOKEN}_rotate": lambda w: ([w.token], {}),
    f"{TOKEN}_revoke": lambda w: ([w.token], {}),
}
"""Who looks only may do none of it."""

SECRET = {f"{TOKEN}_make", f"{TOKEN}_rotate"}
"""What these have done is told in the answer itself, and only there."""

EXPORTS = ("combat_history_combathistory_export", "combat_history_auditentry_export")
"""Whoever may view may export: only a guest may not."""

LOOKING: dict[str, Asked] = {
    f"{HISTORY}_dashboard": lambda w: ([], {}),
    f"{HISTORY}_search": lambda w: ([], {"q": "nobody of this name"}),
    f"{HISTORY}_fight_log": lambda w: ([w.failed], {}),
    f"{HISTORY}_status": lambda w: ([w.failed], {}),
    f"{HISTORY}_economy": lambda w: ([], {}),
    f"{HISTORY}_failures": lambda w: ([], {}),
    f"{HISTORY}_failure_group": lambda w: ([], {"code": "unknown_item"}),
    f"{BATCH}_progress": lambda w: ([w.batch], {}),
}
"""Own pages that only show."""

LIST_ACTIONS = {
    "CombatHistory": {"replay_selected"},
    "SettlementDiscrepancy": {"triage_selected"},
    "RejectedPayload": {"triage_selected"},
    "ParkedOperation": {"retry_selected", "discard_selected", "triage_selected"},
}
"""By model: each only shows the page of the action."""

EDITABLE = {BalanceTemplate, ItemTemplate, ReviewRule}
"""What Django's own forms may change, and nothing else."""


@pytest.fixture
def rows(settle_here: Settle) -> Iterator[World]:
    loot = unknown_loot()
    won = sample_document()
    settle_here(loot, won)
    rejected = RejectedPayload.objects.create(
        code="invalid_payload", payload_sha256="0" * 64, errors=[], raw=b"{}"
    )
    parked = ParkedOperation.objects.create(
        scope="inventory",
        character_id=HERO,
        op_id="an operation",
        operation={"op": "unequip"},
        code="item_gone",
    )
    lack = SettlementDiscrepancy.objects.create(
        session_id=UUID(won["session_id"]),
        character_id=HERO,
        code="item_gone",
        wanted=2,
        applied=0,
    )
    batch = ReplayBatch.objects.create(
        selection={"kind": "selected"}, actor_id=1, actor_name="anna", reason=REASON
    )
    token = ApiToken.objects.create(name="bot", digest="", scopes=["results:read"])
    asked = operation(TRADE, "Trade", c101={"gold_gained": 1})
    operate(Operation.read(asked), "engine")
    yield World(
        UUID(loot["session_id"]),
        UUID(won["session_id"]),
        rejected.pk,
        parked.pk,
        lack.pk,
        batch.pk,
        token.pk,
    )
    settlement.forget()


def of_group(name: str) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=name))
    return logged_in(user)


def everything() -> list[tuple[str, Any]]:
    """All tables but the audit, and both Redis databases, to be compared."""
    tables = set(connection.introspection.table_names()) - {"audit_log"}
    digests = " UNION ALL ".join(
        f"SELECT '{table}', md5(string_agg(row::text, '' ORDER BY row::text))"
        f' FROM "{table}" AS row'
        for table in sorted(tables)
    )
    with connection.cursor() as cursor:
        cursor.execute(digests)
        found: list[tuple[str, Any]] = cursor.fetchall()
    for url in (settings.REDIS_URL, settings.BROKER_URL):
        with redis.Redis.from_url(url) as client:
            found += [(key, client.dump(key)) for key in sorted(client.keys())]
    return found


def audited() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("outcome", flat=True))


def own_pages() -> set[str]:
    """Names of all pages of the admin that are not Django's own."""

    def patterns(found: Any) -> Iterator[URLPattern]:
        for pattern in found:
            if isinstance(pattern, URLPattern):
                yield pattern
            else:
                yield from patterns(pattern.url_patterns)

    return {
        str(pattern.name)
        for pattern in patterns(admin.site.urls[0])
        if (pattern.name or "").startswith("combat_history_")
        and getattr(pattern.callback, "__name__", "") not in STOCK
    }


def test_no_page_is_forgotten() -> None:
    assert own_pages() == {*ACTING, *EXPORTS, *LOOKING}


def test_no_action_of_a_list_is_forgotten(rf: RequestFactory, db: None) -> None:
    request = rf.get("/")
    request.user = User.objects.create_superuser("boss")
    ours = {
        model: owner
        for model, owner in admin.site._registry.items()
        if model._meta.app_label == "combat_history"
    }
    acting = {model.__name__: set(a.get_actions(request)) for model, a in ours.items()}
    assert {name: found for name, found in acting.items() if found} == LIST_ACTIONS
    editable = {
        model
        for model, owner in ours.items()
        if owner.has_add_permission(request)
        or owner.has_change_permission(request)
        or owner.has_delete_permission(request)
    }
    assert editable == EDITABLE


@pytest.mark.parametrize("name", ACTING)
def test_nobody_acts_who_may_not_and_no_get_acts(name: str, rows: World) -> None:
    looker, guest = logged_in(viewer()), User.objects.create_user("guest")
    guest.is_staff = True
    guest.save()
    boss = User.objects.create_superuser("boss")
    forger = Client(enforce_csrf_checks=True)
    forger.force_login(boss)
    clients = {"boss": logged_in(boss), "guest": logged_in(guest)}
    named, what = ACTING[name](rows)
    data = {"reason": REASON, **what}
    url = reverse(f"admin:{name}", args=named)
    before, written = everything(), audited()

    assert clients["boss"].get(url, data).status_code in (200, 302, 405)
    assert clients["boss"].head(url, data).status_code in (200, 302, 405)
    assert forger.post(url, data).status_code == 403
    for asked in (Client().get(url), Client().post(url, data)):
        assert asked.status_code == 302
        assert asked["Location"].startswith("/admin/login/")
    assert (everything(), audited()) == (before, written)

    assert clients["guest"].get(url, data).status_code == 403
    assert clients["guest"].post(url, data).status_code == 403
    assert everything() == before
    assert audited() == [*written, "denied"]
    written = audited()

    assert looker.post(url, data).status_code == 403
    assert everything() == before
    assert audited() == [*written, "denied"]

    # The very same, sent by somebody who may.
    done = 200 if name in SECRET else 302
    assert clients["boss"].post(url, data).status_code == done
    assert everything() != before
    assert set(audited()[len(written) + 1 :]) == {"done"}


def test_an_edit_of_the_catalogue_is_written_down(rows: World) -> None:
    call_command("create_groups", verbosity=0)
    support = of_group("Support")
    boss = logged_in(User.objects.create_superuser("boss"))
    base = "/admin/combat_history/itemtemplate/"
    data = {"id": "scale", "name": "Чешуя", "name_en": "", "stackable": "on"}
    before, written = everything(), audited()
    for url in (f"{base}add/", f"{base}health_potion/change/"):
        assert support.post(url, data).status_code == 403
    assert everything() == before
    assert audited() == [*written, "denied", "denied"]
    boss.post(f"{base}add/", data)
    boss.post(f"{base}scale/change/", {**data, "name": "Чешуя дракона"})
    added, changed = AuditEntry.objects.order_by("id")[len(written) + 2 :]
    assert (added.verb, added.target_id, added.before) == ("add", "scale", None)
    assert added.after == {"id": "scale", "name": "Чешуя", "stackable": True}
    assert (changed.verb, changed.before, changed.after) == (
        "change",
        {"name": "Чешуя"},
        {"name": "Чешуя дракона"},
    )


@pytest.mark.parametrize("name", EXPORTS)
def test_nobody_exports_who_may_not_view(name: str, rows: World) -> None:
    boss = User.objects.create_superuser("boss")
    guest = logged_in(User.objects.create_user("guest", is_staff=True))
    forger = Client(enforce_csrf_checks=True)
    forger.force_login(boss)
    url, data = reverse(f"admin:{name}"), {"format": "csv", "reason": REASON}
    client = logged_in(boss)
    before, written = everything(), audited()

    assert client.get(url).status_code == 200
    assert forger.post(url, data).status_code == 403
    assert Client().post(url, data).status_code == 302
    assert audited() == written
    assert guest.post(url, data).status_code == 403
    assert audited() == [*written, "denied"]
    assert client.post(url, data).status_code == 200
    assert audited() == [*written, "denied", "done"]
    assert everything() == before


@pytest.mark.parametrize("name", LOOKING)
def test_a_page_that_shows_does_not_act_when_it_is_sent_something(
    name: str, rows: World
) -> None:
    client = logged_in(User.objects.create_superuser("boss"))
    named, what = LOOKING[name](rows)
    url = reverse(f"admin:{name}", args=named)
    before, written = everything(), audited()
    for method in (client.get, client.post):
        assert method(url, what).status_code in (200, 400, 404, 405)
    assert (everything(), audited()) == (before, written)


def test_an_action_of_a_list_only_shows(rows: World) -> None:
    client = logged_in(User.objects.create_superuser("boss"))
    before, written = everything(), audited()
    for model, actions in LIST_ACTIONS.items():
        url = reverse(f"admin:combat_history_{model.lower()}_changelist")
        shown = [str(row.pk) for row in client.get(url).context["cl"].result_list]
        for action in actions:
            data = {"action": action, "_selected_action": shown, "reason": REASON}
            response = client.post(url, data)
            assert (response.status_code, bool(shown)) == (200, True), action
    assert (everything(), audited()) == (before, written)
