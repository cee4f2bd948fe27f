"""A Bot API server on loopback, and the example bot as a process that talks to it."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tests.packaging.environments import examples_alone, interpreter
from tests.support.ids import OTHER_TOKEN
from tests.support.waiting import wait_until

BOT_TOKEN = "42:bot"
POLL_SECONDS = 1.0
"""How long the server holds getUpdates at most, so that it ends soon."""

UPDATE_METHODS = frozenset({"getUpdates", "getMe", "deleteWebhook"})


@dataclass(frozen=True, slots=True)
class Call:
    """What the bot asked for."""

    method: str
    params: Mapping[str, str]
    received_at: float

    def keyboard(self) -> list[tuple[str, str]]:
        """Caption and callback data of the buttons; empty where they are removed."""
        markup = json.loads(self.params.get("reply_markup", "{}"))
        rows = markup.get("inline_keyboard", [])
        return [(b["text"], b["callback_data"]) for row in rows for b in row]


@dataclass(frozen=True, slots=True)
class Reply:
    """A fault: sent instead of the answer. `body` None: the connection is cut."""

    status: int = 200
    body: str | None = None
    delay_seconds: float = 0


def refusal(status: int, description: str, **parameters: int) -> Reply:
    body: dict[str, Any] = {
        "ok": False,
        "error_code": status,
        "description": description,
    }
    if parameters:
        body["parameters"] = parameters
    return Reply(status, json.dumps(body))


class BotApi:
    """The server, started by construction: serves updates, records calls, fails."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._faults: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._updates: list[dict[str, Any]] = []
        self._ids = itertools.count(1000)
        self._condition = threading.Condition()
        self._is_closing = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def new_id(self) -> int:
        return next(self._ids)

    def push(self, **update: Any) -> int:
        """Offer one update to the bot; returns its id."""
        with self._condition:
            id_ = self.new_id()
            self._updates.append({"update_id": id_, **update})
            self._condition.notify_all()
        return id_

    def fail_next(self, method: str, *replies: Reply) -> None:
        """The next calls of `method` get these replies, in this order."""
        with self._condition:
            self._faults[method].extend(replies)

    def calls(self, *methods: str) -> list[Call]:
        """In the order they came, without those that fetch updates."""
        with self._condition:
            return [
                call
                for call in self._calls
                if call.method in methods
                or (not methods and call.method not in UPDATE_METHODS)
            ]

    def forget(self) -> None:
        """Calls and faults of an earlier test."""
        with self._condition:
            self._calls.clear()
            self._faults.clear()

    def close(self) -> None:
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def reply_to(self, method: str, params: Mapping[str, str]) -> Reply:
        with self._condition:
            self._calls.append(Call(method, params, time.monotonic()))
            if self._faults[method]:
                return self._faults[method].popleft()
        result = self._result(method, params)
        return Reply(200, json.dumps({"ok": True, "result": result}))

    def _result(self, method: str, params: Mapping[str, str]) -> Any:
        match method:
            case "getUpdates":
                return self._offered(int(params.get("offset", 0)))
            case "getMe":
                return {"id": 42, "is_bot": True, "first_name": "Bot", "username": "b"}
            case "sendMessage" | "editMessageText":
                return a_message(
                    int(params["chat_id"]),
                    int(params.get("message_id", self.new_id())),
                    text=params["text"],
                )
            case _:
                return True

    def _offered(self, offset: int) -> list[dict[str, Any]]:
        def waiting() -> list[dict[str, Any]]:
            return [one for one in self._updates if one["update_id"] >= offset]

        with self._condition:
            self._condition.wait_for(
                lambda: waiting() or self._is_closing, POLL_SECONDS
            )
            self._updates = waiting()
            return list(self._updates)

    def _handler(api) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"] or 0)
                form = self.rfile.read(size).decode()
                method = self.path.rpartition("/")[2]
                reply = api.reply_to(method, dict(parse_qsl(form)))
                time.sleep(reply.delay_seconds)
                if reply.body is None:
                    self.close_connection = True
                    return
                # A bot that ended does not wait for its reply.
                with suppress(ConnectionError):
                    self._send(reply.status, reply.body.encode())

            def do_GET(self) -> None:
                """All methods are asked for by POST here."""
                reply = refusal(404, "Not Found")
                self._send(reply.status, (reply.body or "").encode())

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Nothing: calls are recorded."""

        return Handler


def a_message(chat_id: int, message_id: int, **over: Any) -> dict[str, Any]:
    """JSON of a message of the bot's, with its text. A negative chat is a group."""
    return {
        "message_id": message_id,
        "date": 1_700_000_000,
        "chat": a_chat(chat_id),
        "from": {"id": 42, "is_bot": True, "first_name": "Bot"},
        **over,
    }


def inaccessible(chat_id: int, message_id: int) -> dict[str, Any]:
    """JSON of a message older than 48 hours."""
    return {"message_id": message_id, "date": 0, "chat": a_chat(chat_id)}


def a_chat(chat_id: int) -> dict[str, Any]:
    if chat_id < 0:
        return {"id": chat_id, "type": "supergroup", "title": "Tavern"}
    return {"id": chat_id, "type": "private", "first_name": "Hero"}


class BotProcess:
    """`python -m examples.bot.main`, started by construction. `log`: all it printed."""

    def __init__(
        self, folder: Path, python: Path, environment: Mapping[str, str]
    ) -> None:
        self._log = folder / "bot.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", "examples.bot.main"],
                cwd=examples_alone(),
                env={"PATH": os.environ["PATH"], **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Dies with the test run, however that ends.
                preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),
            )

    def output(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_ready(self) -> None:
        self._wait_for(r"Run polling for bot", "the bot polls")

    def wait_done(self, update_id: int) -> bool:
        """Until the bot has done all it does about an update; whether it was taken."""
        pattern = rf"Update id={update_id} is (handled|not handled)\."
        return self._wait_for(pattern, f"update {update_id} is done") == "handled"

    def wait_all_done(self, update_ids: list[int]) -> None:
        for id_ in update_ids:
            self.wait_done(id_)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self._process.terminate()
        try:
            return self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()

    def _wait_for(self, pattern: str, what: str) -> str:
        found: list[str] = []

        def is_there() -> bool:
            assert self._process.poll() is None, f"ended:\n{self.output()}"
            match = re.search(pattern, self.output())
            if match:
                found.append(match[1] if match.groups() else match[0])
            return bool(match)

        wait_until(is_there, what)
        return found[0]


@contextmanager
def running_bot(
    folder: Path,
    bot_api: BotApi,
    api_url: str,
    token: str,
    characters: dict[int, int],
    python: Path | None = None,
) -> Iterator[BotProcess]:
    """The example bot between a Bot API and the project's HTTP API."""
    bot = BotProcess(
        folder,
        python or interpreter("bot"),
        {
            "BOT_TOKEN": BOT_TOKEN,
            "BOT_API_URL": bot_api.url,
            "SETTLEMENT_API_URL": api_url,
            "SETTLEMENT_API_TOKEN": OTHER_TOKEN,
            "GAME_API_TOKEN": token,
            "CHARACTERS": json.dumps(characters),
        },
    )
    try:
        bot.wait_ready()
        yield bot
    finally:
        bot.stop()


def run_python(*arguments: str, **environment: str) -> str:
    """What a command of the bot's interpreter prints; fails where the command does."""
    done = subprocess.run(
        [interpreter("bot"), *arguments],
        cwd=examples_alone(),
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
