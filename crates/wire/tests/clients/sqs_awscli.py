"""SQS as the AWS command line speaks it. Says what does not hold, and fails then. Argument: the endpoint."""

import json
import subprocess
import sys


def aws(*arguments):
    command = [sys.executable, "-m", "awscli", "--endpoint-url", sys.argv[1], "sqs", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"FAILED {arguments}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout) if done.stdout.strip() else {}


url = aws("create-queue", "--queue-name", "cli", "--attributes", "DelaySeconds=0")["QueueUrl"]
aws("send-message", "--queue-url", url, "--message-body", "hello")
message = aws("receive-message", "--queue-url", url, "--wait-time-seconds", "5")["Messages"][0]
assert message["Body"] == "hello", message
aws("delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
attributes = aws("get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
assert attributes["QueueArn"] == "arn:aws:sqs:us-east-1:000000000000:cli", attributes
aws("delete-queue", "--queue-url", url)
print("all well")
