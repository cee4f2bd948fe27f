"""The audit's codes in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from combat_history.admin.rendering import visible

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

VERBS: dict[str, str | _StrPromise] = {
    "acknowledge": _("acknowledge"),
    "add": _("add"),
    "adjust": _("correct the inventory"),
    "assign": _("assign"),
    "cancel": _("cancel"),
    "change": _("change"),
    "compensate": _("undo"),
    "correct": _("correct"),
    "delete": _("delete"),
    "discard": _("discard"),
    "drain": _("drain"),
    "export": _("export"),
    "forget": _("forget"),
    "make_token": _("make a token"),
    "note": _("note"),
    "pause": _("pause"),
    "prune_counts": _("prune counts"),
    "prune_rejected": _("prune rejected payloads"),
    "prune_replays": _("prune fight logs"),
    "replay": _("replay"),
    "resubmit": _("resubmit"),
    "resume": _("resume"),
    "retry": _("retry"),
    "revoke_token": _("revoke a token"),
    "rotate_token": _("rotate a token"),
    "sign_in": _("sign in"),
    "snooze": _("snooze"),
    "void": _("void"),
    "wake": _("end the snooze"),
}

TARGETS: dict[str, str | _StrPromise] = {
    "api token": _("API token"),
    "balancetemplate": _("named balance"),
    "character": _("character"),
    "combat": _("combat"),
    "discrepancy": _("discrepancy"),
    "group": _("group"),
    "itemtemplate": _("item template"),
    "operation": _("operation of the game"),
    "parked": _("parked operation"),
    "parked operation": _("parked operation"),
    "player": _("player"),
    "rejected": _("rejected payload"),
    "replay batch": _("replay batch"),
    "retention": _("retention"),
    "settlement": _("settlement"),
    "table": _("table"),
    "user": _("user"),
}


def verb_of(code: str) -> str:
    """A code without a word stands for itself."""
    return str(VERBS.get(code) or visible(code))


def target_of(code: str) -> str:
    return str(TARGETS.get(code) or visible(code))
