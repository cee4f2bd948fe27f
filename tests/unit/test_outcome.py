"""The summary a player sees when an old button is pressed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from persistence.contract.document import Document
from persistence.contract.outcome import summary
from tests.unit.builders import sample, sample_with, sample_without


def read(document: Document) -> Any:
    return json.loads(summary(document))


def test_the_brief_of_the_sample() -> None:
    assert read(sample()) == {
        "revision": 1,
        "winner_team": "blue",
        "finish_reason": "victory",
        "end_timestamp": 1735460000,
        "participants": {
            "101": {
                "is_winner": True,
                "team": None,
                "xp": 1250,
                "gold": 100,
                "loot": [{"name": "Шкура волка", "qty": 1}],
            }
        },
    }


def test_the_brief_is_compact_and_leaves_the_replay_out() -> None:
    text = summary(sample())

    assert (
        text
        == json.dumps(read(sample()), ensure_ascii=False)
        .replace('": ', '":')
        .replace(", ", ",")
        .encode()
    )
    assert "replay_log" not in read(sample())


def test_ai_has_no_part_in_the_brief() -> None:
    document = sample_with("participants.goblin_1", {"changes": None})
    document["participants"]["-101"] = {}

    assert list(read(document)["participants"]) == ["101"]


def test_a_fight_among_ai_has_a_brief_without_players() -> None:
    document = sample_with("participants", {"goblin_1": {}, "-7": {"is_winner": True}})

    assert read(document)["participants"] == {}


def test_a_draw_has_no_winner() -> None:
    document = sample_without("meta.winner_team")
    document["meta"]["finish_reason"] = "draw"
    document["participants"]["101"] = {"is_winner": False, "changes": {}}

    assert read(document) == {
        "revision": 1,
        "winner_team": None,
        "finish_reason": "draw",
        "end_timestamp": 1735460000,
        "participants": {
            "101": {"is_winner": False, "team": None, "xp": 0, "gold": 0, "loot": []}
        },
    }


@pytest.mark.parametrize(
    ("gained", "loot"),
    [
        ([], []),
        (None, [{"name": "Шкура волка", "qty": 1}]),
        (
            [{"item_template_id": "wolf_hide", "qty": 3}],
            [{"name": "wolf_hide", "qty": 3}],
        ),
    ],
)
def test_the_loot_shown_is_the_loot_granted(gained: object, loot: object) -> None:
    document = sample_with("participants.101.changes.items_gained", gained)

    assert read(document)["participants"]["101"]["loot"] == loot


def test_the_penalty_and_the_team_of_a_loser_are_shown() -> None:
    document = sample_with("participants.101.changes.gold_gained", -40)
    document["participants"]["101"]["team"] = "red"

    player = read(document)["participants"]["101"]
    assert (player["team"], player["gold"]) == ("red", -40)
