"""An inventory corrected by a person: checked, queued once, and applied by a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from combat_history.actions.adjust import adjust, give
from combat_history.models import (
    AuditEntry,
    Character,
    InventoryItem,
    LedgerLine,
    ParkedOperation,
)
from persistence.contract import redis_keys
from persistence.tasks import task_sync_state
from persistence.worker import inbox
from tests.support.admin import audit, body, change_url, logged_in, told, viewer
from tests.support.belts import begin
from tests.support.documents import HERO, PELT, POTION, SWORD, op
from tests.support.factories import add_character, add_item, add_template
from tests.support.ids import new_session_id
from tests.support.operations import (
    parked,
    pieces,
    queue,
    queued,
    rows,
)
from tests.support.pages import text_of
from tests.support.parallel import in_threads
from tests.support.reconciling import found

pytestmark = pytest.mark.usefixtures("world")

URL = f"/admin/combat_history/character/{HERO}/inventory/"
PLAYER = f"/admin/combat_history/character/{HERO}/change/"
REASON = "Potions were lost in the outage"
SCRIPT = "<script>alert('x')</script>"


@pytest.fixture
def client(db: None) -> Client:
    call_command("create_groups", verbosity=0)
    user = User.objects.create_user("anna", is_staff=True)
    user.groups.add(Group.objects.get(name="Game admin"))
    return logged_in(user)


@pytest.fixture
def redis_away(world: None, settings: Settings) -> Iterator[None]:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for cached in (inbox.client, inbox.script):
        cached.cache_clear()
    yield
    for cached in (inbox.client, inbox.script):
        cached.cache_clear()


def checked(client: Client, **wish: Any) -> tuple[str, str | None]:
    """What the page says of a wish, and the operations that it would send."""
    response = client.get(URL, wish)
    assert response.status_code == 200
    page = response.content.decode()
    is_offered = f'method="post" action="{URL}"' in page
    form = response.context["form"] if is_offered else None
    return text_of(page), form.initial["operations"] if form else None


def send(client: Client, operations: str | None, reason: str = REASON) -> Any:
    assert operations is not None
    return client.post(URL, {"operations": operations, "reason": reason})


def correct(client: Client, **wish: Any) -> Any:
    return send(client, checked(client, **wish)[1])


def work() -> None:
    task_sync_state("inventory", HERO)


def asked_for() -> list[bytes]:
    return inbox.client().zrange(redis_keys.INTENTS, 0, -1)  # type: ignore[return-value]


def test_what_is_given_is_shown_queued_and_applied_by_a_worker(client: Client) -> None:
    assert URL in body(client, PLAYER)
    assert text_of(body(client, URL)).count("Small health potion") >= 1
    text, operations = checked(client, what="give", item="Wolf pelt", quantity=3)
    assert "Wolf pelt (wolf_pelt) a new row: 0 → 3" in text
    assert (queued(), asked_for()) == ([], [])
    assert not AuditEntry.objects.exists()

    response = send(client, operations)

    assert response["Location"] == PLAYER
    assert told(response)[0].startswith(
        "The correction is queued: Wolf pelt (wolf_pelt) a new row: 0 → 3."
    )
    assert asked_for() == [f"inventory:{HERO}".encode()]
    assert pieces(PELT) == 0
    work()
    assert pieces(PELT) == 3
    assert (queued(), parked()) == ([], {})
    assert found() == {}
    entry = AuditEntry.objects.get()
    sent = json.loads(operations or "")
    assert (entry.actor_name, entry.verb, entry.outcome) == ("anna", "adjust", "done")
    assert (entry.target_type, entry.target_id) == ("character", str(HERO))
    assert entry.reason == REASON
    assert entry.after == {"op_id": sent[0]["op_id"], "operations": sent}
    line = LedgerLine.objects.get(kind="operation")
    assert line.items[0]["op_id"] == sent[0]["op_id"]
    assert "given: Wolf pelt (wolf_pelt)" in text_of(body(client, PLAYER))


def test_all_taken_from_a_row_removes_it(client: Client) -> None:
    text, operations = checked(client, what="take", row=POTION, quantity=5)
    assert f"Small health potion (hp_pot_small) #{POTION}: 5 → 0, row removed" in text

    send(client, operations)
    work()

    assert POTION not in rows()
    assert found() == {}
    assert AuditEntry.objects.get().before == {
        "rows": [{"inventory_id": POTION, "quantity": 5, "durability": None}]
    }


def test_durability_is_set_within_its_limit(client: Client) -> None:
    text, operations = checked(client, what="durability", row=SWORD, durability=40)
    assert "durability 100 → 40" in text

    send(client, operations)
    work()

    assert InventoryItem.objects.get(pk=SWORD).durability == 40
    assert found() == {}
    text, operations = checked(client, what="durability", row=SWORD, durability=101)
    assert "amount out of range" in text
    assert operations is None
    text, operations = checked(client, what="durability", row=SWORD, durability=40)
    assert "the inventory is so already" in text
    assert operations is None


@pytest.mark.parametrize("in_bag", [0, 4])
def test_a_row_in_a_slot_is_given_to_and_the_bag_stays_as_it_is(
    client: Client, in_bag: int
) -> None:
    """A fight takes from the row that it names, wherever other pieces are."""
    if in_bag:
        add_item(HERO, "hp_pot_small", 90, quantity=in_bag)
    text, operations = checked(client, what="give", row=POTION, quantity=2)
    assert f"#{POTION}: 5 → 7" in text
    assert "a new row" not in text

    send(client, operations)
    work()

    expected = {POTION: ("hp_pot_small", 7, "belt_1"), SWORD: rows()[SWORD]}
    if in_bag:
        expected[90] = ("hp_pot_small", in_bag, None)
    assert rows() == expected
    assert (queued(), parked(), found()) == ([], {}, {})


def test_a_row_in_the_bag_is_given_to(client: Client) -> None:
    add_item(HERO, PELT, 90, quantity=1)
    add_item(HERO, PELT, 91, quantity=1)
    for row in (90, 91):
        correct(client, what="give", row=row, quantity=2)
        work()
    assert (rows()[90][1], rows()[91][1]) == (3, 3)
    assert (parked(), found()) == ({}, {})


def test_a_double_click_applies_once(client: Client) -> None:
    _, operations = checked(client, what="give", item=PELT, quantity=3)
    send(client, operations)

    again = send(client, operations)

    assert "queued before" in told(again)[-1]
    assert len(parked()) == 1
    work()
    late = send(client, operations)
    assert "queued before" in told(late)[-1]
    work()
    assert (pieces(PELT), parked(), found()) == (3, {}, {})
    outcomes = [entry.outcome for entry in AuditEntry.objects.order_by("id")]
    assert outcomes == ["done", "skipped", "skipped"]


def test_two_clicks_at_once_apply_once(client: Client) -> None:
    _, operations = checked(client, what="give", item=PELT, quantity=3)

    def click() -> None:
        send(client, operations)

    in_threads(click, click)

    assert len(parked()) == 1
    assert AuditEntry.objects.filter(outcome="done").count() == 1


def test_nobody_but_an_admin_can_ask_for_a_correction(client: Client) -> None:
    """Whoever may write to Redis queues what looks like one."""
    _, operations = checked(client, what="give", row=POTION, quantity=3)
    queue(*json.loads(operations or ""))
    work()
    assert rows()[POTION][1] == 5
    assert set(parked().values()) == {"bad_signature"}

    send(client, operations)
    work()

    assert (rows()[POTION][1], found()) == (8, {})


def test_what_a_settled_reservation_holds_is_refused(client: Client) -> None:
    fight = new_session_id()
    InventoryItem.objects.filter(pk=POTION).update(reserved_session_id=fight)
    text, operations = checked(client, what="take", row=POTION, quantity=1)
    assert "Nothing was changed: held by a fight." in text
    assert str(fight) in text
    assert f'href="/admin/combat_history/combathistory/?q={fight}"' in body(client, URL)
    assert operations is None


def test_what_the_belt_of_a_running_fight_holds_is_refused_at_the_door(
    client: Client, redis_client: redis.Redis
) -> None:
    _, operations = checked(client, what="take", row=POTION, quantity=1)
    fight = new_session_id()
    belt = [{"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": 5}]
    begin(redis_client, fight, HERO, belt_items=belt)
    redis_client.hset(redis_keys.account(HERO), "combat_session_id", str(fight))

    response = send(client, operations)

    assert response.status_code == 200
    page = text_of(response.content.decode())
    assert "Nothing was changed: held by a fight." in page
    assert str(fight) in page
    assert queued() == []
    assert audit(HERO)[0].startswith("adjust failed: ItemReserved")


@pytest.mark.parametrize(
    ("wish", "fault"),
    [
        ({"what": "give", "item": "unheard_of", "quantity": 1}, "No such item"),
        ({"what": "give", "quantity": 1}, "Name an item or a row."),
        ({"what": "give", "item": PELT}, "This is needed here."),
        ({"what": "give", "item": PELT, "quantity": 0}, "greater than or equal to 1"),
        ({"what": "take", "row": 77, "quantity": 1}, "has no inventory row 77"),
        ({"what": "take", "row": 2**70, "quantity": 1}, "less than or equal to"),
        ({"what": "take", "row": 700, "quantity": 1}, "has no inventory row 700"),
        ({"what": "take", "row": POTION, "quantity": 6}, "too few pieces"),
        ({"what": "take", "row": POTION, "item": PELT, "quantity": 1}, "another item"),
        ({"what": "durability", "row": POTION, "durability": 1}, "does not wear"),
        ({"what": "durability", "durability": 1}, "This is needed here."),
        ({"what": "give", "row": SWORD, "quantity": 1}, "does not stack"),
        (
            {"what": "give", "row": POTION, "quantity": 1, "durability": 9},
            "has no meaning",
        ),
        (
            {"what": "durability", "row": SWORD, "quantity": 1, "durability": 9},
            "has no meaning",
        ),
        ({"what": "burn", "row": SWORD}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_is_told_and_not_offered(
    client: Client, wish: dict[str, Any], fault: str
) -> None:
    add_item(add_character(102).pk, PELT, 700, quantity=1)

    text, operations = checked(client, **wish)

    assert fault in text
    assert operations is None


@pytest.mark.parametrize(
    "operations",
    [
        "no json",
        "{}",
        "[]",
        '["give"]',
        "[" * 5000,
        json.dumps([op("x", "equip", inventory_id=POTION, slot="belt_2")]),
        json.dumps([op("x", "add", item_template_id=PELT, qty=-1)]),
        json.dumps([op("x\0", "add", item_template_id=PELT, qty=1)]),
        json.dumps([op("\ud800", "add", item_template_id=PELT, qty=1)]),
        json.dumps([op("x", "add", item_template_id="unheard_of", qty=1)]),
        json.dumps([op(str(n), "add", item_template_id=PELT, qty=1) for n in range(4)]),
    ],
)
def test_a_forged_form_queues_nothing(client: Client, operations: str) -> None:
    response = send(client, operations)
    assert response.status_code == 200
    assert queued() == []
    assert not AuditEntry.objects.filter(outcome="done").exists()


def test_a_correction_needs_a_reason(client: Client) -> None:
    _, operations = checked(client, what="give", item=PELT, quantity=3)

    response = send(client, operations, reason="short")

    assert response.context["form"].errors
    assert "a new row: 0 → 3" in response.content.decode()
    assert queued() == []


def test_without_the_permission_it_is_hidden_refused_and_written_down() -> None:
    sam = viewer("sam")
    support = logged_in(sam)
    assert "/inventory/" not in body(support, PLAYER)
    steps = give("admin:x", PELT, 1)
    assert support.get(URL, {"what": "give"}).status_code == 403

    assert send(support, json.dumps(steps)).status_code == 403

    with pytest.raises(PermissionDenied):
        adjust(HERO, steps, actor=sam, reason=REASON)
    denied = f"adjust denied: no permission; reason: {REASON}"
    assert audit(HERO) == [denied, denied]
    assert (queued(), asked_for()) == ([], [])


@pytest.mark.usefixtures("redis_away")
def test_redis_away_is_told_and_the_same_form_may_be_sent_again(client: Client) -> None:
    _, operations = checked(client, what="give", item=PELT, quantity=3)

    response = send(client, operations)

    page = text_of(response.content.decode())
    assert "Nobody confirmed the correction" in page
    assert response.context["form"]["operations"].value() == operations
    (line,) = audit(HERO)
    assert line.startswith("adjust failed: ConnectionError")
    assert pieces(PELT) == 0


def test_what_moved_meanwhile_is_parked_and_explained(client: Client) -> None:
    _, operations = checked(client, what="take", row=POTION, quantity=4)
    queue(op("sip", "remove", inventory_id=POTION, qty=3))

    send(client, operations)
    work()

    assert rows()[POTION][1] == 2
    assert list(parked().values()) == ["item_shortage"]
    text = text_of(body(client, PLAYER))
    assert "too few pieces" in text
    assert ParkedOperation.objects.get().op_id in text


def test_names_of_items_stay_text(client: Client) -> None:
    add_template("evil", name=SCRIPT)
    Character.objects.filter(pk=HERO).update(name=SCRIPT)
    add_item(HERO, "evil", 80, quantity=2)
    for query in ({}, {"what": "give", "item": SCRIPT, "quantity": "1"}):
        page = body(client, URL, query)
        assert SCRIPT not in page
        assert "&lt;script&gt;alert" in page
    response = correct(client, what="take", row=80, quantity=1)
    assert SCRIPT in told(response)[0]
    page = client.get(PLAYER).content.decode()
    assert SCRIPT not in page


def test_a_player_that_never_was_is_not_found(client: Client) -> None:
    for pk in (999_999, 2**80):
        url = f"/admin/combat_history/character/{pk}/inventory/"
        assert client.get(url).status_code == 404


def test_a_prefilled_row_is_offered(client: Client) -> None:
    assert f'{URL}?row={POTION}"' in body(client, PLAYER)
    response = client.get(URL, {"row": POTION})
    assert response.context["wish"]["row"].value() == str(POTION)
    assert change_url(Character.objects.get(pk=HERO)) == PLAYER
