from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from combat_history.admin.fresh import SignInAgain
from settlement_project import health, metrics

# Here, and not where Django starts: workers and commands serve no pages, and loading
# them took a third of their start.
admin.autodiscover()

handler400 = "combat_history.admin.error_pages.bad_request"
handler403 = "combat_history.admin.error_pages.permission_denied"
handler404 = "combat_history.admin.error_pages.page_not_found"
handler500 = "combat_history.admin.error_pages.server_error"

urlpatterns = [
    path("admin/sign-in-again/", SignInAgain.as_view(), name="sign_in_again"),
    path("admin/", admin.site.urls),
    path("api/", include("combat_history.api.urls")),
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
]
