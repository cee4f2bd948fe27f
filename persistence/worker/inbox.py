"""The worker's side of the inbox: lease, finish, release. Entries are never popped.

Every write happens only while the entry's score still equals our lease, so that a
replay put in meanwhile survives, and so does the work of whoever holds it now.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import redis
from billiard.exceptions import SoftTimeLimitExceeded
from celery.signals import task_failure
from django.conf import settings

from persistence.contract import redis_keys
from persistence.engine import connecting, scripts
from persistence.engine.handoff import Handoff, Receipt, answer
from persistence.protocols import Verdict
from persistence.worker.entries import Entry, claiming, finishing, read_entry

if TYPE_CHECKING:
    from redis.commands.core import Script

logger = logging.getLogger(__name__)

REPLICATED_WITHIN_MS = 500
"""A replica that follows answers within one."""


@cache
def client() -> redis.Redis:
    """The process's own client: made lazily, after the pool has forked."""
    # Bounded far below the tasks' soft limit: a frozen Redis fails, it does not hang.
    return connecting.client(
        settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2
    )


@task_failure.connect
def hang_up_where_time_ran_out(
    exception: BaseException | None = None, **_: object
) -> None:
    """An answer that nobody waited for would be taken for that to the next command.

    redis-py looks for one before each command only where it expects no pushes of the
    server, and looking costs more than many a command.
    """
    if isinstance(exception, SoftTimeLimitExceeded):
        client().connection_pool.disconnect()


@cache
def script(name: str) -> Script:
    return client().register_script(scripts.source(name))


class NotReplicated(redis.RedisError):
    """Recorded, but a fail-over may lose it."""


def replicated(name: str, keys: list[str], args: Sequence[Any], replicas: int) -> Any:
    """Answer of that script, once `replicas` of Redis have what it wrote.

    Raises NotReplicated where fewer have it in time: it may stand all the same.
    """
    if not replicas:
        return script(name)(keys=keys, args=args)
    # WAIT counts what this connection has written: both have to go over the same one.
    with client().pipeline(transaction=False) as pipe:
        script(name)(keys=keys, args=args, client=pipe)
        pipe.wait(replicas, REPLICATED_WITHIN_MS)
        reply, reached = pipe.execute()
    _check_reached(reached, replicas)
    return reply


def _check_reached(reached: object, replicas: int) -> None:
    if not (isinstance(reached, int) and reached >= replicas):
        raise NotReplicated(f"{reached} of {replicas} replicas have it")


def record(handoff: Handoff, *, replicas: int = 0) -> tuple[Receipt, bool]:
    """Run the hand-off script; see `dispatcher` for the engine's bounded call.

    Raises NotReplicated, as `replicated`: of a caller that has nothing else to hand it
    over from again.
    """
    return answer(replicated("handoff", handoff.keys, handoff.args, replicas))


def record_all(
    handoffs: Sequence[Handoff], *, replicas: int = 0
) -> list[tuple[Receipt, bool] | None]:
    """`record` of each, in one round trip; None for one that Redis has refused.

    Raises NotReplicated where fewer than `replicas` have them in time.
    """
    if not handoffs:
        return []
    run = script("handoff")
    with client().pipeline(transaction=False) as pipe:
        for handoff in handoffs:
            run(keys=handoff.keys, args=handoff.args, client=pipe)
        if replicas:
            pipe.wait(replicas, REPLICATED_WITHIN_MS)
        replies = pipe.execute(raise_on_error=False)
    if replicas:
        _check_reached(replies.pop(), replicas)
    return [None if isinstance(r, Exception) else answer(r) for r in replies]


def claim(limit: int, until_ms: int | None = None) -> tuple[list[Entry], bool]:
    """Lease due entries; the flag says that more may be due.

    `until_ms`: nothing that came due after it; see `accepted_before`.
    """
    reply: list[Any] = script("claim")(
        keys=[redis_keys.INBOX],
        args=claiming(limit, settings.SETTLEMENT_LEASE_MS, until_ms),
    )
    return [read_entry(f) for f in reply[1:] if _is_session(f[0])], bool(reply[0])


def accepted_before(moment_ms: int) -> int:
    """How many entries accepted by then are seen; 0 only where there is none.

    Where none is due by then, those that came due since are let be claimed as if.
    """
    count: int = script("accepted_before")(
        keys=[redis_keys.INBOX], args=[moment_ms, redis_keys.RESULT_PREFIX]
    )
    return count


def finish(settled: Iterable[tuple[Entry, Verdict]]) -> int:
    """Apply the effects of settled entries and remove them."""
    args = finishing(settled, settings.SETTLEMENT_RAW_RETENTION_SECONDS)
    removed: int = script("finish")(keys=[redis_keys.INBOX], args=args)
    return removed


def remember(tombstones: Mapping[UUID, bytes]) -> int:
    """Let Redis tell this of these combats, b"" nothing, where it holds nothing newer.

    How many are told otherwise than before.
    """
    if not tombstones:
        return 0
    changed: int = script("remember")(
        keys=[redis_keys.tombstone(session_id) for session_id in tombstones],
        args=[redis_keys.DAY_SECONDS, *tombstones.values()],
    )
    return changed


def release(entries: Iterable[Entry], delay_ms: int, *, uncount: bool) -> None:
    """Put entries back, due after `delay_ms`. `uncount`: a first delivery again."""
    args: list[Any] = [redis_keys.RESULT_PREFIX, delay_ms, int(uncount)]
    for entry in entries:
        args += [str(entry.session_id), entry.lease]
    script("release")(keys=[redis_keys.INBOX], args=args)


def put(
    session_ids: Sequence[UUID],
    *,
    override: bool = False,
    players: Mapping[UUID, int] | None = None,
) -> int:
    """Make sessions due now. `override` breaks a lease that is held (a replay).

    `players`: how many each of them has, where that is known; a hand-off says it, too.
    """
    if not session_ids:
        return 0
    # By the clock of Redis, which the claim compares it with.
    seconds, microseconds = client().time()
    now = seconds * 1000 + microseconds // 1000
    entries = {str(session_id): now for session_id in session_ids}
    with client().pipeline(transaction=False) as pipe:
        for session_id, number in (players or {}).items():
            pipe.hset(redis_keys.result(session_id), "players", number)
        pipe.zadd(redis_keys.INBOX, entries, nx=not override)
        # A foreign type in the place of a result is put aside by the claim.
        *_, changed = pipe.execute(raise_on_error=False)
    if isinstance(changed, Exception):
        raise changed
    return len(entries) if override else int(changed)


def is_handed_off(session_id: UUID) -> bool:
    """Whether a document was accepted; a foreign type in its place is none."""
    key = redis_keys.result(session_id)
    return client().type(key) == b"hash" and client().hexists(key, "sha256")


def silence_doorbell() -> None:
    client().delete(redis_keys.DOORBELL)


def press_doorbell() -> bool:
    """Whether this caller is the one that is to send the ring."""
    return bool(
        client().set(redis_keys.DOORBELL, "1", nx=True, px=redis_keys.DOORBELL_TTL_MS)
    )


def _is_session(member: bytes) -> bool:
    """Foreign members are taken out, or they would come due for ever."""
    try:
        if str(UUID(member.decode())) == member.decode():
            return True
    except ValueError:
        pass
    client().zrem(redis_keys.INBOX, member)
    logger.error("inbox member is no session id", extra={"member": member[:100]})
    return False
