"""What a player reads: the expected lines, true, in two languages, never too long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from combat_history.reading.lookup import ACTIVE, UNKNOWN, Credit, Lookup, State
from combat_history.reading.outcomes import Loot, Outcome
from combat_history.reading.player_text import callback_text, message_text
from persistence.contract.meta import FinishReason

SAMPLE = Outcome(
    winner_team="blue",
    finish_reason="victory",
    end_timestamp=1_735_460_000,
    is_winner=True,
    team="blue",
    xp=1250,
    gold=100,
    loot=(Loot("Шкура волка", 1),),
)


def credited(**over: object) -> Lookup:
    return finished(Credit.CREDITED, **over)


def finished(credit: Credit, **over: object) -> Lookup:
    return Lookup(State.FINISHED, credit, replace(SAMPLE, **over))  # type: ignore[arg-type]


def lines(lookup: Lookup, language: str = "ru") -> list[str]:
    return message_text(lookup, language).split("\n")


def units(text: str) -> int:
    """Telegram's own measure of length."""
    return len(text.encode("utf-16-le")) // 2


def test_the_sample_reads_as_in_the_seed_then_experience_and_loot() -> None:
    assert lines(credited()) == [
        "Бой уже завершен!",
        "Победитель: Синие",
        "Награда: 100 золота",
        "Опыт: 1250 очков",
        "Добыча: Шкура волка",
        "Статус: начислено",
    ]


def test_the_sample_in_english() -> None:
    assert lines(credited(), "en") == [
        "The fight is already over!",
        "Winner: Blue",
        "Reward: 100 gold",
        "Experience: 1250 points",
        "Loot: Шкура волка",
        "Status: credited",
    ]


@pytest.mark.parametrize(
    ("team", "line"),
    [
        ("blue", "Победитель: Синие"),
        ("red", "Победитель: Красные"),
        ("RED", "Победитель: Красные"),
        ("Орда", "Победитель: Орда"),
        (" ночной\n\tдозор ", "Победитель: ночной дозор"),
        ("draw", "Победа!"),
        (None, "Победа!"),
        ("", "Победа!"),
        ("Nobody", "Победа!"),
    ],
)
def test_winner(team: str | None, line: str) -> None:
    assert lines(credited(winner_team=team))[1] == line


@pytest.mark.parametrize(
    ("gold", "russian", "english"),
    [
        (1, "Награда: 1 золото", "Reward: 1 gold"),
        (2, "Награда: 2 золота", "Reward: 2 gold"),
        (100, "Награда: 100 золота", "Reward: 100 gold"),
        (-1, "Штраф: 1 золото", "Penalty: 1 gold"),
        (-40, "Штраф: 40 золота", "Penalty: 40 gold"),
    ],
)
def test_reward_and_penalty(gold: int, russian: str, english: str) -> None:
    assert lines(credited(gold=gold))[2] == russian
    assert lines(credited(gold=gold), "en")[2] == english


@pytest.mark.parametrize(
    ("xp", "russian", "english"),
    [
        (1, "Опыт: 1 очко", "Experience: 1 point"),
        (2, "Опыт: 2 очка", "Experience: 2 points"),
        (5, "Опыт: 5 очков", "Experience: 5 points"),
        (11, "Опыт: 11 очков", "Experience: 11 points"),
        (21, "Опыт: 21 очко", "Experience: 21 points"),
        (112, "Опыт: 112 очков", "Experience: 112 points"),
        (124, "Опыт: 124 очка", "Experience: 124 points"),
    ],
)
def test_experience_has_the_right_plural(xp: int, russian: str, english: str) -> None:
    assert lines(credited(xp=xp))[3] == russian
    assert lines(credited(xp=xp), "en")[3] == english


