"""A service that does what boto3 does by itself: it finds short-lived credentials and uses them, until they are to be renewed.

Writes what it found to the file `outcome`, or why it failed.
"""

import json
import os
import traceback
import urllib.error
import urllib.request

import boto3
from botocore.exceptions import ClientError


def lent(token):
    """What the address answers to a token: a status, and the document."""
    request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={"Authorization": token})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def outcome():
    session = boto3.Session()
    credentials = session.get_credentials()
    assert credentials.method == "container-role", credentials.method
    frozen = credentials.get_frozen_credentials()
    assert frozen.access_key.startswith("ASIA") and frozen.token
    assert not credentials.refresh_needed()

    sqs = session.client("sqs")
    url = os.environ["JOBS_QUEUE_URL"]
    sqs.send_message(QueueUrl=url, MessageBody="by a session")
    message = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, AttributeNames=["SenderId"])["Messages"][0]
    assert message["Body"] == "by a session" and message["Attributes"]["SenderId"] == "borrower", message
    try:
        sqs.send_message(QueueUrl=os.environ["JOBS_QUEUE_URL"].replace("jobs", "theirs"), MessageBody="x")
        raise AssertionError("a session may do what its service may, and no more")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied", error

    own = os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    status, first = lent(own)
    assert status == 200 and first["Expiration"].endswith("Z"), first
    assert lent(own)[1]["AccessKeyId"] != first["AccessKeyId"], "each time another one"
    for token in ["", "x", own[:-2], first["Token"]]:
        status, said = lent(token)
        assert status == 403 and said["code"] == "AccessDenied", (token, status, said)

    # The keys of a session with the token of another one are nobody's.
    _, second = lent(own)
    mixed = boto3.client(
        "sqs",
        aws_access_key_id=first["AccessKeyId"],
        aws_secret_access_key=first["SecretAccessKey"],
        aws_session_token=second["Token"],
    )
    try:
        mixed.send_message(QueueUrl=url, MessageBody="x")
        raise AssertionError("a mixture was let in")
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, error
    return "well"


try:
    told = outcome()
except BaseException:
    told = traceback.format_exc()
with open("outcome.new", "w") as file:
    file.write(told)
os.rename("outcome.new", "outcome")
