"""SQS as boto3 speaks it. Says what does not hold, and fails then. Argument: the endpoint."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint = sys.argv[1]
sqs = boto3.client("sqs", endpoint_url=endpoint, config=Config(retries={"max_attempts": 0}))
failures = []


def check(what, holds, *more):
    if not holds:
        failures.append(what)
        print("FAILED", what, *more)


def refused(what, code, call, **arguments):
    try:
        call(**arguments)
        check(what, False, "was not refused")
    except ClientError as error:
        check(what, error.response["Error"]["Code"] == code, error.response)


url = sqs.create_queue(QueueName="boto", Attributes={"VisibilityTimeout": "30"}, tags={"a": "b"})["QueueUrl"]
check("url", url == f"{endpoint}/000000000000/boto", url)
check("again", sqs.create_queue(QueueName="boto")["QueueUrl"] == url)
check("found", sqs.get_queue_url(QueueName="boto")["QueueUrl"] == url)
check("listed", sqs.list_queues(QueueNamePrefix="bo")["QueueUrls"] == [url])
check("none listed", "QueueUrls" not in sqs.list_queues(QueueNamePrefix="zz"))
check("tags", sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"})

# boto3 checks the digests of body and attributes itself.
attributes = {
    "n": {"DataType": "Number", "StringValue": "1.5"},
    "s": {"DataType": "String.x", "StringValue": "ä"},
    "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
}
body = json.dumps({"text": "line\n\"quoted\" ä 😀"}, ensure_ascii=False)
sent = sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
got = sqs.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"], WaitTimeSeconds=5)
message = got["Messages"][0]
check("body", message["Body"] == body, message)
check("id", message["MessageId"] == sent["MessageId"])
check("attributes", message["MessageAttributes"] == attributes, message)
check("count", message["Attributes"]["ApproximateReceiveCount"] == "1", message)
check("in flight", "Messages" not in sqs.receive_message(QueueUrl=url))
sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
message = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]
sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(9)] + [{"Id": "bad", "MessageBody": "\x08"}]
batch = sqs.send_message_batch(QueueUrl=url, Entries=entries)
check("batch", len(batch["Successful"]) == 9 and batch["Failed"][0]["Code"] == "InvalidMessageContents", batch)
handles = []
while len(handles) < 9:
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
    check("messages of the batch", "Messages" in got, got)
    handles += [message["ReceiptHandle"] for message in got.get("Messages", [])]
    if "Messages" not in got:
        break
deleted = sqs.delete_message_batch(
    QueueUrl=url, Entries=[{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)]
)
check("deleted", len(deleted["Successful"]) == 9 and "Failed" not in deleted, deleted)
check("empty", sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]["ApproximateNumberOfMessages"] == "0")

refused("no queue", "AWS.SimpleQueueService.NonExistentQueue", sqs.send_message, QueueUrl=url + "x", MessageBody="x")
refused("no such name", "AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName="none")
refused("other settings", "QueueAlreadyExists", sqs.create_queue, QueueName="boto", Attributes={"DelaySeconds": "3"})
refused("receipt", "ReceiptHandleIsInvalid", sqs.delete_message, QueueUrl=url, ReceiptHandle="x")
refused("too many", "InvalidParameterValue", sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=11)
refused("empty body", "MissingParameter", sqs.send_message, QueueUrl=url, MessageBody="")
refused("empty batch", "AWS.SimpleQueueService.EmptyBatchRequest", sqs.send_message_batch, QueueUrl=url, Entries=[])
try:
    sqs.send_message(QueueUrl=url + "x", MessageBody="x")
except sqs.exceptions.QueueDoesNotExist:
    pass

fifo = sqs.create_queue(QueueName="boto.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
one = sqs.send_message(QueueUrl=fifo, MessageBody="1", MessageGroupId="g", MessageDeduplicationId="d")
same = sqs.send_message(QueueUrl=fifo, MessageBody="1", MessageGroupId="g", MessageDeduplicationId="d")
check("deduplicated", one["SequenceNumber"] == same["SequenceNumber"], one, same)

# The resource interface.
resource = boto3.resource("sqs", endpoint_url=endpoint)
queue = resource.get_queue_by_name(QueueName="boto")
queue.send_message(MessageBody="resource")
for message in queue.receive_messages(WaitTimeSeconds=5):
    check("resource", message.body == "resource")
    message.delete()
queue.purge()
refused("purged twice", "AWS.SimpleQueueService.PurgeQueueInProgress", queue.purge)
queue.delete()

print("all well" if not failures else f"{len(failures)} failed")
sys.exit(bool(failures))
