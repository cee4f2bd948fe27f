"""The outcome that a player looks at says so when the reward is credited."""

from __future__ import annotations

from uuid import UUID

import pytest

from persistence.engine.handoff import checked
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from tests.integration.telegram.conftest import Press, data_of
from tests.support.bot_api import BotApi, Call
from tests.support.documents import sample_document
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world", "bot")


@pytest.mark.parametrize(
    ("language", "before", "after"),
    [
        ("ru", "Статус: начисляется", "Награда начислена."),
        ("en", "Status: being credited", "The reward is credited."),
    ],
)
def test_the_outcome_is_edited_when_the_reward_is_credited(
    press: Press, bot_api: BotApi, language: str, before: str, after: str
) -> None:
    document = sample_document()
    fight = UUID(document["session_id"])
    inbox.record(checked(document))
    message = press.message()
    update = press.send(fight, message=message, language=language)

    def edits() -> list[Call]:
        calls = bot_api.calls()
        return [call for call in calls if call.method == "editMessageText"]

    wait_until(edits, "the outcome is shown")
    assert update
    assert before in edits()[0].params["text"]
    settle_inbox()

    wait_until(lambda: len(edits()) == 2, "the outcome is edited")
    edit = edits()[1]
    assert edit.params["text"].startswith(f"{after}\n")
    assert before not in edit.params["text"]
    assert int(edit.params["message_id"]) == message["message_id"]
    assert [data for _, data in edit.keyboard()] == [data_of(fight, "result")]
