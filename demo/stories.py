"""Which adventures come: pairs of players who travel, trade, fight and press buttons.

Every step's outcome is certain before it is taken, because adventurers fight in no
other fights of the run and do one thing after the other. Pure: the same generator
state, clock and belongings give the same stories.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from combat_history.management.commands.seed_world import CAST_IDS
from demo import buttons, documents
from demo.adventurers import Adventurer
from demo.bag import Operation
from demo.deeds import (
    Begin,
    Deed,
    Drink,
    Finish,
    Handle,
    Press,
    Rest,
    Switch,
    Vanish,
    Walk,
)
from demo.documents import Gain
from demo.fights import monsters, player, simulate
from demo.schedule import uuid7
from demo.shortages import GONE_ROWS
from demo.submission import Outcome, Submission
from demo.world import Fighter

PLACES = ("old bridge", "swamp", "ruins", "harbour", "mill", "pass", "тракт", "роща")
QUESTS = ("wolf hunt", "lost caravan", "потерянный обоз")
GOODS = ("wolf_pelt", "iron_ore", "healing_herb", "goblin_ear", "spider_silk")
ARMS = ("axe_steel", "bow_yew", "jacket_leather")
OLD_BUTTONS = 50


class Ending(StrEnum):
    """What befalls a pair last; each comes in turn."""

    ABANDONED = "the engine of their last fight dies"
    UNHEARD = "the broker is away"
    MISHAPS = "operations that cannot be"
    ON_THE_ROAD = "a journey that is not over yet"


@dataclass
class Story:
    """Deeds in their order. `buttons`: to be pressed when all is quiet again."""

    deeds: list[Deed]
    buttons: list[Press]


def write_stories(
    rng: Random,
    adventurers: list[Adventurer],
    strangers: list[Fighter],
    run: str,
    start: int,
) -> list[Story]:
    """One story a pair. `strangers` are in none of their fights; `run` begins the
    names of operations; `start`: Unix seconds."""
    pairs = zip(adventurers[::2], adventurers[1::2], strict=True)
    endings = list(Ending)
    return [
        _Writer(rng, pair, strangers, run, start).story(endings[n % len(endings)])
        for n, pair in enumerate(pairs)
    ]


def old_buttons(rng: Random, sent: list[Submission]) -> list[Press]:
    """Buttons of fights that everybody else fought in this run."""
    settled = [s for s in sent if s.outcome is Outcome.PROCESSED]
    # Of a shortage the player is told what the document says, not what was taken.
    fights = [fight for fight in settled if not fight.shortages]
    unread = [s for s in sent if s.outcome is Outcome.REJECTED]
    presses = []
    for fight in rng.sample(fights, min(OLD_BUTTONS, len(fights))):
        char_id = rng.choice(sorted(fight.gains))
        told = buttons.credited(fight.gains[char_id])
        presses.append(Press(char_id, fight.session_id, "an old fight", told))
    for fight in unread:
        char_id = rng.choice(CAST_IDS)
        kind = "a fight that nobody could read"
        presses.append(Press(char_id, fight.session_id, kind, buttons.UNKNOWN))
    return presses


class _Writer:
    def __init__(
        self,
        rng: Random,
        pair: tuple[Adventurer, Adventurer],
        strangers: list[Fighter],
        run: str,
        start: int,
    ) -> None:
        self._rng = rng
        self._pair = pair
        self._run = run
        self._now = start * 1000
        self._strangers = strangers
        self._deeds: list[Deed] = []
        self._buttons: list[Press] = []
        self._operations = 0

    def story(self, ending: Ending) -> Story:
        leader, friend = self._pair
        for one in self._pair:
            self._do(Switch(one.id, "idle", None))
            self._rest(one, "idle")
        self._travel(leader)
        self._rest(friend, "hurt")
        self._rest(friend, "healed", dispatches=2)
        self._trade(leader)
        fight = self._fight()
        self._press_after(fight)
        match ending:
            case Ending.ABANDONED:
                self._abandon()
            case Ending.UNHEARD:
                self._unheard(leader)
            case Ending.MISHAPS:
                self._mishaps(leader)
            case Ending.ON_THE_ROAD:
                self._journey(leader, self._rng.randint(2, 4))
        return Story(self._deeds, self._buttons)

    def _do(self, deed: Deed) -> None:
        self._deeds.append(deed)

    def _tick(self) -> int:
        self._now += 1
        return self._now

    def _session(self) -> str:
        return uuid7(self._tick(), self._rng)

    def _rest(self, one: Adventurer, state: str, **more: Any) -> None:
        hp, energy = self._rng.randrange(20, 300), self._rng.randrange(101)
        place = self._rng.choice(PLACES)
        self._do(Rest(one.id, hp, energy, place, state, self._tick(), **more))

    def _journey(self, one: Adventurer, legs: int) -> str:
        session = self._session()
        self._do(Switch(one.id, "scenario", session))
        quest = self._rng.choice(QUESTS)
        for leg in range(1, legs + 1):
            progress = {
                "quest": quest,
                "at": self._rng.choice(PLACES),
                "steps": str(leg * self._rng.randrange(100, 900)),
            }
            # The last one is saved because somebody asks, or because it is closed.
            is_saved = leg == legs or self._rng.random() < 0.4
            self._do(Walk(one.id, session, leg * 3, progress, is_saved))
        return session

    def _travel(self, one: Adventurer) -> None:
        """Two journeys: one is left for the bag, the other is ended outright."""
        for to in self._rng.sample(["inventory", "idle"], 2):
            session = self._journey(one, self._rng.randint(2, 5))
            bag = self._session() if to == "inventory" else None
            # Further than anybody has asked to save: closing it has to save it.
            progress = {"at": "the end", "of": session}
            self._do(Walk(one.id, session, 100, progress, is_saved=False))
            self._do(Switch(one.id, to, bag))
            self._rest(one, "travelled")

    def _op(self, kind: str, **rest: Any) -> Operation:
        self._operations += 1
        op_id = f"{self._run}-{self._pair[0].id}-{self._operations}"
        return {"op_id": op_id, "op": kind, **rest}

    def _handle(
        self, one: Adventurer, operations: list[Operation], **more: Any
    ) -> None:
        deed = Handle(one.id, operations, **more)
        for operation in operations:
            if operation["op_id"] not in deed.parked and not deed.refused:
                one.bag.apply(operation)
        self._do(deed)

    def _trade(self, one: Adventurer) -> None:
        """A visit to the shop, every kind of operation once, some of it sent twice."""
        rng = self._rng
        slots = one.free_slots()
        self._do(Switch(one.id, "inventory", self._session()))
        goods, arms = rng.choice(GOODS), rng.choice(ARMS)
        bought = self._op("add", item_template_id=goods, qty=rng.randrange(5, 12))
        stack = f"op:{bought['op_id']}"
        weapon = self._op("add", item_template_id=arms, qty=1)
        piece = f"op:{weapon['op_id']}"
        self._handle(one, [bought, weapon], times=rng.randint(1, 2))
        part = self._op("split", inventory_id=stack, qty=rng.randrange(1, 4))
        self._handle(
            one,
            [
                self._op("equip", inventory_id=piece, slot=slots[0]),
                self._op(
                    "set_durability", inventory_id=piece, durability=rng.randrange(50)
                ),
                part,
                self._op("move", inventory_id=piece, slot=slots[1]),
            ],
            times=2,
        )
        rest = [
            self._op("unequip", inventory_id=piece),
            self._op("remove", item_template_id=goods, qty=1),
            self._op("remove", inventory_id="op:" + part["op_id"], qty=1),
        ]
        if rng.random() < 0.7:
            rest.append(self._op("remove", inventory_id=piece, qty=1))
        if part["qty"] > 1:
            rest.append(
                self._op("merge", inventory_id="op:" + part["op_id"], into=stack)
            )
        self._handle(one, rest, times=rng.randint(1, 2))
        self._handle(
            one,
            [self._op("add", item_template_id=goods, qty=0)],
            refused="invalid_operation",
        )
        self._do(Switch(one.id, "idle", None))

    def _begin(self, teams: dict[int, str]) -> str:
        session = self._session()
        belts = [
            (one.id, row.id, row.qty)
            for one in self._pair
            for row in one.bag.belt()
            if row.id is not None
        ]
        self._do(Begin(session, [one.id for one in self._pair], teams, belts))
        return session

    def _fight(self) -> tuple[str, dict[int, Gain]]:
        """Against each other or side by side, and nothing else meanwhile."""
        rng = self._rng
        friends = rng.random() < 0.5
        leader, friend = self._pair
        teams = {leader.id: "red", friend.id: "red" if friends else "blue"}
        session = self._begin(teams)
        self._do(Switch(leader.id, "inventory", self._session(), "combat_in_progress"))
        for one in self._pair:
            self._sell_from_belt(one)
        self._do(Press(leader.id, session, "a running fight", buttons.RUNNING))
        actors = [player(rng, one.as_fighter(), teams[one.id]) for one in self._pair]
        for actor in actors:
            # Weak enough to need what is on the belt.
            actor.hp //= 2
        fight = simulate(rng, [*actors, *(monsters(rng, 2, "wild") if friends else [])])
        gains = documents.gains_of(rng, fight)
        for one in self._pair:
            for row, template, qty in gains[one.id].used:
                self._do(Drink(session, one.id, row, template, qty))
            one.bag.settle(gains[one.id])
        ended_at = self._now // 1000 + 1
        self._now = ended_at * 1000
        document = documents.compose(rng, session, ended_at, fight, gains)
        self._do(Finish(session, ended_at, gains, document))
        return session, gains

    def _sell_from_belt(self, one: Adventurer) -> None:
        belt = one.bag.belt()
        if belt:
            sold = self._op("remove", inventory_id=belt[0].id, qty=1)
            self._handle(one, [sold], refused="item_reserved")

    def _press_after(self, fight: tuple[str, dict[int, Gain]]) -> None:
        session, gains = fight
        leader, friend = (one.id for one in self._pair)
        told = {char_id: buttons.credited(gain) for char_id, gain in gains.items()}
        never = uuid7(self._tick(), self._rng)
        lost = self._rng.choice((leader, friend))
        for deed in (
            Press(leader, session, "their own fight", told[leader]),
            Press(friend, session, "their own fight", told[friend]),
            Press(
                self._rng.choice(self._strangers).id,
                session,
                "another's fight",
                buttons.UNKNOWN,
            ),
            Press(leader, never, "a fight that never was", buttons.UNKNOWN),
        ):
            self._do(deed)
        self._buttons.append(
            Press(lost, session, "a fight forgotten by Redis", told[lost], True)
        )

    def _abandon(self) -> None:
        """Potions are drunk, then nobody hears of the fight any more."""
        for one in self._pair:
            self._rest(one, "ready")
        session = self._begin({one.id: "red" for one in self._pair})
        gains: dict[int, Gain] = {}
        for one in self._pair:
            rest = next(
                deed
                for deed in reversed(self._deeds)
                if isinstance(deed, Rest) and deed.character == one.id
            )
            gain = Gain(xp=0, gold=0, hp=rest.hp, energy=rest.energy)
            for row in one.bag.belt()[:1]:
                assert row.id is not None
                qty = self._rng.randint(1, row.qty)
                gain.used.append((row.id, row.template, qty))
                self._do(Drink(session, one.id, row.id, row.template, qty))
            one.bag.settle(gain)
            gains[one.id] = gain
        self._do(Vanish(session, self._now // 1000 + 1, gains))
        for char_id, gain in gains.items():
            told = buttons.credited(gain)
            self._buttons.append(Press(char_id, session, "an abandoned fight", told))

    def _anothers_row(self, one: Adventurer) -> int:
        rows = [gear.id for other in self._strangers for gear in other.gear]
        return self._rng.choice([row for row in rows if row not in one.suspected])

    def _unheard(self, one: Adventurer) -> None:
        """All that the engine asks for is noted, and no worker is told of it."""
        self._journey(one, 2)
        self._do(Switch(one.id, "inventory", self._session(), is_heard=False))
        goods = self._op("add", item_template_id=self._rng.choice(GOODS), qty=3)
        self._handle(one, [goods], is_heard=False)
        self._rest(one, "unheard of", is_heard=False)

    def _mishaps(self, one: Adventurer) -> None:
        """Operations that cannot be, and some that stand behind them."""
        goods = self._rng.choice(GOODS)
        unknown = self._op("add", item_template_id="phoenix_feather", qty=1)
        gone = self._op("remove", inventory_id=self._rng.choice(GONE_ROWS), qty=1)
        theft = self._op("remove", inventory_id=self._anothers_row(one), qty=1)
        stock = self._op("add", item_template_id=goods, qty=4)
        part = self._op("split", inventory_id="op:" + stock["op_id"], qty=1)
        greed = self._op("remove", inventory_id="op:" + part["op_id"], qty=50)
        arms = self._op("add", item_template_id="bow_yew", qty=1)
        taken = self._op("equip", inventory_id="op:" + arms["op_id"], slot="main_hand")
        # None of them names what a later run may need: parked operations hold it up.
        after = [
            (self._op("remove", inventory_id="op:" + part["op_id"], qty=1), greed),
            (
                self._op("equip", inventory_id="op:" + unknown["op_id"], slot="neck"),
                unknown,
            ),
            (self._op("unequip", inventory_id="op:" + arms["op_id"]), taken),
        ]
        fine = self._op("remove", item_template_id=goods, qty=1)
        parked: dict[str, tuple[str, str | None]] = {
            unknown["op_id"]: ("unknown_item", None),
            gone["op_id"]: ("item_gone", None),
            theft["op_id"]: ("item_not_owned", None),
            greed["op_id"]: ("item_shortage", None),
            taken["op_id"]: ("slot_taken", None),
        }
        parked |= {op["op_id"]: ("blocked", why["op_id"]) for op, why in after}
        self._handle(
            one,
            [unknown, gone, theft, stock, part, greed, arms, taken]
            + [operation for operation, _ in after]
            + [fine],
            parked=parked,
            times=2,
        )
