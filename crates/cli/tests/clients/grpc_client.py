"""Calls grpc_service.py in every way that gRPC has, with grpcio, through whatever stands in between.

    grpc_client.py HOST:PORT [CA.pem]     with the file: over TLS, trusting this authority
    grpc_client.py mesh                   at ECHO_HOST:ECHO_PORT, as a service of the app
"""

import os
import sys
import threading
import time
from concurrent import futures

import grpc

target = sys.argv[1]
mesh = target == "mesh"
if mesh:
    target = f"{os.environ['ECHO_HOST']}:{os.environ['ECHO_PORT']}"
options = [("grpc.max_receive_message_length", 16 << 20), ("grpc.enable_retries", 0)]
if len(sys.argv) > 2:
    with open(sys.argv[2], "rb") as file:
        trust = grpc.ssl_channel_credentials(root_certificates=file.read())
    channel = grpc.secure_channel(target, trust, options)
else:
    channel = grpc.insecure_channel(target, options)
WAIT = 15  # seconds, for calls that are to succeed


def method(kind, name):
    return getattr(channel, kind)(f"/clients.Echo/{name}")


def fails(status, call):
    try:
        answer = call()
    except grpc.RpcError as error:
        assert error.code() == status, f"{error.code()} instead of {status}: {error.details()}"
        return error
    raise AssertionError(f"{answer!r} instead of {status}")


def check_unary():
    unary = method("unary_unary", "Unary")
    metadata = (("x-word", "hello"), ("x-bytes-bin", b"\x00\xff\x01"))
    answer, call = unary.with_call(b"hi", metadata=metadata, timeout=WAIT)
    assert answer == b"you said hi", answer
    first, last = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert first["x-first"] == "hello" and first["x-bin-bin"] == b"\x00\xff\x01", first
    assert last["x-last"] == "after the message", last
    assert call.code() == grpc.StatusCode.OK
    assert unary(b"", timeout=WAIT) == b"you said "


def check_large():
    large = os.urandom(3 << 20)
    assert method("unary_unary", "Unary")(large, timeout=WAIT) == b"you said " + large


def check_server_streaming():
    answers = list(method("unary_stream", "StreamOut")(b"1000", timeout=WAIT))
    assert answers == [b"%d" % number for number in range(1000)], len(answers)
    assert list(method("unary_stream", "StreamOut")(b"0", timeout=WAIT)) == []


def check_client_streaming():
    pieces = (b"x" * 1000 for _ in range(500))
    assert method("stream_unary", "StreamIn")(pieces, timeout=WAIT) == b"500000"


def check_both_at_once():
    """Each message is sent only when the answer to the one before has come: nothing may be held back."""
    turn = threading.Semaphore(1)

    def ask():
        for number in range(20):
            assert turn.acquire(timeout=WAIT)
            yield b"%d" % number

    answers = []
    for answer in method("stream_stream", "Both")(ask(), timeout=WAIT):
        answers.append(answer)
        turn.release()
    assert answers == [b"again: %d" % number for number in range(20)], answers


def check_status():
    error = fails(grpc.StatusCode.NOT_FOUND, lambda: method("unary_unary", "Fail")(b"", timeout=WAIT))
    assert error.details() == "no book é 100%", error.details()
    assert dict(error.trailing_metadata())["x-why"] == "no such book"
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: method("unary_unary", "Nothing")(b"", timeout=WAIT))


def check_deadline():
    """The deadline of the client arrives, lowered by what the way took, and ends the call."""
    remaining = method("unary_unary", "Remaining")
    answer = int(remaining(b"", timeout=4))
    assert 1000 < answer <= 4100, answer  # grpcio rounds up
    told = int(method("unary_unary", "Told")(b"x-request-timeout-ms"))
    assert 10_000 < told <= 20_000, f"{told}: the route and the call have 20 s"
    assert remaining(b"") == b"none", "a call without a deadline has got one that would end long streams"
    begin = time.monotonic()
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: method("unary_unary", "Forever")(b"", timeout=0.4))
    assert time.monotonic() - begin < 5
    assert method("unary_unary", "WasLeft")(b"", timeout=WAIT) == b"yes", "the service was not told"


def check_cancelled():
    call = method("unary_stream", "ForeverOut")(b"", timeout=WAIT)
    assert next(call) == b"begun"
    call.cancel()
    fails(grpc.StatusCode.CANCELLED, lambda: next(call))
    assert method("unary_unary", "WasLeft")(b"", timeout=WAIT) == b"yes", "the service was not told"


def check_many():
    """Many calls on one connection."""
    unary = method("unary_unary", "Unary")
    with futures.ThreadPoolExecutor(32) as pool:
        asked = [b"%d" % number for number in range(300)]
        answers = list(pool.map(lambda word: unary(word, timeout=WAIT), asked))
    assert answers == [b"you said " + word for word in asked]


def check_caller():
    expected = os.environ.get("OTEL_SERVICE_NAME", "").encode() if mesh else b""
    got = method("unary_unary", "Told")(b"x-atoll-caller", metadata=(("x-atoll-caller", "forged"),), timeout=WAIT)
    assert got == expected, got


failed = []
for name, check in [(name, value) for name, value in list(globals().items()) if name.startswith("check_")]:
    try:
        check()
        print("ok", name.removeprefix("check_"), flush=True)
    except Exception as error:  # told, and the others are tried all the same
        failed.append(name)
        print("FAILED", name.removeprefix("check_"), f"{type(error).__name__}: {error}", flush=True)
channel.close()
print(f"{len(failed)} failed" if failed else "all well", flush=True)
sys.exit(bool(failed))
