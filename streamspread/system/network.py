"""Whether a server answers, asked so that nobody waits long who has no network."""

from __future__ import annotations

import threading
import urllib.request


def expect_answer(url: str, seconds: float) -> None:
    """Raises OSError, or what urllib raises, where the server gives no answer in so many seconds.

    It is asked in a thread, since no timeout covers the look-up of its name, and with urllib, since that goes
    through the user's proxy.
    """
    failure: list[Exception] = [TimeoutError(f"no answer within {seconds:g} s")]

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds):
                failure.clear()
        except Exception as error:
            failure[:] = [error]

    thread = threading.Thread(target=ask, name="streamspread-network", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
