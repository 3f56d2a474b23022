"""A Django application with one table."""

from __future__ import annotations

from django.apps import AppConfig


class NotesConfig(AppConfig):
    name = "tests.integration.django.notes"
    label = "notes"
