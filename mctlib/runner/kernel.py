"""A notebook's kernel within bounds of time and output: past one of them it is ended."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Any

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

from mctlib.contract import as_window

MOST_OUTPUT = 32 << 20  # bytes of texts and pictures; a page of more no browser opens well
ENGINE = "mctlib"


class Ended(Exception):
    """The kernel was ended, and why, in words."""


class _Client(PapermillNotebookClient):
    """Executes a notebook, and ends its kernel with all that it started when that is too much."""

    why = ""
    n_bytes = 0

    def end(self, why: str) -> None:
        """End the kernel: whatever is waited for, that it died is found within a second or two."""
        self.why = self.why or why
        group = getattr(getattr(self.km, "provisioner", None), "pgid", None)
        if group:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def process_message(self, *arguments: Any, **named: Any) -> Any:
        """As papermill does, unless that was more output than a page can hold."""
        if self.why:
            return None
        self.n_bytes += _size(arguments[0]["content"])
        if self.n_bytes > MOST_OUTPUT:
            arguments[1].outputs.clear()  # of the cell, for its page must open
            self.end(f"it wrote more than {MOST_OUTPUT >> 20} MB of output and was ended")
            return None
        return super().process_message(*arguments, **named)


def _size(content: Any) -> int:
    if isinstance(content, dict):
        return sum(map(_size, content.values()))
    if isinstance(content, list):
        return sum(map(_size, content))
    return len(content) if isinstance(content, (str, bytes)) else 8


class _Engine(NBClientEngine):
    """Papermill's own engine but for the client, which it names itself."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **named: Any) -> Any:
        """Execute a notebook. Raises Ended: it took longer than ``timeout`` or wrote too much."""
        limit = as_window(named["timeout"]) / 1e6
        known = {name: named[name] for name in ("config", "extra_arguments")}
        client = _Client(nb_man, kernel_name=kernel_name, startup_timeout=limit, **known)
        why = f"it took longer than {named['timeout']} (the timeout of the pack) and was ended"
        watch = threading.Timer(limit, client.end, [why])
        watch.daemon = True
        watch.start()
        try:
            return client.execute()
        except Exception:
            if client.why:
                raise Ended(client.why) from None
            raise
        finally:
            watch.cancel()


papermill_engines.register(ENGINE, _Engine)