@pytest.mark.parametrize(
    ("over", "russian", "english"),
    [
        ({"finish_reason": "draw"}, ["Ничья"], ["Draw"]),
        ({"finish_reason": "draw", "winner_team": "blue"}, ["Ничья"], ["Draw"]),
        ({"finish_reason": "draw", "winner_team": "draw"}, ["Ничья"], ["Draw"]),
        ({"winner_team": " DRAW "}, ["Ничья"], ["Draw"]),
        ({"winner_team": "Ничья"}, ["Ничья"], ["Draw"]),
        ({"finish_reason": "victory"}, ["Поражение"], ["Defeat"]),
        ({"finish_reason": "defeat"}, ["Поражение"], ["Defeat"]),
        ({"finish_reason": "defeat", "is_winner": True}, ["Победа!"], ["Victory!"]),
        ({"winner_team": "none"}, ["Поражение"], ["Defeat"]),
        (
            {"finish_reason": "flee"},
            ["Бой закончился бегством"],
            ["The fight ended in an escape"],
        ),
        (
            {"finish_reason": "flee", "winner_team": "red"},
            ["Бой закончился бегством", "Победитель: Красные"],
            ["The fight ended in an escape", "Winner: Red"],
        ),
        (
            {"finish_reason": "abandoned"},
            ["Бой прерван"],
            ["The fight was broken off"],
        ),
        ({"finish_reason": "of an older contract"}, ["Поражение"], ["Defeat"]),
    ],
)
def test_each_way_to_end_has_its_own_words(
    over: dict[str, object], russian: list[str], english: list[str]
) -> None:
    told = credited(**{"winner_team": None, "is_winner": False, **over})

    assert lines(told)[1 : 1 + len(russian)] == russian
    assert lines(told, "en")[1 : 1 + len(english)] == english
    assert lines(told)[1 + len(russian)] == "Награда: 100 золота"


NOTHING: dict[str, object] = {"gold": 0, "xp": 0, "loot": ()}
PENALTY: dict[str, object] = {**NOTHING, "gold": -5}
BOTH: dict[str, object] = {"gold": -5, "xp": 3, "loot": ()}


@pytest.mark.parametrize(
    ("over", "shown"),
    [
        (NOTHING, ["Без награды"]),
        (PENALTY, ["Штраф: 5 золота"]),
        (BOTH, ["Штраф: 5 золота", "Опыт: 3 очка"]),
        ({**NOTHING, "xp": 3}, ["Опыт: 3 очка"]),
        ({**NOTHING, "loot": (Loot("Клык", 1),)}, ["Добыча: Клык"]),
    ],
)
def test_only_what_is_moved_is_named(over: dict[str, object], shown: list[str]) -> None:
    assert lines(credited(**over))[2:-1] == shown


@pytest.mark.parametrize(
    ("credit", "penalty", "other", "english"),
    [
        (
            Credit.PENDING,
            "Статус: списывается",
            "Статус: подводим итоги",
            "Status: being deducted",
        ),
        (
            Credit.CREDITED,
            "Статус: списано",
            "Статус: итоги подведены",
            "Status: deducted",
        ),
        (
            Credit.UNDER_REVIEW,
            "Статус: на проверке, пока ничего не списано",
            "Статус: на проверке",
            "Status: under review, nothing is deducted yet",
        ),
        (
            Credit.CANCELLED,
            "Статус: отменено, списаний не будет",
            "Статус: отменено",
            "Status: cancelled, nothing will be deducted",
        ),
        (
            Credit.REVERSED,
            "Результат боя отменён",
            "Результат боя отменён",
            "The result of the fight was reversed",
        ),
    ],
)
def test_a_penalty_is_never_called_credited(
    credit: Credit, penalty: str, other: str, english: str
) -> None:
    assert lines(finished(credit, **PENALTY))[-1] == penalty
    assert lines(finished(credit, **PENALTY), "en")[-1] == english
    assert lines(finished(credit, **NOTHING))[-1] == other
    assert lines(finished(credit, **BOTH))[-1] == other


def test_no_experience_and_no_loot_take_no_line() -> None:
    assert lines(credited(xp=0, loot=())) == [
        "Бой уже завершен!",
        "Победитель: Синие",
        "Награда: 100 золота",
        "Статус: начислено",
    ]


def test_loot_of_one_name_is_one_entry() -> None:
    loot = (Loot("Клык", 2), Loot("Шкура волка", 1), Loot("Клык", 1))

    assert lines(credited(loot=loot))[-2] == "Добыча: Клык ×3, Шкура волка"


@pytest.mark.parametrize(
    ("credit", "russian", "english"),
    [
        (Credit.PENDING, "Статус: начисляется", "Status: being credited"),
        (Credit.CREDITED, "Статус: начислено", "Status: credited"),
        (
            Credit.UNDER_REVIEW,
            "Статус: на проверке, пока ничего не начислено",
            "Status: under review, nothing is credited yet",
        ),
        (
            Credit.CANCELLED,
            "Статус: отменено, начислений не будет",
            "Status: cancelled, nothing will be credited",
        ),
        (
            Credit.REVERSED,
            "Результат боя отменён",
            "The result of the fight was reversed",
        ),
    ],
)
def test_what_became_of_the_rewards_is_the_last_line(
    credit: Credit, russian: str, english: str
) -> None:
    assert lines(finished(credit))[-1] == russian
    assert lines(finished(credit), "en")[-1] == english


