"""A service on Python's own HTTP server, for clients that Atoll did not write.

    GET  /             says how the request arrived: version, headers
    *    /echo         answers with the body it got, chunked where it came chunked
    *    /sum          length and SHA-256 of the body
    GET  /bytes/N      N bytes that compress badly, with their SHA-256 in `x-sha256`
    GET  /trailers     chunked, with a trailer field after the body
    GET  /events/ID    server-sent events: one at once, the second after `POST /go/ID`
    GET  /pieces/ID    the same, chunked text
    POST /go/ID        lets the other one go on
    POST /report       keeps the body; GET /report gives it back
    GET  /page         page.html beside this file
"""

import hashlib
import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

gates = {}
reports = []
lock = threading.Lock()


def gate(name):
    with lock:
        return gates.setdefault(name, threading.Event())


def pattern(length):
    """Bytes that are the same each time, and that no compression shortens by much."""
    block = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(2048))
    return (block * (length // len(block) + 1))[:length]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        """Yields the body piece by piece, in either framing."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
        else:
            left = int(self.headers.get("content-length", 0))
            while left:
                piece = self.rfile.read1(min(left, 65536))
                left -= len(piece)
                yield piece

    def whole(self, body, kind="text/plain", **headers):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(200)
        for name, value in {"content-type": kind, "content-length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self, kind, **headers):
        self.send_response(200)
        for name, value in {"content-type": kind, "transfer-encoding": "chunked", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def chunk(self, piece):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.flush()

    def in_two_pieces(self, kind, name, first, second):
        self.begin(kind, cache_control="no-store")
        self.chunk(first)
        if gate(name).wait(20):
            self.chunk(second)
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True  # nobody has said "go": the answer stays unfinished

    def answer(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        match parts:
            case ["echo"]:
                if "chunked" in self.headers.get("transfer-encoding", ""):
                    self.begin("application/octet-stream")
                    for piece in self.body():
                        self.chunk(piece)
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    self.whole(b"".join(self.body()))
                return
            case ["report"] if self.command == "POST":
                reports.append(b"".join(self.body()))
                return self.whole("kept\n")
            case ["report"]:
                return self.whole(reports[-1] if reports else "")
        digest, length = hashlib.sha256(), 0
        for piece in self.body():
            digest.update(piece)
            length += len(piece)
        match parts:
            case ["sum"]:
                self.whole(f"{length} {digest.hexdigest()}\n")
            case ["bytes", size]:
                body = pattern(int(size))
                self.whole(body, "application/octet-stream", x_sha256=hashlib.sha256(body).hexdigest())
            case ["trailers"]:
                self.begin("text/plain", trailer="x-checksum")
                self.chunk(b"body\n")
                self.wfile.write(b"0\r\nx-checksum: 4711\r\n\r\n")
            case ["events", name]:
                self.in_two_pieces("text/event-stream", name, b"data: first\n\n", b"data: second\n\n")
            case ["pieces", name]:
                self.in_two_pieces("text/plain", name, b"first\n", b"second\n")
            case ["go", name]:
                gate(name).set()
                self.whole("gone on\n")
            case ["page"]:
                with open(os.path.join(os.path.dirname(__file__), "page.html"), "rb") as page:
                    self.whole(page.read(), "text/html; charset=utf-8")
            case _:
                headers = {name.lower(): value for name, value in self.headers.items()}
                said = {"version": self.request_version, "method": self.command, "headers": headers}
                self.whole(json.dumps(said) + "\n", "application/json")

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, socket.timeout)):
            super().handle_error(request, client_address)


Handler.wbufsize = 0
Handler.disable_nagle_algorithm = True
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
