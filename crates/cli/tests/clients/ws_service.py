"""A WebSocket service on the library `websockets`. What the path says it does with a message:
`/echo` sends it back, `/close/CODE` closes with that code, `/ping` pings the client and tells when it answered."""

import asyncio
import os

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosedError


async def answer(socket):
    path = socket.request.path.strip("/").split("/")
    if path[-2:-1] == ["close"]:
        await socket.recv()
        await socket.close(int(path[-1]), "as you wish")
    elif path[-1] == "ping":
        await (await socket.ping(b"are you there"))
        await socket.send("you are there")
        await socket.wait_closed()
    else:
        try:
            async for message in socket:
                await socket.send(message)
        except ConnectionClosedError:
            pass  # closed with a code of the client's own


def choose(_, offered):
    return "echo.v1" if "echo.v1" in offered else None


async def main():
    port = int(os.environ["PORT"])
    async with serve(answer, "127.0.0.1", port, max_size=8 << 20, select_subprotocol=choose) as server:
        await server.serve_forever()


asyncio.run(main())
