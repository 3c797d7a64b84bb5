"""Throws, logs and traces with Sentry's own SDK, which finds its way by `SENTRY_DSN` alone."""

import sentry_sdk

sentry_sdk.init(release="shop@1.2.3", traces_sample_rate=1.0, attach_stacktrace=True)


def charge(card):
    raise ValueError(f"no card {card}")


with sentry_sdk.start_transaction(op="task", name="settle"):
    for card in (1, 2):
        try:
            charge(card)
        except ValueError as error:
            sentry_sdk.set_tag("bank", "<b>")
            sentry_sdk.capture_exception(error)
sentry_sdk.capture_message("the till is empty", level="warning")
sentry_sdk.get_client().close(timeout=10)
print("all well", flush=True)
