"""Real servers on loopback that keep what they were sent, and servers that misbehave."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Received(list):
    """What came, and what to answer next."""

    answers: list[int]
    address: str


@contextmanager
def http_server(answers: list[int] | None = None) -> Iterator[Received]:
    """Keeps each request's JSON, or its path where it holds none.

    Answers with these codes in turn, then with 200.
    """
    received = Received()
    received.answers = list(answers or [])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = received.answers.pop(0) if received.answers else 200
            if code == 0:  # half-dead: it takes the message and says nothing
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if code == 200:
                received.append(json.loads(body))
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            received.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    received.address = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent_server() -> Iterator[str]:
    """Accepts a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@contextmanager
def dripping_server(first: bytes, drop: bytes = b"") -> Iterator[str]:
    """Answers whoever connects with some bytes, then with a drop every 50 ms for 3 s."""

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(first)
            for _ in range(60 if drop else 0):
                time.sleep(0.05)
                connection.sendall(drop)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=listening.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@contextmanager
def mail_server(refuse: bool = False) -> Iterator[Received]:
    """An SMTP server that keeps each message, or refuses every recipient."""
    from aiosmtpd.controller import Controller

    received = Received()

    class Handler:
        async def handle_RCPT(self, server, session, envelope, address, options):
            if refuse:
                return "550 nobody here"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server, session, envelope):
            received.append(message_from_bytes(envelope.content, policy=policy.default))
            return "250 OK"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    received.address = (
        f"mailto://127.0.0.1:{port}/?from=mct@b.co&to=ann@b.co&mode=insecure&inline=yes"
    )
    try:
        yield received
    finally:
        controller.stop()
