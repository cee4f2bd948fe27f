"""The ways to settle a backlog that are measured side by side.

Each loads its backlog where nobody looks yet, starts its processes, and lets them loose
when they are ready: neither sending nor starting is in the measured time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

from benchmarks import naive
from benchmarks.backlog import Backlog
from benchmarks.errors import BenchmarkError
from benchmarks.go import GO
from benchmarks.peers import environments, tuned
from benchmarks.processes import POOL_SIZE, Settling, bare_processes, celery_worker
from benchmarks.servers import BASE_DIR, Servers
from persistence.contract import redis_keys
from persistence.engine import scripts

QUEUE = "celery"
HIDDEN = "benchmark:hidden"
PIPELINE = 500


@dataclass(frozen=True)
class Variant:
    name: str
    load: Callable[[Servers, Backlog], None]
    start: Callable[[Servers], AbstractContextManager[Settling]]
    release: Callable[[Servers], None]


def hand_off(servers: Servers, backlog: Backlog) -> None:
    """By the engine's own script, into an inbox that is put aside."""
    with servers.redis() as client:
        script = client.register_script(scripts.source("handoff"))
        for start in range(0, len(backlog), PIPELINE):
            with client.pipeline(transaction=False) as pipe:
                for handoff in backlog.handoffs[start : start + PIPELINE]:
                    script(keys=handoff.keys, args=handoff.args, client=pipe)
                pipe.execute()
        client.delete(redis_keys.DOORBELL)
        client.rename(redis_keys.INBOX, HIDDEN)


def send_hidden(task: str) -> Callable[[Servers, Backlog], None]:
    """One `send_task` a combat, the document as JSON text, into a list put aside."""

    def send(servers: Servers, backlog: Backlog) -> None:
        with producer(servers) as app:
            for raw in backlog.raws:
                app.send_task(task, args=[raw.decode()])
        with servers.redis() as client:
            client.rename(QUEUE, HIDDEN)

    return send


def reveal_queue(servers: Servers) -> None:
    """Workers that wait for the queue wake up as if everything came at once."""
    with servers.redis() as client:
        client.rename(HIDDEN, QUEUE)


def reveal_inbox_and_ring(servers: Servers) -> None:
    with servers.redis() as client, producer(servers) as app:
        client.rename(HIDDEN, redis_keys.INBOX)
        app.send_task("settle_inbox")


def reveal_inbox_and_say_go(servers: Servers) -> None:
    with servers.redis() as client:
        client.rename(HIDDEN, redis_keys.INBOX)
    say_go(servers)


def say_go(servers: Servers) -> None:
    with servers.redis() as client:
        client.rpush(GO, *["go"] * POOL_SIZE)


def settlement_worker(servers: Servers) -> AbstractContextManager[Settling]:
    return celery_worker("settlement_project", servers.environment())


def naive_worker(servers: Servers) -> AbstractContextManager[Settling]:
    settings = {"DJANGO_SETTINGS_MODULE": naive.SETTINGS}
    return celery_worker("benchmarks.naive", servers.environment() | settings)


def ceiling_processes(servers: Servers) -> AbstractContextManager[Settling]:
    return bare_processes("benchmarks.ceiling", servers.environment())


def celery_peer(
    name: str, module: str, task: str, environment: Path | None = None
) -> Variant:
    """In this project's own environment, unless another one is named."""

    def start(servers: Servers) -> AbstractContextManager[Settling]:
        app = f"benchmarks.peers.{module}"
        if environment is None:
            return celery_worker(app, servers.environment())
        python = environments.python(environment)
        return celery_worker(app, servers.environment(), python)

    return Variant(name, send_hidden(task), start, reveal_queue)


def bare_peer(name: str, module: str, environment: Path) -> Variant:
    """A program of `peers.process`."""
    python, module = environments.python(environment), f"benchmarks.peers.{module}"

    def send(servers: Servers, backlog: Backlog) -> None:
        sent = subprocess.run(
            [python, "-m", module, "send"],
            cwd=BASE_DIR,
            env=servers.environment(),
            input=b"\n".join(backlog.raws),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if sent.returncode:
            raise BenchmarkError(f"{module} send:\n{sent.stderr.decode()}")

    def start(servers: Servers) -> AbstractContextManager[Settling]:
        return bare_processes(module, servers.environment(), python)

    return Variant(name, send, start, say_go)


def producer(servers: Servers) -> Celery:
    """What an engine has that runs no code of ours."""
    return Celery(broker=servers.redis_url, set_as_current=False)


INBOX = Variant("inbox", hand_off, settlement_worker, reveal_inbox_and_ring)
SEND_TASK = Variant(
    "send_task", send_hidden("settle_combat"), settlement_worker, reveal_queue
)
CEILING = Variant("ceiling", hand_off, ceiling_processes, reveal_inbox_and_say_go)
NAIVE = Variant("naive", send_hidden(naive.TASK), naive_worker, reveal_queue)

ARQ = bare_peer("ARQ, SQLAlchemy", "arq_draft", environments.ARQ)
BATCHES = celery_peer("celery-batches", "batches", "batches.settle", environments.PEERS)
TASKIQ = bare_peer("Taskiq, streams", "taskiq_streams", environments.PEERS)
PROCRASTINATE = bare_peer("procrastinate", "procrastinate_jobs", environments.PEERS)
TUNED = celery_peer("tuned task", "tuned", tuned.TASK)
PEERS = (TUNED, BATCHES, TASKIQ, PROCRASTINATE, ARQ)
