"""The site for a WSGI server: jobs can be sent, for workers elsewhere."""

import os

from django.core.wsgi import get_wsgi_application

__all__ = ("application",)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")

application = get_wsgi_application()
