"""Talks to ws_service.py with the library `websockets`, through whatever stands in between.

    ws_client.py URL [CA.pem]     with the file: over TLS, trusting this authority
    ws_client.py mesh             at SOCKETS_URL, as a service of the app
"""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

url = sys.argv[1]
if url == "mesh":
    url = os.environ["SOCKETS_URL"]
url = url.replace("http", "ws", 1)
trust = {"ssl": ssl.create_default_context(cafile=sys.argv[2])} if len(sys.argv) > 2 else {}
WAIT = 15


def open_at(path, **more):
    return connect(url + path, max_size=8 << 20, **trust, **more)


async def check_echo():
    async with open_at("/ws/echo", subprotocols=["echo.v1"]) as socket:
        assert socket.subprotocol == "echo.v1", socket.subprotocol
        for message in ["hello", "", "é" * 1000, b"\x00\xff" * 100]:
            await socket.send(message)
            assert await socket.recv() == message


async def check_large():
    large = os.urandom(1 << 20)
    async with open_at("/ws/echo", compression=None) as socket:
        await socket.send(large)
        assert await socket.recv() == large
        await socket.send(large[i : i + 1000] for i in range(0, len(large), 1000))  # in fragments
        assert await socket.recv() == large


async def check_ping_and_pong():
    async with open_at("/ws/ping") as socket:  # it pings, and the library answers
        assert await socket.recv() == "you are there"
        await (await socket.ping(b"and you"))


async def check_close_codes():
    for code, error in [(1000, ConnectionClosedOK), (1001, ConnectionClosedOK), (1011, ConnectionClosedError), (4711, ConnectionClosedError)]:
        async with open_at(f"/ws/close/{code}") as socket:
            await socket.send("close, please")
            try:
                raise AssertionError(await socket.recv())
            except error as closed:
                assert (closed.rcvd.code, closed.rcvd.reason) == (code, "as you wish"), closed
    async with open_at("/ws/echo") as socket:
        await socket.close(4000, "mine")
        assert socket.close_code == 4000, socket.close_code


async def check_many():
    async def talk(number):
        async with open_at("/ws/echo") as socket:
            for turn in range(20):
                await socket.send(f"{number}.{turn}")
                assert await socket.recv() == f"{number}.{turn}"

    await asyncio.gather(*(talk(number) for number in range(20)))


async def check_refused():
    """No route, or a service that speaks no WebSocket: a plain status, not a connection that hangs."""
    for path, status in [("/nowhere", 404), ("/web/", 200)]:
        try:
            async with open_at(path):
                raise AssertionError("opened")
        except InvalidStatus as refused:
            assert refused.response.status_code == status, refused


async def main():
    failed = 0
    for name, check in [(name, value) for name, value in list(globals().items()) if name.startswith("check_")]:
        if sys.argv[1] == "mesh" and name == "check_refused":
            continue  # the mesh has no routes
        try:
            await asyncio.wait_for(check(), WAIT)
            print("ok", name.removeprefix("check_"), flush=True)
        except Exception as error:  # told, and the others are tried all the same
            failed += 1
            print("FAILED", name.removeprefix("check_"), f"{type(error).__name__}: {error}", flush=True)
    print(f"{failed} failed" if failed else "all well", flush=True)
    return bool(failed)


sys.exit(asyncio.run(main()))
