"""Settings: the broker inside the process, or the one that SHOP_BROKER names."""

import os

from kombu import Queue

__all__ = ()

DEBUG = os.environ.get("SHOP_DEBUG") == "1"
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "only good for trying the example")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]

INSTALLED_APPS = ["celery_async_bridge.contrib.django", "orders"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "website.urls"
ASGI_APPLICATION = "website.asgi.application"
WSGI_APPLICATION = "website.wsgi.application"
TEMPLATES = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
]
TIME_ZONE = "UTC"

CELERY_BROKER_URL = os.environ.get("SHOP_BROKER", "embedded://shop")
CELERY_RESULT_BACKEND = os.environ.get("SHOP_BACKEND", CELERY_BROKER_URL)
CELERY_RESULT_EXPIRES = 600
CELERY_TASK_TRACK_STARTED = True
# Nobody looks at a page that hangs: seconds until a view learns that a send failed.
CELERY_ASYNC_PUBLISH_TIMEOUT = 2
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# Any worker may run what is in `orders`; coroutines need one with `-P asyncio`.
CELERY_TASK_DEFAULT_QUEUE = "orders"
CELERY_TASK_QUEUES = [Queue("orders"), Queue("coroutines")]
CELERY_TASK_ROUTES = {
    "orders.tasks.ask_suppliers": {"queue": "coroutines"},
    "orders.tasks.track_parcel": {"queue": "coroutines"},
}
