"""What a game says in a body of its own, read as strictly as the result of a fight."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from persistence.contract.document import (
    Document,
    canonical_json,
    parse_strictly,
    unstorable,
    whole,
    write_document,
)
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.payload import invalid


class Said(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    @classmethod
    def read(cls, given: Document | bytes) -> Self:
        """Raises PayloadInvalid with one entry per fault."""
        raw = given if isinstance(given, bytes) else write_document(given)
        document = whole(parse_strictly(raw))
        try:
            said = cls.model_validate(document)
        except ValidationError as error:
            raise invalid(error) from None
        if fault := unstorable(canonical_json(document), document):
            raise PayloadInvalid.single(FailureCode.INVALID_PAYLOAD, "", fault)
        return said
