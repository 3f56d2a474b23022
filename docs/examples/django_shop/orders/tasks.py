"""The tasks: two that have always been there, and two coroutines."""

import asyncio
import random
import time

from celery import shared_task

__all__ = ("CardDeclined", "ask_suppliers", "charge_card", "pack", "track_parcel")


class CardDeclined(Exception):
    """The bank said no."""


@shared_task(bind=True)
def pack(self, boxes=20):
    """Pack boxes one by one, and say after each how many there are."""
    for packed in range(1, boxes + 1):
        time.sleep(0.1)
        self.update_state(state="PROGRESS", meta={"done": packed, "of": boxes})
    return f"{boxes} boxes packed"


@shared_task(bind=True)
def charge_card(self, card="4000 0000 0000 9995"):
    """Fail, when a part of it is done."""
    for step in range(1, 4):
        time.sleep(0.1)
        self.update_state(state="PROGRESS", meta={"done": step, "of": 10})
    raise CardDeclined(f"the card that ends in {card[-4:]} was declined")


@shared_task(bind=True)
async def ask_suppliers(self, count=25):
    """Ask all suppliers at once; the answers come in any order."""
    answers = asyncio.as_completed([_price() for _ in range(count)])
    prices = []
    for answer in answers:
        prices.append(await answer)
        await self.aupdate_state(
            state="PROGRESS", meta={"done": len(prices), "of": count}
        )
    return f"the best of {count} prices is {min(prices)}"


async def _price():
    await asyncio.sleep(random.uniform(0.1, 2))
    return random.randint(10, 99)


@shared_task(bind=True)
async def track_parcel(self, stops=8):
    """Wait for a parcel, which takes nothing but time."""
    for stop in range(1, stops + 1):
        await asyncio.sleep(0.25)
        await self.aupdate_state(state="PROGRESS", meta={"done": stop, "of": stops})
    return "delivered"
