"""kombu's transports, which fall over nothing that lies in a queue.

What they can make no message of has `errors`, or a header that says why not: the
consumer sets it aside. Broadcasts (remote control, events) that cannot be read are
dropped, for nobody waits for them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from queue import Empty
from typing import TYPE_CHECKING, Any

from amqp import Message as Content
from amqp.method_framing import frame_handler
from kombu.transport import pyamqp, redis, virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads
from redis.exceptions import ConnectionError  # noqa: A004 -- as kombu knows it

from persistence.protocols import QUEUE
from persistence.worker.intake.envelopes import Envelope, open_item, unpack

if TYPE_CHECKING:
    from persistence.worker.intake.gathering import Along

logger = logging.getLogger(__name__)


class _Channel:
    """Keeps a broadcast that its listener falls over from ending the worker."""

    connection: Any

    def basic_consume(self, *args: Any, callback: Any, **options: Any) -> Any:
        if options.get("no_ack"):
            callback = self._guarded(callback)
        consume: Callable[..., Any] = super().basic_consume  # type: ignore[misc]
        return consume(*args, callback=callback, **options)

    def _guarded(self, callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def listen(message: Any) -> Any:
            try:
                return callback(message)
            except self.connection.connection_errors:
                raise
            except Exception:
                logger.exception("broadcast dropped")
                return None

        return listen


class RedisMessage(virtual.Message):
    """A message whose body is unpacked within bounds, or which has `errors`."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **options: Any):
        headers = {**(payload.get("headers") or {})}
        compression = headers.pop("compression", None)
        try:
            super().__init__({**payload, "headers": headers}, channel, **options)
            if compression is not None:
                self.body: Any = unpack(self.body, compression)
        except Exception:  # noqa: BLE001 -- told by whoever reads the message
            whole = {
                "body": dumps(payload),
                "headers": headers,
                "properties": {**payload["properties"], "body_encoding": None},
            }
            super().__init__(whole, channel, **options)
            self.errors = [sys.exc_info()]
        # What a worker gives back is what it was given.
        self._raw = payload


class RedisQoS(redis.QoS):
    """Gives back what a worker held, whatever else has been put beside it."""

    channel: Any
    _remove_from_indices: Any

    def restore_by_tag(
        self, tag: str, client: Any = None, leftmost: Any = False
    ) -> None:
        """As kombu's; what is no message goes into a queue to be set aside there."""

        def give_back(pipe: Any) -> None:
            held = pipe.hget(self.unacked_key, tag)
            # One transaction: a message is never in both places, nor in neither.
            pipe.multi()
            self._remove_from_indices(tag, pipe)
            if held is None:
                return
            try:
                message = _held(held)
            except Exception:  # noqa: BLE001 -- told by whoever sets it aside
                pipe.lpush(QUEUE, held)
            else:
                self.channel._do_restore_message(*message, pipe, leftmost)

        with self.channel.conn_or_acquire(client) as connected:
            connected.transaction(give_back, self.unacked_key)


def _held(item: bytes) -> tuple[Envelope, str, str]:
    """A message and its address. Raises whatever reading it does."""
    message, exchange, queue = loads(item)
    if not (isinstance(message, dict) and type(exchange) is type(queue) is str):
        raise TypeError("no message of a worker")
    return open_item(dumps(message).encode(), queue), exchange, queue


class _RedisChannel(_Channel):
    Message = RedisMessage
    QoS = RedisQoS

    def _brpop_read(self: Any, **options: Any) -> bool:
        """As kombu's, but for who opens the item."""
        line = self.client.connection
        try:
            try:
                reply = self.client.parse_response(line, "BRPOP", **options)
            except self.connection_errors:
                line.disconnect()
                raise
            if not reply:
                raise Empty
            key, item = reply
            # kombu appends a priority to the name of a queue.
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self.connection._deliver(open_item(item, queue), queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _connparams(self, *args: Any, **options: Any) -> Any:
        """kombu asks a closed connection for its address, and the worker ends.

        Told that it is lost, the worker makes it anew. A channel that was closed
        before what it had delivered was acknowledged has no connection at all.
        """
        if self.connection is None or self.connection.client is None:
            raise ConnectionError("the connection to the broker is closed")
        address: Callable[..., Any] = super()._connparams  # type: ignore[misc]
        return address(*args, **options)

    def _receive_one(self, client: Any) -> Any:
        receive: Callable[[Any], Any] = super()._receive_one  # type: ignore[misc]
        try:
            return receive(client)
        except (KeyError, TypeError, AttributeError, IndexError, RecursionError):
            logger.exception("broadcast dropped")
            raise Empty from None


class RedisChannel(_RedisChannel, redis.Channel):  # type: ignore[misc]
    pass


class SentinelChannel(_RedisChannel, redis.SentinelChannel):  # type: ignore[misc]
    pass


class RedisTransport(redis.Transport):
    Channel = RedisChannel


class SentinelTransport(redis.SentinelTransport):
    Channel = SentinelChannel


class AmqpMessage(pyamqp.Message):
    """As RedisMessage is. `along`: those that are recorded with it, if it has any."""

    along: Along | None = None

    def __init__(self, msg: Any, channel: Any = None, **options: Any) -> None:
        headers = msg.properties.get("application_headers") or {}
        compression = headers.pop("compression", None)
        super().__init__(msg, channel, **options)
        if compression is not None:
            try:
                self.body: Any = unpack(self.body, compression)
            except Exception:  # noqa: BLE001 -- told by whoever reads the message
                self.errors = [sys.exc_info()]

    def ack(self, multiple: bool = False) -> None:
        super().ack(multiple)
        self._release()

    def reject(self, requeue: bool = False) -> None:
        super().reject(requeue)
        self._release()

    def _release(self) -> None:
        if self.along is not None:
            self.along.release()


class AmqpChannel(_Channel, pyamqp.Channel):  # type: ignore[misc]
    Message = AmqpMessage


CONTENT_HEADER = 2
NO_PROPERTIES = b"\x00\x00"


def _tolerant_frames(connection: Any, callback: Any, **options: Any) -> Any:
    """Properties that cannot be decoded are none: the message goes on without."""
    read = frame_handler(connection, callback, **options)

    def on_frame(frame: tuple[int, int, Any]) -> Any:
        kind, channel, buffer = frame
        if kind == CONTENT_HEADER and not _decodes(buffer):
            buffer = bytes(buffer[:12]) + NO_PROPERTIES
        return read((kind, channel, buffer))

    return on_frame


def _decodes(header: Any) -> bool:
    content: Any = Content()
    try:
        content.inbound_header(header)
    except Exception:  # noqa: BLE001 -- told as a message without headers
        return False
    return True


class AmqpConnection(pyamqp.Connection):
    Channel = AmqpChannel

    def __init__(self, *args: Any, **options: Any) -> None:
        options["frame_handler"] = _tolerant_frames
        super().__init__(*args, **options)


class AmqpTransport(pyamqp.Transport):
    Connection = AmqpConnection


class AmqpSslTransport(pyamqp.SSLTransport):
    Connection = AmqpConnection
