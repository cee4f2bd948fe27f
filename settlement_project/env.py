"""Typed environment variables. Every problem is reported, all in one message."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from combat_history.callers import read_environment
from persistence.contract.signing import NO_KEYS, EngineKeys

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class Environment:
    """Reads variables and collects what is wrong; `raise_if_invalid` says it all."""

    def __init__(self) -> None:
        self._problems: list[str] = []

    def text(self, name: str, default: str) -> str:
        return os.environ.get(name) or default

    def secret(self, name: str, default: str | Callable[[], str] | None) -> str:
        """`NAME`, or the contents of the file named by `NAME_FILE`.

        A default that is called is called only where neither is given.
        """
        file_name = os.environ.get(f"{name}_FILE")
        if file_name:
            return self._file_text(f"{name}_FILE", file_name)
        value = os.environ.get(name) or default
        if callable(value):
            return value()
        if value is None:
            self._problems.append(
                f"{name} (or {name}_FILE) must be set unless DEBUG is on"
            )
            return ""
        return value

    def secrets(
        self, name: str, default: str | Callable[[], str], *, least: int = 0
    ) -> list[str]:
        """A comma-separated secret. `least`: characters that each part has."""
        parts = [part.strip() for part in self.secret(name, default).split(",")]
        found = [part for part in parts if part]
        if any(len(part) < least for part in found):
            self._problems.append(f"{name} has at least {least} characters")
        return found

    def tokens(
        self, name: str, default: str | Callable[[], str], *, least: int
    ) -> list[str]:
        """Tokens of the HTTP API, as `read_environment` reads them."""
        found = self.secrets(name, default)
        try:
            tokens = read_environment(found)
        except ValueError as error:
            self._problems.append(f"{name}: {error}")
            return found
        if any(len(token.secret) < least for token in tokens):
            self._problems.append(f"{name}: a secret has at least {least} characters")
        return found

    def engine_keys(self, name: str) -> EngineKeys:
        """`NAME` or the file of `NAME_FILE`, as `EngineKeys.parse` reads it."""
        try:
            return EngineKeys.parse(self.secret(name, ""))
        except ValueError as error:
            self._problems.append(str(error))
            return NO_KEYS

    def flag(self, name: str, default: bool) -> bool:
        value = os.environ.get(name, "").lower()
        if not value:
            return default
        if value in _TRUE | _FALSE:
            return value in _TRUE
        self._problems.append(f"{name}={value!r} is not a flag: use true or false")
        return default

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = os.environ.get(name, "")
        if not value:
            return default
        try:
            number = int(value)
        except ValueError:
            self._problems.append(f"{name}={value!r} is not a whole number")
            return default
        if not low <= number <= high:
            self._problems.append(f"{name}={number} is not between {low} and {high}")
        return number

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = os.environ.get(name) or default
        if value not in allowed:
            self._problems.append(
                f"{name}={value!r} is not one of {', '.join(allowed)}"
            )
        return value

    def names(self, name: str, default: list[str]) -> list[str]:
        """A comma-separated list."""
        value = os.environ.get(name)
        if value is None:
            return default
        return [part.strip() for part in value.split(",") if part.strip()]

    def problem(self, message: str) -> None:
        self._problems.append(message)

    def raise_if_invalid(self) -> None:
        if self._problems:
            lines = "\n".join(f"  - {problem}" for problem in self._problems)
            raise ImproperlyConfigured(f"The environment is not usable:\n{lines}")

    def _file_text(self, name: str, file_name: str) -> str:
        try:
            text = Path(file_name).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            self._problems.append(f"{name}={file_name!r} holds no UTF-8 text")
            return ""
        except OSError as error:
            self._problems.append(
                f"{name}={file_name!r} cannot be read: {error.strerror}"
            )
            return ""
        if not text:
            self._problems.append(f"{name}={file_name!r} is empty")
        return text
