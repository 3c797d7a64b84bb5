"""SNS as boto3 speaks it, with queues that are subscribed. Says what does not hold, and fails then. Argument: the endpoint."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint = sys.argv[1]
once = Config(retries={"max_attempts": 0})
sns = boto3.client("sns", endpoint_url=endpoint, config=once)
sqs = boto3.client("sqs", endpoint_url=endpoint, config=once)
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


def queue(name, **attributes):
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def received(url):
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return messages


topic = sns.create_topic(Name="orders", Attributes={"DisplayName": "Orders"}, Tags=[{"Key": "team", "Value": "shop"}])["TopicArn"]
check("arn", topic == "arn:aws:sns:us-east-1:000000000000:orders", topic)
check("again", sns.create_topic(Name="orders")["TopicArn"] == topic)
check("listed", [one["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for one in page["Topics"]] == [topic])
check("tags", sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "team", "Value": "shop"}])
sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="All orders")
told = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
check("attributes", told["DisplayName"] == "All orders" and told["SubscriptionsConfirmed"] == "0", told)

plain, plain_arn = queue("plain")
dear, dear_arn = queue("dear")
there = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=plain_arn)["SubscriptionArn"]
policy = {"total": [{"numeric": [">=", 100]}], "kind": [{"anything-but": "test"}]}
filtered = sns.subscribe(
    TopicArn=topic,
    Protocol="sqs",
    Endpoint=dear_arn,
    Attributes={"RawMessageDelivery": "true", "FilterPolicy": json.dumps(policy)},
    ReturnSubscriptionArn=True,
)["SubscriptionArn"]
told = sns.get_subscription_attributes(SubscriptionArn=filtered)["Attributes"]
check("filter", json.loads(told["FilterPolicy"]) == policy and told["FilterPolicyScope"] == "MessageAttributes", told)
check("of a queue", told["Protocol"] == "sqs" and told["Endpoint"] == dear_arn and told["PendingConfirmation"] == "false", told)
listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
check("subscriptions", sorted(one["SubscriptionArn"] for one in listed) == sorted([there, filtered]), listed)


def attributes(total, kind="order"):
    return {
        "total": {"DataType": "Number", "StringValue": str(total)},
        "kind": {"DataType": "String", "StringValue": kind},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }


text = "line\n\"quoted\" & <ä> 😀"
sent = sns.publish(TopicArn=topic, Message=text, Subject="News", MessageAttributes=attributes(100))
sns.publish(TopicArn=topic, Message="cheap", MessageAttributes=attributes(99.5))
sns.publish(TopicArn=topic, Message="a test", MessageAttributes=attributes(500, "test"))
envelopes = [json.loads(message["Body"]) for message in received(plain)]
check("everything", sorted(one["Message"] for one in envelopes) == sorted([text, "cheap", "a test"]), envelopes)
first = next(one for one in envelopes if one["Message"] == text)
check("envelope", first["MessageId"] == sent["MessageId"] and first["Subject"] == "News" and first["TopicArn"] == topic, first)
check("told attributes", first["MessageAttributes"]["total"] == {"Type": "Number", "Value": "100"}, first)
messages = received(dear)
check("filtered", [message["Body"] for message in messages] == [text], messages)
check("raw attributes", messages and messages[0]["MessageAttributes"] == attributes(100), messages)

gifts = '{"kind": ["gift"]}'
sns.set_subscription_attributes(SubscriptionArn=filtered, AttributeName="FilterPolicy", AttributeValue=gifts)
sns.publish(TopicArn=topic, Message="a gift", MessageAttributes=attributes(1, "gift"))
check("changed filter", [message["Body"] for message in received(dear)] == ["a gift"])

structured = json.dumps({"default": "for all", "sqs": "for queues"})
sns.publish(TopicArn=topic, Message=structured, MessageStructure="json", MessageAttributes=attributes(1, "gift"))
check("structure", [message["Body"] for message in received(dear)] == ["for queues"])

entries = [{"Id": str(n), "Message": f"m{n}", "MessageAttributes": attributes(n, "gift")} for n in range(9)]
batch = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries + [{"Id": "bad", "Message": ""}])
check("batch", len(batch["Successful"]) == 9 and [one["Id"] for one in batch["Failed"]] == ["bad"], batch)
check("batch arrived", sorted(message["Body"] for message in received(dear)) == [f"m{n}" for n in range(9)])

fifo = sns.create_topic(Name="steps.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
taken, taken_arn = queue("taken.fifo", FifoQueue="true")
sns.subscribe(TopicArn=fifo, Protocol="sqs", Endpoint=taken_arn, Attributes={"RawMessageDelivery": "true"})
one = sns.publish(TopicArn=fifo, Message="1", MessageGroupId="g", MessageDeduplicationId="d1")
two = sns.publish(TopicArn=fifo, Message="2", MessageGroupId="g", MessageDeduplicationId="d2")
same = sns.publish(TopicArn=fifo, Message="1", MessageGroupId="g", MessageDeduplicationId="d1")
check("deduplicated", one["SequenceNumber"] == same["SequenceNumber"] and one["MessageId"] == same["MessageId"], one, same)
check("in order", one["SequenceNumber"] < two["SequenceNumber"], one, two)
check("order kept", [message["Body"] for message in received(taken)] == ["1", "2"])

refused("no topic", "NotFound", sns.publish, TopicArn=topic + "x", Message="x")
refused("no group", "InvalidParameter", sns.publish, TopicArn=fifo, Message="x", MessageDeduplicationId="d")
refused("subject", "InvalidParameter", sns.publish, TopicArn=topic, Message="x", Subject="a\nb")
refused("too long", "InvalidParameter", sns.publish, TopicArn=topic, Message="x" * (256 * 1024 + 1))
refused("attribute", "ParameterValueInvalid", sns.publish, TopicArn=topic, Message="x", MessageAttributes={"a": {"DataType": "Number", "StringValue": "x"}})
refused("filter refused", "InvalidParameter", sns.set_subscription_attributes, SubscriptionArn=there, AttributeName="FilterPolicy", AttributeValue='{"a": []}')
refused("protocol", "InvalidParameter", sns.subscribe, TopicArn=topic, Protocol="sms", Endpoint="+15550100")
refused("batch of none", "EmptyBatchRequest", sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=[])
try:
    sns.publish(TopicArn=topic + "x", Message="x")
except sns.exceptions.NotFoundException:
    pass

# The resource interface.
resource = boto3.resource("sns", endpoint_url=endpoint).Topic(topic)
resource.publish(Message="resource", MessageAttributes=attributes(1, "gift"))
check("resource", [message["Body"] for message in received(dear)] == ["resource"])
sns.unsubscribe(SubscriptionArn=filtered)
refused("ended", "NotFound", sns.get_subscription_attributes, SubscriptionArn=filtered)
resource.delete()
refused("deleted", "NotFound", sns.get_topic_attributes, TopicArn=topic)

print("all well" if not failures else f"{len(failures)} failed")
sys.exit(bool(failures))
