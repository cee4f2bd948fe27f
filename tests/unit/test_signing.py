"""The keys of engines: read without a word about a secret, first signs, all verify."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from persistence.contract.signing import NO_KEYS, EngineKeys, as_signature

SECRETS = ("first-secret-of-two", "second-secret-of-two")
KEYS = EngineKeys.parse(f"a:{SECRETS[0]},\n b.2:{SECRETS[1]}")


def test_the_first_key_signs_the_raw_bytes() -> None:
    raw = "«Шкура волка»".encode()

    expected = hmac.new(SECRETS[0].encode(), raw, hashlib.sha256).hexdigest()

    assert KEYS.sign(raw) == f"a:{expected}" == KEYS.sign(raw.decode())
    assert KEYS.verify(raw, f"a:{expected}")
    assert not KEYS.verify(raw + b" ", f"a:{expected}")
    assert not KEYS.verify(raw, f"b.2:{expected}")


def test_every_key_verifies() -> None:
    second = EngineKeys.parse(f"b.2:{SECRETS[1]}")

    assert KEYS.verify(b"x", second.sign(b"x"))
    assert not second.verify(b"x", KEYS.sign(b"x"))


def test_without_keys_everything_counts_as_signed() -> None:
    assert not NO_KEYS
    assert NO_KEYS.sign(b"x") == ""
    assert NO_KEYS.verify(b"x", None)
    assert NO_KEYS.sign_operation(1, {"op_id": "x"}) == {"op_id": "x"}
    assert NO_KEYS.verify_operation(1, {}, None)


@pytest.mark.parametrize(
    "text",
    [
        "first-secret-of-two",
        "a:short",
        ":first-secret-of-two",
        "a b:first-secret-of-two",
        "a:first-secret-of-two,a:second-secret-of-two",
    ],
)
def test_what_is_no_key_is_refused_without_the_secret(text: str) -> None:
    with pytest.raises(ValueError, match="SETTLEMENT_ENGINE_KEYS") as caught:
        EngineKeys.parse(text)

    assert "secret-of-two" not in str(caught.value)


def test_a_secret_is_never_shown() -> None:
    assert repr(KEYS) == str(KEYS) == "EngineKeys(a, b.2)"


def test_they_come_from_the_environment_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SETTLEMENT_ENGINE_KEYS", raising=False)
    assert not EngineKeys.from_env()
    monkeypatch.setenv("SETTLEMENT_ENGINE_KEYS", f"a:{SECRETS[0]}")
    assert repr(EngineKeys.from_env()) == "EngineKeys(a)"
    (tmp_path / "keys").write_text(f"b:{SECRETS[1]}\n")
    monkeypatch.setenv("SETTLEMENT_ENGINE_KEYS_FILE", str(tmp_path / "keys"))
    assert repr(EngineKeys.from_env()) == "EngineKeys(b)"


@pytest.mark.parametrize("given", [None, 7, {}, "x" * 121, "é"])
def test_what_cannot_be_a_signature_is_none(given: object) -> None:
    assert as_signature(given) == ""
