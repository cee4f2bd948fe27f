"""The tables as SQLAlchemy's ORM sees them: the columns that a settlement touches."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {int: BigInteger, datetime: DateTime(timezone=True)}


class Character(Base):
    __tablename__ = "characters"

    id: Mapped[int] = mapped_column(primary_key=True)
    xp: Mapped[int]
    gold: Mapped[int]
    hp: Mapped[int]
    energy: Mapped[int]
    vitals_at: Mapped[datetime | None]
    vitals_session_id: Mapped[UUID | None]


class ItemTemplate(Base):
    __tablename__ = "item_templates"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    stackable: Mapped[bool]
    max_durability: Mapped[int | None]


class InventoryItem(Base):
    __tablename__ = "inventory"

    id: Mapped[int] = mapped_column(primary_key=True)
    character_id: Mapped[int]
    item_template_id: Mapped[str]
    quantity: Mapped[int]
    is_equipped: Mapped[bool] = mapped_column(default=False)
    slot: Mapped[str | None]
    durability: Mapped[int | None]
    max_durability: Mapped[int | None]
    origin_session_id: Mapped[UUID | None]


class CombatHistory(Base):
    __tablename__ = "combat_history"

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    participant_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    finished_at: Mapped[datetime]
    settlement_status: Mapped[str]
    settled_at: Mapped[datetime | None]
    result_payload: Mapped[dict[str, Any]] = mapped_column(JSONB, deferred=True)


class CombatParticipant(Base):
    __tablename__ = "combat_participants"

    character_id: Mapped[int] = mapped_column(primary_key=True)
    finished_at: Mapped[datetime] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(primary_key=True)


class CombatReplay(Base):
    __tablename__ = "combat_replay"

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    data: Mapped[bytes]


class LedgerLine(Base):
    __tablename__ = "settlement_ledger"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[UUID]
    character_id: Mapped[int]
    kind: Mapped[str]
    xp_delta: Mapped[int]
    gold_delta: Mapped[int]
    xp_after: Mapped[int]
    gold_after: Mapped[int]
    items: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
