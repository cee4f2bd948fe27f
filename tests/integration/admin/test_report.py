"""A combat's page as a report: sides, before and after, timeline, corrections."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils.timezone import localtime
from pytest_django import Settings

from combat_history.actions.replay import replay
from combat_history.models import (
    AuditEntry,
    CombatHistory,
    CombatRevision,
    LedgerLine,
    ReplayRequest,
    SettlementAttempt,
    Status,
)
from persistence.contract.ids import short_id
from tests.conftest import Settle
from tests.support.admin import (
    LIST_URL,
    REASON,
    add_combat,
    add_failed,
    body,
    change_url,
    count_queries,
    list_url,
    logged_in,
    unknown_loot,
    with_status,
)
from tests.support.documents import (
    HERO,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.factories import add_character, add_template
from tests.support.ids import new_session_id
from tests.support.pages import text_of

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SCRIPT = "<script>alert('x')</script>"


def team_fight() -> dict[str, Any]:
    return make_document(
        {
            "101": make_participant(team="blue", xp_gained=10, gold_gained=-7),
            "102": make_participant(team="red", is_winner=False, name="Ждан"),
            "goblin_1": {"name": "Гоблин", "team": "red", "hp": 3},
        }
    )


def add_line(combat: CombatHistory, **over: Any) -> LedgerLine:
    values = {
        "session_id": combat.pk,
        "character_id": HERO,
        "kind": "settlement",
        "xp_delta": 10,
        "gold_delta": -7,
        "xp_after": 110,
        "gold_after": 0,
    }
    return LedgerLine.objects.create(**{**values, **over})


def test_both_sides_are_told_with_winner_and_monsters(client: Client) -> None:
    add_character(HERO, name="Герой")
    combat = add_failed(result_payload=team_fight(), participant_ids=[101, 102])
    page = body(client, change_url(combat))
    text = text_of(page)
    assert "blue winner" in text
    assert "red winner" not in text
    assert text.index("blue winner") < text.index("Гоблин (goblin_1) AI health 3")
    assert "Ждан (102) no such character" in text
    # What a failed combat would have changed.
    assert "By the document: +10 XP, -7 gold" in text
    assert f'href="/admin/combat_history/character/{HERO}/change/"' in page
    assert "/character/102/" not in page
    assert f'href="{LIST_URL}?q=102"' in page


def test_a_combat_is_named_once_and_shortly(client: Client) -> None:
    combat = add_failed()
    page = body(client, change_url(combat))
    assert f"<title>Combat {short_id(combat.pk)} | " in page
    above, _, _document = text_of(page).partition("The document without")
    assert above.count(str(combat.pk)) == 1


def test_a_failure_stands_in_the_timeline(client: Client) -> None:
    combat = add_failed(received_at=START, failure_detail="no such item")
    combat.refresh_from_db()
    assert combat.failed_at is not None
    moment = localtime(combat.failed_at).strftime("%Y-%m-%d %H:%M:%S")
    told = f"{moment} failed unknown item (unknown_item) — — no such item"
    assert told in text_of(body(client, change_url(combat)))


def test_the_batch_that_replayed_a_combat_is_linked(
    client: Client, viewer: User
) -> None:
    combat = add_failed()
    batch_id = new_session_id()
    ReplayRequest.objects.create(
        session_id=combat.pk, actor_name="anna", reason="-", batch_id=batch_id
    )
    link = f'href="/admin/combat_history/replaybatch/{batch_id}/change/"'
    assert link in body(client, change_url(combat))
    permission = Permission.objects.get(codename="view_replaybatch")
    viewer.user_permissions.remove(permission)
    assert link not in body(logged_in(viewer), change_url(combat))


@pytest.mark.parametrize("language", ["en", "ru"])
def test_moments_look_the_same_in_every_language(client: Client, language: str) -> None:
    combat = add_failed(finished_at=START)
    languages = {"accept-language": language}
    for url in (change_url(combat), LIST_URL):
        page = client.get(url, headers=languages).content.decode()
        assert "2026-01-02 03:04" in text_of(page)


def test_a_settled_combat_tells_what_it_did_and_not_what_it_promised(
    client: Client, settle_here: Settle
) -> None:
    document = make_document()
    settle_here(document)
    text = text_of(body(client, f"{LIST_URL}{document['session_id']}/change/"))
    assert "0 → 10 (+10)" in text
    assert "By the document" not in text
    assert "after it was received" in text


def test_a_removed_row_and_an_undone_combat_are_told(client: Client) -> None:
    combat = with_status(Status.PROCESSED)
    add_template("pot", name="Зелье", name_en="Potion")
    image = {"id": 55, "quantity": 0}
    gone = {"inventory_id": 55, "item_template_id": "pot", "kind": "consumed"}
    add_line(combat, items=[{**gone, "delta": -2, "after": 0, "image": image}])
    add_line(combat, kind="compensation", xp_delta=-10, xp_after=100, gold_delta=7)
    text = text_of(body(client, change_url(combat)))
    assert "consumed: Potion (pot) #55 2 → 0 (-2) · row removed" in text
    assert "100 → 110 (+10)" in text
    assert "101 · undo" in text
    assert "110 → 100 (-10)" in text


def test_what_a_line_does_not_say_is_not_guessed(client: Client) -> None:
    combat = with_status(Status.PROCESSED)
    odd = {"kind": "conjured", "item_template_id": None, "delta": "many"}
    add_line(combat, items=[odd, "nonsense"])
    text = text_of(body(client, change_url(combat)))
    assert "conjured: — #None — → — (many)" in text


def test_timeline_tells_everything_in_its_order(client: Client) -> None:
    combat = add_combat(
        settlement_status=Status.PROCESSED,
        finished_at=START,
        received_at=START + timedelta(seconds=1),
        settled_at=START + timedelta(minutes=30),
    )
    second = timedelta(seconds=1)
    SettlementAttempt.objects.create(
        session_id=combat.pk,
        started_at=START + 2 * second,
        ended_at=START + 2 * second + timedelta(milliseconds=123),
        worker="host:7",
        outcome="failed",
        code="unexpected",
        detail="KeyError: 'x'",
    )
    SettlementAttempt.objects.create(
        session_id=combat.pk, started_at=START + 5 * second
    )
    ReplayRequest.objects.create(
        session_id=combat.pk,
        requested_at=START + 8 * second,
        actor_name="olga",
        reason="Fixed it",
        shortages="record",
        revision=2,
        state="refused",
        detail="the state moved",
    )
    AuditEntry.objects.create(
        at=START + 9 * second,
        actor_name="ivan",
        verb="void",
        target_type="combat",
        target_id=str(combat.pk),
        reason="Not needed",
        outcome="denied",
    )
    page = body(client, change_url(combat))
    text = text_of(page)
    wanted = [
        "2026-01-02 03:04:05 the fight ended",
        "2026-01-02 03:04:06 received",
        "2026-01-02 03:04:07 attempt failed host:7 123 ms "
        "unexpected error (unexpected)",
        "2026-01-02 03:04:10 attempt never ended",
        "2026-01-02 03:04:13 replay requested refused olga — Fixed it; "
        "shortages are recorded; revision 2",
        "2026-01-02 03:04:14 void denied ivan — Not needed",
        "2026-01-02 03:34:05 settled — — 30 min",
    ]
    places = [text.index(line) for line in wanted]
    assert places == sorted(places)
    # Long details are folded.
    folded = page[page.index("<details>") :]
    assert "KeyError" in folded
    assert "the state moved" in folded


def test_the_audit_is_for_those_who_may_view_it(viewer: User) -> None:
    combat = add_failed()
    AuditEntry.objects.create(
        actor_name="ivan",
        verb="void",
        target_type="combat",
        target_id=str(combat.pk),
        outcome="denied",
    )
    assert "ivan" in body(logged_in(viewer), change_url(combat))
    viewer.user_permissions.remove(Permission.objects.get(codename="view_auditentry"))
    assert "ivan" not in body(logged_in(viewer), change_url(combat))


def test_corrected_documents_are_shown_with_their_differences(client: Client) -> None:
    document = team_fight()
    combat = add_failed(result_payload=document, revision=2)
    corrected = make_document({"103": make_participant(team="green")})
    CombatRevision.objects.create(
        session_id=combat.pk,
        revision=2,
        document=corrected,
        payload_sha256="0" * 64,
        diff=[
            {"path": "participants.103", "before": None, "after": {"team": SCRIPT}},
            "nonsense",
        ],
        author_name="olga",
        reason="Wrong player",
    )
    page = body(client, change_url(combat))
    text = text_of(page)
    assert "revision 2 in force" in text
    assert "olga: Wrong player" in text
    assert 'participants.103 null { "team": "<script>' in text
    assert SCRIPT not in page
    # The sides are those of the document in force; the original stays below.
    assert "green" in text
    assert "Гоблин (goblin_1)" not in text
    assert "goblin_1" in text


def test_a_traceback_is_folded(client: Client) -> None:
    combat = add_failed("unexpected", failure_traceback="Traceback: line 1")
    page = body(client, change_url(combat))
    before, after = page.split("Traceback: line 1")
    assert before.count("<details") == before.count("</details>") + 1
    assert "</details>" in after


def test_links_lead_to_the_ledger_and_back(client: Client) -> None:
    combat = with_status(Status.PROCESSED)
    line = add_line(combat)
    ledger = f"{list_url(LedgerLine)}?q={combat.pk}"
    assert f'href="{ledger}"' in body(client, change_url(combat))
    assert f'href="{change_url(combat)}"' in body(client, ledger)
    assert f'href="{change_url(combat)}"' in body(client, change_url(line))


def test_flower_is_linked_where_it_is_known(client: Client, settings: Settings) -> None:
    combat = add_failed()
    settings.FLOWER_URL = ""
    assert "Flower" not in body(client, change_url(combat))
    settings.FLOWER_URL = "https://flower.example/"
    url = f"https://flower.example/tasks?name=settle_combat%20args%3A{combat.pk}"
    assert f'href="{url}"' in body(client, change_url(combat))


def test_a_report_costs_a_fixed_number_of_queries(client: Client) -> None:
    combat = with_status(Status.PROCESSED)
    body(client, change_url(combat))
    few = count_queries(client, change_url(combat))
    for number in range(40):
        add_line(combat, character_id=200 + number)
        SettlementAttempt.objects.create(session_id=combat.pk)
        AuditEntry.objects.create(
            actor_name="a",
            target_type="combat",
            target_id=str(combat.pk),
            outcome="done",
        )
    assert count_queries(client, change_url(combat)) == few == 12


@pytest.mark.parametrize(
    "participants",
    [
        {"101": {"changes": {"items_gained": [1, None, {"qty": {}}]}}},
        {"101": {"changes": [], "ui_report": {"loot_obtained": [{"name": 7}]}}},
        {"101": {"team": 5, "state_snapshot": [], "is_winner": "yes"}},
        {"9" * 25: {"changes": {"xp_gained": "lots", "gold_gained": True}}},
        {"\x00": {"name": "\u202eevil"}},
    ],
)
def test_odd_participants_are_left_readable(client: Client, participants: Any) -> None:
    combat = add_failed(
        result_payload={"participants": participants, "meta": {"winner_team": []}}
        if "\x00" not in participants
        else {"participants": {"x": participants["\x00"]}}
    )
    assert "\u202e" not in body(client, change_url(combat))


def test_a_crowd_is_cut(client: Client) -> None:
    crowd = {str(n): make_participant(team="blue") for n in range(1, 301)}
    combat = add_failed(result_payload=make_document(crowd))
    assert "… and 200 more" in text_of(body(client, change_url(combat)))


@pytest.mark.usefixtures("world")
def test_a_rail_says_how_far_a_combat_has_come(
    client: Client, settle_here: Settle, operator: User
) -> None:
    def rail(session_id: str) -> list[tuple[str, str, str]]:
        url = f"{LIST_URL}{session_id}/change/"
        stations = client.get(url).context["stations"]
        return [(str(s.label), s.tone, s.who) for s in stations]

    loot, won = unknown_loot(), sample_document()
    settle_here(loot, won)
    ended, received = ("the fight ended", "done", ""), ("received", "done", "")
    assert rail(won["session_id"]) == [ended, received, ("settled", "done", "")]
    failed = [ended, received, ("failed", "bad", "")]
    assert rail(loot["session_id"]) == [
        *failed,
        ("repair", "now", ""),
        ("settled", "ahead", ""),
    ]
    replay([UUID(loot["session_id"])], actor=operator, reason=REASON)
    assert rail(loot["session_id"]) == [
        *failed,
        ("repair", "done", "operator"),
        ("settled", "now", ""),
    ]


def test_one_button_is_first_and_the_others_are_in_a_menu(
    client: Client, failed: UUID
) -> None:
    page = client.get(f"{LIST_URL}{failed}/change/")
    assert page.context["first_decision"][1] == "Preview"
    others = [label for _url, label in page.context["decisions"]]
    assert others == ["Replay", "Correct", "Void"]
    assert page.content.decode().count("combat-first") == 1
    assert "failures/group/?code=unknown_item&amp;subject=" in page.content.decode()
