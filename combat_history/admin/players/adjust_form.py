"""What is to be corrected in an inventory, as a person says it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django import forms
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions.adjust import give
from combat_history.models import InventoryItem, ItemTemplate
from persistence.contract.changes import MAX_AMOUNT, MAX_BIGINT
from persistence.contract.document import Document


class What(StrEnum):
    GIVE = "give"
    TAKE = "take"
    DURABILITY = "durability"


class WishForm(forms.Form):
    """What to change in one player's inventory.

    An item is named by its id or by either name.
    """

    what = forms.ChoiceField(
        label=_("What"),
        choices=[
            (What.GIVE, _("give pieces")),
            (What.TAKE, _("take pieces")),
            (What.DURABILITY, _("set the durability")),
        ],
    )
    row = forms.IntegerField(
        label=_("Row"),
        required=False,
        min_value=1,
        max_value=MAX_BIGINT,
        help_text=_(
            "The number of an inventory row, from the table below. A fight takes from "
            "the rows that its document names. Leave it empty to name only an item."
        ),
    )
    item = forms.CharField(
        label=_("Item"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"list": "templates", "size": 40}),
        help_text=_("The id or the name of an item template."),
    )
    quantity = forms.IntegerField(
        label=_("Quantity"), required=False, min_value=1, max_value=MAX_AMOUNT
    )
    durability = forms.IntegerField(
        label=_("Durability"), required=False, min_value=0, max_value=MAX_AMOUNT
    )

    def __init__(self, char_id: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.char_id = char_id
        self.found: InventoryItem | None = None

    def clean_row(self) -> int | None:
        row: int | None = self.cleaned_data["row"]
        if row is not None:
            rows = InventoryItem.objects.filter(character_id=self.char_id, pk=row)
            self.found = rows.first()
            if self.found is None:
                text = gettext("The player has no inventory row %(row)d.")
                raise forms.ValidationError(text % {"row": row})
        return row

    def clean_item(self) -> str:
        """The template's id."""
        named: str = self.cleaned_data["item"]
        if not named:
            return ""
        by_name = Q(name=named) | Q(name_en=named)
        templates = ItemTemplate.objects.filter(Q(pk=named) | by_name)
        ids = sorted(
            templates.values_list("pk", flat=True), key=lambda id_: id_ != named
        )
        if not ids:
            raise forms.ValidationError(gettext("No such item is in the catalogue."))
        return ids[0]

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if self.errors:
            return values
        item, held = values["item"], self.found and self.found.item_template_id
        if values["what"] == What.DURABILITY:
            self._require("row", "durability")
            self._refuse("quantity")
        elif not item and not held:
            self.add_error("item", gettext("Name an item or a row."))
        else:
            self._require("quantity")
        if item and held and item != held:
            text = gettext("Row %(row)d holds another item: %(item)s.")
            self.add_error("row", text % {"row": values["row"], "item": held})
        if (held and values["what"] == What.GIVE) or values["what"] == What.TAKE:
            self._refuse("durability")
        return values

    def operations(self, op_id: str) -> list[Document]:
        """What the game would queue for it. Only of a valid form."""
        values = self.cleaned_data
        row, quantity = values["row"], values["quantity"]
        match values["what"]:
            case What.GIVE:
                item = self.found.item_template_id if self.found else values["item"]
                return give(
                    op_id,
                    item,
                    quantity,
                    durability=values["durability"],
                    into=row,
                    stack=self._stack(item),
                )
            case What.TAKE:
                source = {"inventory_id": row}
                if row is None:
                    source = {"item_template_id": values["item"]}
                return [{"op_id": op_id, "op": "remove", "qty": quantity, **source}]
        worn = {"inventory_id": row, "durability": values["durability"]}
        return [{"op_id": op_id, "op": "set_durability", **worn}]

    def _stack(self, item_template_id: str) -> int | None:
        """Where the game puts what it gives of a template."""
        rows = InventoryItem.objects.filter(
            character_id=self.char_id,
            item_template_id=item_template_id,
            is_equipped=False,
            slot=None,
        )
        return rows.order_by("pk").values_list("pk", flat=True).first()

    def _require(self, *fields: str) -> None:
        missing = [name for name in fields if self.cleaned_data[name] is None]
        for name in missing:
            self.add_error(name, gettext("This is needed here."))

    def _refuse(self, name: str) -> None:
        """What was filled in must never be dropped in silence."""
        if self.cleaned_data.get(name) is not None:
            self.add_error(name, gettext("This has no meaning here."))
