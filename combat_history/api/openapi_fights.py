"""The description of the calls that play."""

from __future__ import annotations

from combat_history.api.openapi_parts import (
    Json,
    answer,
    character_id,
    needs,
    parameter,
    problem,
    problems_of,
    ref,
    session_id,
)
from combat_history.callers import Scope


def paths() -> Json:
    of_combat = "/api/combats/{session_id}"
    return {
        f"{of_combat}/start": {"post": _start()},
        f"{of_combat}/heartbeat": {"post": _heartbeat()},
        f"{of_combat}/use": {"post": _use()},
        f"{of_combat}/join": {"post": _join()},
        f"{of_combat}/leave": {"post": _leave()},
        f"{of_combat}/finish": {"post": _finish()},
        "/api/characters/{character_id}/context": {"post": _context()},
    }


def _start() -> Json:
    return _call(
        "startCombat",
        "Start a fight: its players enter it, and their belts are loaded",
        "Whatever else they have open is closed and saved. The same call again changes "
        "nothing: it tells how the fight stands, and waits for belts that are late.",
        body="Fighters",
        told=answer("The fight, and its players.", "Standing"),
        refused="A player fights elsewhere (`combat_in_progress`), is not in this "
        "fight (`combat_running`) or does not exist (`unknown_character`), or the "
        "fight is over (`combat_finished`): nobody has entered.",
    )


def _join() -> Json:
    return _call(
        "joinCombat",
        "Let players into a fight that goes on",
        "All of them enter or none does, but for those who do not exist. Who had left "
        "comes back with what he had not used.",
        body="Fighters",
        told=answer("The fight, and those who joined.", "Standing"),
        refused="`combat_in_progress`, `unknown_character`, `combat_finished`, "
        "`not_registered`.",
    )


def _leave() -> Json:
    return _call(
        "leaveCombat",
        "Let a player out of a fight that goes on, free for another one at once",
        "What he has used is settled with this fight. Leaving twice is leaving once.",
        body="Leave",
        told=answer("He is out of it.", "Left"),
        refused="`no_fighter`, `combat_finished`, `not_registered`.",
    )


def _use() -> Json:
    return _call(
        "useItem",
        "Use one piece of an item on a player's belt",
        "Counted once by `use_id`, and never below zero: the same call again is "
        "answered as the first one was.",
        body="Use",
        told=answer("Used.", "Used"),
        refused="`item_spent`, `item_not_on_belt`, `use_id_reused` (another item was "
        "used under this id), `no_fighter`, `combat_finished`, `not_registered`: "
        "nothing was used.",
    )


def _heartbeat() -> Json:
    described = _call(
        "heartbeat",
        "Say that a fight still goes on",
        "After ten minutes without one it is ended as abandoned.",
        body=None,
        told=answer("Whether it does.", "Heard"),
        refused="",
    )
    del described["responses"]["409"], described["responses"]["422"]
    return described


def _context() -> Json:
    described = _call(
        "switchContext",
        "Close what a player has open, and open another mode",
        "`idle` only closes. Without `session_id` an open session of it goes on.",
        body="Context",
        told=answer("What is open now, and what is being saved.", "Switched"),
        refused="The player fights (`combat_in_progress`): nothing has changed.",
    )
    return {**described, "parameters": [character_id()]}


def _finish() -> Json:
    described = _call(
        "finishCombat",
        "Finish a fight that was started: rewards and outcome are all it takes",
        "The body is a result payload without what is known: session, end, and of "
        "every player team, vitals and what was used. The same outcome again is "
        "harmless for a day.",
        body="CombatOutcome",
        told=answer("The receipt is durable in PostgreSQL.", "Accepted"),
        refused="`not_registered`, or another document stands (`payload_conflict`).",
    )
    responses = described["responses"]
    responses["202"] = responses.pop("200")
    responses |= {status: problems_of(status)[status] for status in ("413", "422")}
    described["parameters"].append(
        parameter(
            "X-Settlement-Signature",
            "header",
            {"type": "string"},
            "key_id:hex, HMAC-SHA-256 over `outcome:`, the session id as a canonical "
            "UUID, `:` and the bytes of the body. Where engine keys are set, a result "
            "without a good one is recorded as failed.",
        )
    )
    return described


def _call(
    name: str,
    summary: str,
    description: str,
    *,
    body: str | None,
    told: Json,
    refused: str,
) -> Json:
    described: Json = {
        "operationId": name,
        "security": needs(Scope.COMBATS_SUBMIT),
        "summary": summary,
        "description": description,
        "parameters": [session_id()],
        "responses": {
            "200": told,
            **problems_of("400"),
            "409": problem(refused),
            "422": problem("The body breaks the contract; nothing has changed."),
        },
    }
    if body is not None:
        content = {"application/json": {"schema": ref(body)}}
        described["requestBody"] = {"required": True, "content": content}
    return described
