"""A gRPC service on grpcio, without generated code: messages are plain bytes."""

import os
import threading
from concurrent import futures

import grpc

left = threading.Event()
"""Set when a call of `Forever` has been given up by its client."""


def unary(request, context):
    got = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-first", got.get("x-word", "")), ("x-bin-bin", got.get("x-bytes-bin", b""))))
    context.set_trailing_metadata((("x-last", "after the message"),))
    return b"you said " + request


def stream_out(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def stream_in(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def both(requests, context):
    for request in requests:
        yield b"again: " + request


def fail(request, context):
    context.set_trailing_metadata((("x-why", "no such book"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "no book é 100%")


def forever(request, context):
    done = threading.Event()
    context.add_callback(lambda: (left.set(), done.set()))
    done.wait(20)
    return b""


def forever_out(request, context):
    done = threading.Event()
    context.add_callback(lambda: (left.set(), done.set()))
    yield b"begun"
    done.wait(20)


def was_left(request, context):
    """Whether somebody has given up since this was last asked."""
    was = left.wait(10)
    left.clear()
    return b"yes" if was else b"no"


def remaining(request, context):
    """Milliseconds until the deadline that arrived, or `none`."""
    seconds = context.time_remaining()
    return b"none" if seconds is None or seconds > 1e9 else b"%d" % (seconds * 1000)


def told(request, context):
    """The metadata with this name, as it arrived."""
    return str(dict(context.invocation_metadata()).get(request.decode(), "")).encode()


class Health(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(lambda *_: b"\x08\x01")  # status: SERVING
        return None


methods = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "StreamOut": grpc.unary_stream_rpc_method_handler(stream_out),
    "StreamIn": grpc.stream_unary_rpc_method_handler(stream_in),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Forever": grpc.unary_unary_rpc_method_handler(forever),
    "ForeverOut": grpc.unary_stream_rpc_method_handler(forever_out),
    "WasLeft": grpc.unary_unary_rpc_method_handler(was_left),
    "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
    "Told": grpc.unary_unary_rpc_method_handler(told),
}
server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=64),
    options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 16 << 20)],
)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("clients.Echo", methods), Health()))
server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
server.start()
server.wait_for_termination()
