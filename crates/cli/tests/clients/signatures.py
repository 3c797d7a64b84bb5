"""Verifies what a topic told with a library for the service's own clients; only where the certificate may be is another place.

Argument: a file with a message per line. Says what does not hold, and fails then.
"""

import json
import sys

from sns_message_validator import SNSMessageValidator, SignatureVerificationFailureException

HERE = r"^http://127\.0\.0\.1:\d+/SimpleNotificationService-[0-9a-f]{32}\.pem$"
validator = SNSMessageValidator(cert_url_regex=HERE)

kinds = []
for line in open(sys.argv[1], encoding="utf-8"):
    message = json.loads(line)
    validator.validate_message(message)
    kinds.append(message["Type"])
    try:
        validator.validate_message({**message, "Message": message["Message"] + "!"})
        sys.exit("a message that was changed was taken")
    except SignatureVerificationFailureException:
        pass
assert set(kinds) == {"SubscriptionConfirmation", "Notification", "UnsubscribeConfirmation"}, kinds
print("all well")
