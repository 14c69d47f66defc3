"""One deadline for a whole exchange, however slowly the other side drips its answer."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any


def within(seconds: float, call: Callable[[], Any]) -> None:
    """Wait for a call so long at most. Raises TimeoutError, or what the call raised."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as error:
            raised.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no end after {seconds} s")
    if raised:
        raise raised[0]
