"""A connection whose head does not come is closed; one that is used properly is not."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from app import connections
from app.main import SERVING, create_app


@pytest.fixture
def port(settings, wait_until, monkeypatch) -> Iterator[int]:
    """Of a server that waits one second for a head."""
    monkeypatch.setattr(connections, "HEAD_WITHIN_S", 1.0)
    server = uvicorn.Server(uvicorn.Config(create_app(settings, pages=False), port=0, **SERVING))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, 20, "the web server starts")
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(60)


def trickle(connection: socket.socket, seconds: float = 30.0) -> bool:
    """Whether the server closes a connection to which one more byte of a header comes now and then."""
    connection.settimeout(0.2)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            connection.sendall(b"a")
            if connection.recv(100) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


@pytest.mark.parametrize("begun", [b"", b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-A: "])
def test_a_head_that_hardly_comes_is_not_waited_for(port, begun):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(begun)
        assert trickle(connection)


def test_nor_is_that_of_a_later_request(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in connection.recv(4096)
        connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        assert trickle(connection)


def test_a_connection_that_is_used_stays(port):
    """Each request has its own second, also one whose body takes longer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    own = connection.sock
    for _ in range(3):
        connection.request("GET", "/api/v1/health")
        assert connection.getresponse().read()
        time.sleep(0.5)
    connection.putrequest("POST", "/api/v1/surfaces")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", "2")
    connection.endheaders()
    time.sleep(1.5)
    connection.send(b"{}")
    assert connection.getresponse().status == 422
    assert connection.sock is own
    connection.close()
