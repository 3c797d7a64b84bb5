"""A mail server that others wrote: takes letters over TLS from who knows the password, and prints each as JSON, a line each.

`mail_server.py CERT KEY starttls|implicit`; prints its port first.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

certificate, key, how = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        letter = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "user": session.auth_data.login.decode(),
            "tls": session.ssl is not None or how == "implicit",
            "letter": envelope.content.decode("ascii"),
        }
        print(json.dumps(letter), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.password == b"h$sh \xc3\xa4"
    return AuthResult(success=good, handled=good, auth_data=data)


def server():
    return SMTP(
        Handler(),
        hostname="localhost",
        authenticator=authenticate,
        auth_required=True,
        auth_require_tls=how == "starttls",
        tls_context=context if how == "starttls" else None,
        require_starttls=how == "starttls",
    )


async def main():
    listening = await asyncio.get_running_loop().create_server(
        server, "127.0.0.1", 0, ssl=context if how == "implicit" else None
    )
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


asyncio.run(main())
