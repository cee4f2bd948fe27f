"""One generated login for the admin and Flower, kept beside the data."""

from __future__ import annotations

from django.contrib.auth import get_user_model

USER = "admin"


def admin_accepts(password: str) -> bool:
    """Create the admin with this password; False where it exists with another."""
    users = get_user_model().objects
    user = users.filter(username=USER).first()
    if user is None:
        users.create_superuser(USER, password=password)
        return True
    return user.check_password(password)