def test_a_reward_that_was_taken_back_is_not_named() -> None:
    assert lines(finished(Credit.REVERSED), "en") == [
        "The fight is already over!",
        "Winner: Blue",
        "The result of the fight was reversed",
    ]


def test_a_reward_that_nobody_will_get_is_not_named() -> None:
    assert lines(finished(Credit.CANCELLED)) == [
        "Бой уже завершен!",
        "Победитель: Синие",
        "Статус: отменено, начислений не будет",
    ]


@pytest.mark.parametrize(
    ("credit", "line"),
    [
        (Credit.PENDING, "Итог ещё не получен"),
        (Credit.UNDER_REVIEW, "Статус: на проверке, пока ничего не начислено"),
        (Credit.CANCELLED, "Статус: отменено, начислений не будет"),
    ],
)
def test_a_finished_fight_without_a_readable_result(credit: Credit, line: str) -> None:
    lookup = Lookup(State.FINISHED, credit)

    assert lines(lookup) == ["Бой уже завершен!", line]


def test_unknown_and_active() -> None:
    assert message_text(UNKNOWN, "ru") == "Бой устарел или не существует"
    assert callback_text(UNKNOWN, "ru") == "Бой устарел или не существует"
    english = "The fight is out of date or does not exist"
    assert message_text(UNKNOWN, "en") == english
    assert message_text(ACTIVE, "ru") == "Бой ещё идёт"
    assert callback_text(ACTIVE, "en") == "The fight is still going on"


@pytest.mark.parametrize("language", ["ru-RU", "RU", "ru"])
def test_language_codes_of_clients_are_understood(language: str) -> None:
    assert message_text(ACTIVE, language) == "Бой ещё идёт"


@pytest.mark.parametrize("language", [None, "", "kk", "../../etc", "x" * 600])
def test_other_languages_get_the_default(language: str | None) -> None:
    assert message_text(ACTIVE, language) == "The fight is still going on"


def test_long_loot_ends_in_an_ellipsis_and_the_status_stays() -> None:
    loot = tuple(Loot(f"Трофей номер {n}", n) for n in range(1, 100))
    lookup = finished(Credit.PENDING, loot=loot)

    short = callback_text(lookup, "ru").split("\n")

    assert short[:3] == [
        "Бой уже завершен!",
        "Победитель: Синие",
        "Награда: 100 золота",
    ]
    assert short[-2].startswith("Добыча: Трофей номер 1, Трофей номер 2 ×2")
    assert short[-2].endswith(", …")
    assert short[-1] == "Статус: начисляется"
    assert "Трофей номер 99 ×99" in message_text(lookup, "ru")


def test_a_callback_answer_uses_the_room_it_has() -> None:
    loot = tuple(Loot(f"{n:02}", 1) for n in range(99))

    assert 190 < units(callback_text(credited(loot=loot), "ru")) <= 200


def test_a_name_cannot_forge_a_line() -> None:
    forged = "red\nНаграда: 1000000 золота"
    lookup = credited(winner_team=forged, loot=(Loot(f"Кость\u2028{forged}", 1),))

    assert len(lines(lookup)) == 6
    assert lines(lookup)[2] == "Награда: 100 золота"
    assert "\u2028" not in message_text(lookup, "ru")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
OUTCOMES = st.builds(
    Outcome,
    winner_team=st.none() | NAMES,
    finish_reason=st.sampled_from([*FinishReason]),
    end_timestamp=st.just(1),
    is_winner=st.booleans(),
    team=st.none() | NAMES,
    xp=st.integers(0, 10**9),
    gold=st.integers(-(10**9), 10**9),
    loot=st.lists(
        st.builds(Loot, name=NAMES, qty=st.integers(1, 10**6)), max_size=60
    ).map(tuple),
)


@given(
    outcome=OUTCOMES,
    credit=st.sampled_from(Credit),
    language=st.sampled_from(["ru", "en"]),
)
def test_no_text_is_ever_too_long(
    outcome: Outcome, credit: Credit, language: str
) -> None:
    lookup = Lookup(State.FINISHED, credit, outcome)

    assert units(callback_text(lookup, language)) <= 200
    assert units(message_text(lookup, language)) <= 4096
    assert message_text(lookup, language).count("\n") <= 7
