"""Reports: what sold, and for how much. Python's standard library and nothing else.

GET /report sums up the orders it is told of by the orders service (ORDERS_URL).
"""

import json
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ORDERS_TIMEOUT_S = 2
MAX_ORDERS = 1000
TRAIL = ("traceparent", "tracestate", "x-request-id")  # handed on from request to request


def report(orders):
    """Totals over all orders, and the copies sold of each title, most first."""
    copies = {}
    for order in orders:
        copies[order["title"]] = copies.get(order["title"], 0) + order["quantity"]
    return {
        "orders": len(orders),
        "copies": sum(copies.values()),
        "revenue_cents": sum(order["total_cents"] for order in orders),
        "titles": sorted(
            ({"title": title, "copies": count} for title, count in copies.items()),
            key=lambda line: (-line["copies"], line["title"]),
        ),
    }


def fetch_orders(headers):
    trail = {name: headers[name] for name in TRAIL if headers[name]}
    url = f"{os.environ['ORDERS_URL']}/orders?limit={MAX_ORDERS}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=trail), timeout=ORDERS_TIMEOUT_S) as answer:
        return json.load(answer)["orders"]


class Handler(BaseHTTPRequestHandler):
    timeout = 5  # seconds that a silent connection is kept

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self.answer(200, {"status": "ok"})
        elif path == "/report":
            try:
                orders = fetch_orders(self.headers)
            except (urllib.error.URLError, OSError, ValueError, KeyError) as error:
                log(f"call to orders failed: {error}")
                self.problem(503, "service unavailable", "orders cannot be read at the moment")
            else:
                self.answer(200, report(orders))
        else:
            self.problem(404, "not found", "there is only `GET /report`")

    def answer(self, status, body, kind="application/json"):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def problem(self, status, title, detail):
        self.answer(status, {"title": title, "status": status, "detail": detail}, "application/problem+json")

    def log_message(self, *_):
        pass  # the platform keeps the access log


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for the requests in flight
    request_queue_size = 128


def log(event):
    print(event, flush=True)


def main():
    for name in ("PORT", "ORDERS_URL"):
        if not os.environ.get(name):
            sys.exit(f"reports cannot start: {name} is not set")
    server = Server((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Handler)

    def stop(*_):
        log("stopping: finishing the requests in flight")
        # shutdown() waits for the loop below, so it must not run on the loop's own thread.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log(f"reports listening on {server.server_address[0]}:{server.server_address[1]}")
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    log("stopped")


if __name__ == "__main__":
    main()
