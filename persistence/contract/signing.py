"""Signatures of what an engine says: HMAC-SHA-256 with a key that workers share.

Whoever reaches Redis or the broker may write there what an engine would; without a key
nobody can sign it. Imports without Django.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from persistence.contract.document import Document, canonical_json

NAME = "SETTLEMENT_ENGINE_KEYS"

MIN_SECRET = 16
"""Characters. A shorter one can be guessed from a signature that somebody has read."""

MAX_SIGNATURE = 120
"""Of a well-formed one; what is longer is none."""

SIGNATURE_FIELD = "signature"
"""Of an inventory operation, and of a live session beside its `result`."""

_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class EngineKeys:
    """Keys by their id: the first signs, each of them verifies. Without any, everything
    counts as signed. Never shows a secret."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = keys

    @classmethod
    def parse(cls, text: str) -> EngineKeys:
        """From `id:secret`, several by commas or spaces.

        Raises ValueError, which names no secret.
        """
        keys: dict[str, bytes] = {}
        for number, part in enumerate(text.replace(",", " ").split(), start=1):
            key_id, _, secret = part.partition(":")
            if not _KEY_ID.fullmatch(key_id) or len(secret) < MIN_SECRET:
                raise ValueError(
                    f"key {number} of {NAME} is not id:secret: an id of 1 to 40 "
                    "letters, digits, _ . - and a secret of at least "
                    f"{MIN_SECRET} characters"
                )
            if key_id in keys:
                raise ValueError(f"{NAME} has the id {key_id} twice")
            keys[key_id] = secret.encode()
        return cls(keys)

    @classmethod
    def from_env(cls) -> EngineKeys:
        """From SETTLEMENT_ENGINE_KEYS or the file that _FILE names; none by default."""
        # A file that holds them, in place of SETTLEMENT_ENGINE_KEYS.
        path = os.environ.get("SETTLEMENT_ENGINE_KEYS_FILE")
        if path:
            return cls.parse(Path(path).read_text(encoding="utf-8"))
        # Keys that workers know, `id:secret`, several by commas: the first signs
        # results and operations. None by default.
        return cls.parse(os.environ.get("SETTLEMENT_ENGINE_KEYS") or "")

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __repr__(self) -> str:
        return f"EngineKeys({', '.join(self._keys)})"

    def sign(self, raw: str | bytes) -> str:
        """`key_id:hex` over these very bytes; "" without a key."""
        raw = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
        for key_id, secret in self._keys.items():
            return f"{key_id}:{hmac.digest(secret, raw, 'sha256').hex()}"
        return ""

    def verify(self, raw: bytes, signature: str | None) -> bool:
        """Whether an engine has signed these bytes."""
        if not self._keys:
            return True
        key_id, _, given = (signature or "").partition(":")
        secret = self._keys.get(key_id)
        if secret is None or not given.isascii():
            return False
        return hmac.compare_digest(hmac.digest(secret, raw, "sha256").hex(), given)

    def sign_outcome(self, session_id: UUID, raw: bytes) -> str:
        """Of what `finish_combat` is given, over these very bytes; "" without a key."""
        return self.sign(_outcome_bytes(session_id, raw))

    def verify_outcome(
        self, session_id: UUID, raw: bytes, signature: str | None
    ) -> bool:
        return self.verify(_outcome_bytes(session_id, raw), signature)

    def sign_operation(self, char_id: int, operation: Document) -> Document:
        """The operation with its signature; as it is without a key."""
        signature = self.sign(_operation_bytes(char_id, operation))
        return {**operation, SIGNATURE_FIELD: signature} if signature else operation

    def verify_operation(
        self, char_id: int, operation: Document, signature: object
    ) -> bool:
        """`operation` is without its signature."""
        if not self._keys:
            return True
        return isinstance(signature, str) and self.verify(
            _operation_bytes(char_id, operation), signature
        )


NO_KEYS = EngineKeys({})


def as_signature(given: object) -> str:
    """What may be one as it travels; "" for what cannot be."""
    is_one = isinstance(given, str) and len(given) <= MAX_SIGNATURE and given.isascii()
    return str(given) if is_one else ""


def _outcome_bytes(session_id: UUID, raw: bytes) -> bytes:
    # Of this combat: signed for one, it must not be good for another one.
    return b"outcome:%b:%b" % (str(session_id).encode(), raw)


def _operation_bytes(char_id: int, operation: Document) -> bytes:
    # Of this player: signed for one, it must not be good for another one's list. No
    # document begins so.
    return b"inventory:%d:%b" % (char_id, canonical_json(operation))
