from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from settlement_project import health, metrics

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("combat_history.api.urls")),
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
]
