"""Characters, their inventory and the item catalogue: what a combat changes."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q, Value
from django.utils.translation import gettext_lazy as _

from combat_history.callers import MAX_NAME_LENGTH
from combat_history.models.search import SearchWords
from persistence.contract.changes import BALANCE_ID


class ItemTemplate(models.Model):
    """A kind of item. Loot that names no template id is found by either name."""

    id = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(_("name (Russian)"), max_length=200, unique=True)
    name_en = models.CharField(
        _("name (English)"), max_length=200, blank=True, db_default=Value("")
    )
    stackable = models.BooleanField(
        db_default=Value(True),
        help_text=_("Loot joins the character's unequipped stack of this template."),
    )
    max_durability = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        db_table = "item_templates"
        verbose_name = _("item template")
        verbose_name_plural = _("item templates")
        constraints = [
            models.UniqueConstraint(
                fields=["name_en"],
                condition=~Q(name_en=""),
                name="item_templates_name_en_unique",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class BalanceTemplate(models.Model):
    """A kind of named balance: a currency, XP of a skill, a rating.

    `floor` and `maximum` bound what moves from now on; who is beyond them stays so.
    """

    id = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(_("name (Russian)"), max_length=200)
    name_en = models.CharField(
        _("name (English)"), max_length=200, blank=True, db_default=Value("")
    )
    floor = models.BigIntegerField(
        _("floor"),
        db_default=Value(0),
        help_text=_("What is taken beyond it is a shortage; at most 0."),
    )
    maximum = models.BigIntegerField(
        _("maximum"),
        db_default=Value(2**63 - 1),
        help_text=_("What would lead beyond it fails the combat."),
    )

    class Meta:
        db_table = "balance_templates"
        verbose_name = _("named balance")
        verbose_name_plural = _("named balances")
        constraints = [
            models.CheckConstraint(
                condition=Q(id__regex=BALANCE_ID),
                name="balance_templates_id_is_sayable",
                violation_error_message=_("Letters, digits and _.:- alone."),
            ),
            # Whoever has no row of it yet has nothing, which is within the bounds.
            models.CheckConstraint(
                condition=Q(floor__lte=0, maximum__gte=0),
                name="balance_templates_bounds_hold_zero",
                violation_error_message=_("Zero lies between floor and maximum."),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Character(models.Model):
    """A player's character. Its row lock guards its inventory and its balances.

    hp, energy and location belong to whoever wrote the newest `vitals_at`; ties are
    broken by `vitals_session_id`, the fight that ended at that moment, if one did. A
    database trigger writes the opening ledger line; others keep a character that the
    ledger names where it is, under its id.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=200)
    xp = models.BigIntegerField(db_default=Value(0))
    gold = models.BigIntegerField(db_default=Value(0))
    hp = models.BigIntegerField(db_default=Value(100))
    energy = models.BigIntegerField(db_default=Value(100))
    location = models.CharField(max_length=100, blank=True, db_default=Value(""))
    state = models.CharField(max_length=40, blank=True, db_default=Value(""))
    vitals_at = models.DateTimeField(null=True, blank=True)
    vitals_session_id = models.UUIDField(null=True, blank=True)

    class Meta:
        db_table = "characters"
        verbose_name = _("character")
        verbose_name_plural = _("characters")
        constraints = [
            models.CheckConstraint(
                condition=Q(gold__gte=0), name="characters_gold_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(xp__gte=0), name="characters_xp_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(hp__gte=0) & Q(energy__gte=0),
                name="characters_vitals_not_negative",
            ),
        ]
        indexes = [GinIndex(SearchWords("name"), name="characters_words")]

    def __str__(self) -> str:
        return self.name


