"""WhiteNoise under ASGI: static files as whole answers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import Redirect, StaticFile


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """WhiteNoise answers with an open file, which Django's ASGI handler cannot stream:
    it would read all of it, and warn of that at every file."""

    @staticmethod
    def serve(static_file: StaticFile | Redirect, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with found.file:
                content = found.file.read()
        response = HttpResponse(content, status=int(found.status))
        # Its type and length are among the headers, or there are none.
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        return response
