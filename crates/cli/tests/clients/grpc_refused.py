"""What a gRPC client is told when the gateway refuses a call: a status of its own, not one of HTTP.

    grpc_refused.py HOST:PORT TOKEN [CA.pem]     with the file: over TLS, trusting this authority
"""

import sys

import grpc

target, token = sys.argv[1:3]
if len(sys.argv) > 3:
    with open(sys.argv[3], "rb") as file:
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(root_certificates=file.read()))
else:
    channel = grpc.insecure_channel(target)


def call(method, **more):
    more.setdefault("timeout", 15)
    try:
        return channel.unary_unary(method)(b"hi", **more)
    except grpc.RpcError as error:
        return error.code(), error.details(), {name for name, _ in error.trailing_metadata() or ()}


def expect(status, answer, *fields):
    assert isinstance(answer, tuple) and answer[0] == status, answer
    assert answer[1] and answer[2].issuperset(fields), answer


expect(grpc.StatusCode.UNIMPLEMENTED, call("/clients.Other/Unary"))
expect(grpc.StatusCode.UNAUTHENTICATED, call("/clients.Echo/Unary"))
expect(grpc.StatusCode.UNAUTHENTICATED, call("/clients.Echo/Unary", metadata=(("authorization", "Bearer x.y.z"),)))
answer = call("/clients.Echo/Unary", metadata=(("authorization", f"Bearer {token}"),))
assert answer == b"you said hi", answer
# The route has half a second, the client more.
expect(grpc.StatusCode.DEADLINE_EXCEEDED, call("/clients.Echo/Forever"))
assert call("/clients.Echo/WasLeft") == b"yes"
answers = [call("/clients.Echo/Told") for _ in range(5)]
for answer in answers[3:]:
    expect(grpc.StatusCode.RESOURCE_EXHAUSTED, answer)
assert answers[:3] == [b""] * 3 or len(sys.argv) > 3, answers
# A fault made on purpose answers 503 to every call of this one.
expect(grpc.StatusCode.UNAVAILABLE, call("/clients.Echo/Fail"))
print("all well")
