"""Words of a text as the one search finds them."""

from __future__ import annotations

from django.contrib.postgres.search import SearchVectorField
from django.db.models import Func


class SearchWords(Func):
    """The database's function of migration 0024: lower case, without accents."""

    function = "search_words"
    output_field = SearchVectorField()