class ExternalId(models.Model):
    """What another system calls a character's player: one character's at most."""

    pk = models.CompositePrimaryKey("kind", "value")
    kind = models.CharField(max_length=32)
    value = models.CharField(max_length=128)
    character = models.ForeignKey(
        Character,
        on_delete=models.CASCADE,
        related_name="external_ids",
        db_index=False,
    )

    class Meta:
        db_table = "character_external_ids"
        verbose_name = _("external id")
        verbose_name_plural = _("external ids")
        constraints = [
            models.UniqueConstraint(
                fields=["character", "kind"], name="character_external_ids_one_a_kind"
            ),
        ]
        # Whoever searches does not say of which kind an id is.
        indexes = [models.Index(fields=["value"], name="character_external_ids_value")]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class NamedBalance(models.Model):
    """What a character has of a named balance; without a row, nothing.

    Lock the character row first. `opening_amount` is what it had before this system
    moved it (a trigger sets it where nobody does); with the deltas in the ledger it
    adds up to `amount`.
    """

    pk = models.CompositePrimaryKey("character_id", "balance_id")
    character = models.ForeignKey(
        Character, on_delete=models.PROTECT, related_name="balances", db_index=False
    )
    balance = models.ForeignKey(
        BalanceTemplate, on_delete=models.PROTECT, db_index=False
    )
    amount = models.BigIntegerField()
    opening_amount = models.BigIntegerField(editable=False)

    class Meta:
        db_table = "balances"
        verbose_name = _("amount of a named balance")
        verbose_name_plural = _("amounts of named balances")

    def __str__(self) -> str:
        return f"{self.balance_id} {self.amount}"


class InventoryItem(models.Model):
    """A stack or a piece that a character owns. Lock the character row first.

    `opening_quantity` is what the row came with from outside this system (a trigger
    sets it where neither origin is named); with the movements in the ledger it adds up
    to `quantity`. A row reserved for a fight is not moved, split or taken away.
    """

    id = models.BigAutoField(primary_key=True)
    # Without indexes of their own, which every insert would pay for: the owner is the
    # first column of inventory_owner_template.
    character = models.ForeignKey(
        Character, on_delete=models.PROTECT, related_name="inventory", db_index=False
    )
    item_template = models.ForeignKey(
        ItemTemplate, on_delete=models.PROTECT, db_index=False
    )
    quantity = models.IntegerField(db_default=Value(1))
    is_equipped = models.BooleanField(db_default=Value(False))
    slot = models.CharField(max_length=40, null=True, blank=True)  # noqa: DJ001 -- the game writes NULL for "in the bag"
    durability = models.IntegerField(null=True, blank=True)
    max_durability = models.IntegerField(null=True, blank=True)
    origin_session_id = models.UUIDField(null=True, blank=True, editable=False)
    origin_operation = models.CharField(  # noqa: DJ001 -- NULL: no operation made it
        max_length=200, null=True, blank=True, editable=False
    )
    reserved_session_id = models.UUIDField(null=True, blank=True, editable=False)
    reserved_caller = models.CharField(
        max_length=MAX_NAME_LENGTH,
        editable=False,
        blank=True,
        db_default=Value(""),
        help_text=_("The API token that reserved it last, if one did."),
    )
    opening_quantity = models.IntegerField(db_default=Value(0), editable=False)
    properties = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("What tells these pieces from others of their kind."),
    )

    class Meta:
        db_table = "inventory"
        verbose_name = _("inventory item")
        verbose_name_plural = _("inventory")
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gte=0), name="inventory_quantity_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(durability__isnull=True) | Q(durability__gte=0),
                name="inventory_durability_not_negative",
            ),
        ]
        indexes = [
            # Read when loot looks for its stack and when wear looks for the piece.
            models.Index(
                F("character_id"),
                F("item_template_id"),
                name="inventory_owner_template",
            ),
            # Released at settlement and by the sweep; few rows at any time.
            models.Index(
                fields=["reserved_session_id"],
                condition=Q(reserved_session_id__isnull=False),
                name="inventory_reserved",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.item_template_id} x{self.quantity}"
