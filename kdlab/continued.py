"""Work continued from a checkpoint: one process at a time, which is asked to stop by SIGTERM."""

import fcntl
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("kd")
# The level of what is said once, between information and warnings.
NOTICE = 25


@contextmanager
def locked(checkpoint: Path, name: str) -> Iterator[bool]:
    """Hold a lock that ends with the process; yields whether another process held it first.

    Args:
        checkpoint: of the work that one process at a time is to do.
        name: what the work is called in messages.
    """
    lock = checkpoint.with_name(f".{checkpoint.stem}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as stream:
        waited = False
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            log.log(NOTICE, "%s: another process is at it; waiting for its end", name)
            fcntl.flock(stream, fcntl.LOCK_EX)
        # The file stays: to remove it would give the next process a lock of its own.
        yield waited


def asked_to_stop() -> Callable[[], bool]:
    """Whether SIGTERM has come, which a cluster sends at a job's time limit, or Ctrl-C.

    A second one ends the process at once.
    """
    received: list[bool] = []

    def note(number: int, _: object) -> None:
        received.append(True)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, note)
    return lambda: bool(received)
