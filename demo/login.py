"""One generated login for the admin and Flower, kept beside the data."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.contrib.auth import get_user_model

USER = "admin"


def stored_password(path: Path) -> str:
    """The password in `path`, readable by its owner alone; generated once."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    password = secrets.token_urlsafe(12)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{password}\n")
    return password


def admin_accepts(password: str) -> bool:
    """Create the admin with this password; False where it exists with another."""
    users = get_user_model().objects
    user = users.filter(username=USER).first()
    if user is None:
        users.create_superuser(USER, password=password)
        return True
    return user.check_password(password)
