"""The page, its jobs, and what they have to say."""

from django.urls import path
from orders import views

__all__ = ("urlpatterns",)

urlpatterns = [
    path("", views.index, name="index"),
    path("jobs/<slug:name>/start", views.start, name="start"),
    path("jobs/<uuid:job_id>/events", views.events, name="events"),
]
