"""No password survives, and what is not secret stays readable."""

from __future__ import annotations

import random
import string

import pytest

from celery_async_bridge.core.mask import mask

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:s3cr3t@h:6379/0", "redis://:**@h:6379/0"),
        ("amqp://u:s3cr3t@h//", "amqp://u:**@h//"),
        ("amqp://u:s3cr3t@[::1]:5672//", "amqp://u:**@[::1]:5672//"),
        ("redis://:s3cr3t@/run/redis.sock", "redis://:**@/run/redis.sock"),
        ("sqs://AKIA:s3cr3t/abc@", "sqs://AKIA:**@"),
        (
            "amqp://u:s3cr3t@h1//;amqp://v:s3cr3t2@h2//",
            "amqp://u:**@h1//;amqp://v:**@h2//",
        ),
        (
            "amqp://u:s3cr3t@h1//, amqp://v:s3cr3t2@h2//",
            "amqp://u:**@h1//, amqp://v:**@h2//",
        ),
        (
            "sentinel://:s3cr3t@h1:26379;sentinel://:s3cr3t2@h2:26379/0",
            "sentinel://:**@h1:26379;sentinel://:**@h2:26379/0",
        ),
        ("sentinel://:s3cr3t@h1:1,h2:1/0", "sentinel://:**@h1:1,h2:1/0"),
        ("mongodb://u:s3cr3t@h1,h2:27017/db", "mongodb://u:**@h1,h2:27017/db"),
        ("redis://h/0?a=1&password=s3cr3t&b=2", "redis://h/0?a=1&password=**&b=2"),
        ("gcs://bucket?api_key=s3cr3t", "gcs://bucket?api_key=**"),
        ("redis://s3cr3t@h", "redis://**@h"),
        ("amqp://u:s3cr3t", "amqp://u:**"),
    ],
)
def test_hides_the_secret_and_nothing_else(url: str, shown: str) -> None:
    assert mask(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        'rediss://h?sentinel_kwargs={"password":"s3cr3t"}',
        "db+mssql+pyodbc:///?odbc_connect=DRIVER={x};UID=u;PWD=s3cr3t",
        "azureblockblob://AccountName=x;AccountKey=s3cr3t==;EndpointSuffix=y",
        "amqp://a:b@h1;u:s3cr3t@h2//",
        "u:s3cr3t@h//",
        "//u:s3cr3t@h//",
        "amqp://u@x:s3cr3t@h",
        "amqp://u/x:s3cr3t@h",
        "amqp://u:s3cr3t;amqp://v:s3cr3t2@h2//",
        "redis://:x@h/0?password=a@s3cr3t",
        "amqp://u:token=s3cr3t@h",
    ],
)
def test_hides_what_is_hard_to_find(url: str) -> None:
    assert SECRET not in mask(url)


@pytest.mark.parametrize("mark", [*string.punctuation, " ", "\n", "é", "%40", "://"])
def test_an_unescaped_character_in_a_password_reveals_no_part(mark: str) -> None:
    for password in (f"{SECRET}{mark}", f"{mark}{SECRET}", f"{SECRET}{mark}{SECRET}"):
        one = f"amqp://user:{password}@host//"
        assert SECRET not in mask(one), one
        two = f"amqp://user:{password}@host//;amqp://user:{password}@other//"
        assert SECRET not in mask(two), two


def test_random_passwords_never_show() -> None:
    chance = random.Random(7)
    letters = string.ascii_letters + string.digits + string.punctuation
    for _ in range(2000):
        password = "".join(chance.choices(letters, k=chance.randint(6, 20)))
        for shape in ("redis://:{}@h:1/0", "amqp://u:{}@h1//;amqp://v:{}@h2//"):
            shown = mask(shape.replace("{}", password))
            assert password not in shown, password
            assert password[:6] not in shown, password
            assert password[-6:] not in shown, password


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "cache+memory://",
        "rpc://",
        "localhost",
        "redis://h:6379/0",
        "redis://[::1]:6379",
        "sentinel://h1:26379;sentinel://h2:26379",
        "mongodb://h1:1,h2:2/db?authSource=admin",
        "db+sqlite:///C:/x.db",
        "celery.backends.redis:RedisBackend",
    ],
)
def test_leaves_a_url_without_secrets_alone(url: str) -> None:
    assert mask(url) == url


def test_takes_lists_and_nothing() -> None:
    assert mask(["redis://:a@h", "redis://:b@i"]) == "redis://:**@h;redis://:**@i"
    assert mask(None) == ""
