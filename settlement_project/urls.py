from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from combat_history.admin.fresh import SignInAgain
from settlement_project import health, metrics

# Here, and not where Django starts: workers and commands serve no pages, and loading
# them took a third of their start.
admin.autodiscover()

urlpatterns = [
    path("admin/sign-in-again/", SignInAgain.as_view(), name="sign_in_again"),
    path("admin/", admin.site.urls),
    path("api/", include("combat_history.api.urls")),
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
]
