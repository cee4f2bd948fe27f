"""What a person does to a combat: permitted, with a reason, and audited."""

from __future__ import annotations
