"""Waiting for what a test looks at: bounded, and over as soon as it is there."""

import threading
import time

# How long anything may take on a busy two-core machine. Reached only by a failure.
SECONDS_MAX = 60
# Asking again costs the scheduler a read from memory; this keeps the machine free for what is waited for.
POLL_SECONDS = 0.05

# The clients' waiters ask every 6 to 15 s, which is meant for a control plane far away.
WAITER = {"Delay": 1, "MaxAttempts": SECONDS_MAX}


def until(what, look, seconds=SECONDS_MAX):
    """Asks `look` until it answers something true, and returns that."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}; last seen: {seen!r}")
        pause.wait(POLL_SECONDS)
