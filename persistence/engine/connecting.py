"""Redis by its URL: one server, a socket, or the primary that Sentinels name.

`redis://`, `rediss://` (TLS) and `unix://` as redis-py has them; and

    sentinel://user:password@host1:26379,host2:26379,host3:26379/0?master=combats

where user and password are Redis' own, those of the Sentinels `sentinel_username` and
`sentinel_password` behind the question mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel

SENTINEL = "sentinel"
SCHEMES = ("redis", "rediss", "unix", SENTINEL)
SENTINEL_PORT = 26379

NO_CLUSTER = (
    "Redis Cluster is not supported: a hand-off joins a fight with the accounts of its "
    "players in one step, and a cluster keeps them on different servers"
)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A primary by the name that its Sentinels know."""

    sentinels: tuple[tuple[str, int], ...]
    name: str
    database: int
    login: dict[str, str]
    sentinel_login: dict[str, str]

    def asked_by(self, options: dict[str, Any]) -> dict[str, Any]:
        """A Sentinel that is away costs no more time than a connection."""
        bound = options.get("socket_connect_timeout")
        times = {"socket_timeout": bound, "socket_connect_timeout": bound}
        return {**times, **self.sentinel_login}


def fault(url: str) -> str | None:
    """Why there is no Redis by this URL, or None."""
    try:
        scheme = urlsplit(url).scheme
        if "cluster" in scheme:
            return NO_CLUSTER
        if scheme not in SCHEMES:
            return f"{scheme or 'nothing'}:// is none of {', '.join(SCHEMES)}"
        if scheme == SENTINEL:
            _watched(url)
        else:
            redis.ConnectionPool.from_url(url).disconnect()
            _check_database(url)
    except ValueError as error:
        return str(error)
    return None


def hosts(url: str) -> list[str]:
    """Whom this asks first: the server itself, or its Sentinels; "" for a socket."""
    if _is_watched(url):
        return [host for host, _ in _watched(url).sentinels]
    return [urlsplit(url).hostname or ""]


def client(url: str, **options: Any) -> redis.Redis:
    """`options`: of redis.Redis, such as time-outs; Sentinels are asked by those."""
    if not _is_watched(url):
        return redis.Redis.from_url(url, **options)
    watched = _watched(url)
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        watched.sentinels, sentinel_kwargs=watched.asked_by(options)
    )
    found: redis.Redis = sentinels.master_for(
        watched.name, db=watched.database, **watched.login, **options
    )
    return found


def async_client(url: str, **options: Any) -> redis.asyncio.Redis:
    """The asynchronous twin of `client`."""
    if not _is_watched(url):
        return redis.asyncio.Redis.from_url(url, **options)
    watched = _watched(url)
    sentinels: Any = AsyncSentinel(  # type: ignore[no-untyped-call]
        list(watched.sentinels), sentinel_kwargs=watched.asked_by(options)
    )
    found: redis.asyncio.Redis = sentinels.master_for(
        watched.name, db=watched.database, **watched.login, **options
    )
    return found


def broker(url: str) -> tuple[str, dict[str, Any]]:
    """The URL and the transport options by which kombu reaches the same server."""
    if not _is_watched(url):
        return url, {}
    watched = _watched(url)
    login = ":".join(
        quote(watched.login.get(name, ""), safe="") for name in ("username", "password")
    )
    at = f"{login}@" if watched.login else ""
    urls = [
        f"{SENTINEL}://{at}{_bracketed(host)}:{port}/{watched.database}"
        for host, port in watched.sentinels
    ]
    options: dict[str, Any] = {"master_name": watched.name}
    options["sentinel_kwargs"] = {"socket_timeout": 1, **watched.sentinel_login}
    return ";".join(urls), options


def _is_watched(url: str) -> bool:
    return url.startswith(f"{SENTINEL}://")


def _watched(url: str) -> _Watched:
    """Raises ValueError."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    name = query.pop("master", "")
    sentinel_login = {
        key.removeprefix("sentinel_"): query.pop(key)
        for key in ("sentinel_username", "sentinel_password")
        if key in query
    }
    if not name:
        raise ValueError("?master= must name the primary that the Sentinels watch")
    if query:
        raise ValueError(f"unknown option {next(iter(query))}")
    return _Watched(
        tuple(map(_address, hosts.split(","))),
        name,
        _database(parts.path),
        {
            key: unquote(value)
            for key, value in (("username", user), ("password", password))
            if value
        },
        sentinel_login,
    )


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a Sentinel has no host")
    return parts.hostname, parts.port or SENTINEL_PORT


def _database(path: str) -> int:
    text = path.strip("/")
    if text and not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is no number of a database")
    return int(text or 0)


def _check_database(url: str) -> None:
    """redis-py takes what is no number for database 0."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        _database(parts.path)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
