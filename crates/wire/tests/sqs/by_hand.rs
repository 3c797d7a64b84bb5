//! Requests written by hand: what is on the wire, to the byte.

use std::sync::Arc;

use wire::{Caller, Denied, Gatekeeper, Limits, RequestView, Resource};

use crate::world::{World, body};

#[tokio::test]
async fn the_json_protocol() {
    let world = World::start().await;
    let made = world.json("CreateQueue", r#"{"QueueName":"jobs"}"#).await;
    assert!(made.starts_with("HTTP/1.1 200 OK\r\n"), "{made}");
    assert!(made.contains("\r\ncontent-type: application/x-amz-json-1.0\r\n"), "{made}");
    assert!(made.contains("\r\nx-amzn-requestid: "), "{made}");
    assert_eq!(body(&made), r#"{"QueueUrl":"http://queues.test:4566/000000000000/jobs"}"#);
    let url = r#""QueueUrl":"http://queues.test:4566/000000000000/jobs""#;
    assert_eq!(body(&world.json("ReceiveMessage", &format!("{{{url}}}")).await), "{}");
    assert_eq!(body(&world.json("ListQueueTags", &format!("{{{url}}}")).await), "{}");
    let sent = world.json("SendMessage", &format!(r#"{{{url},"MessageBody":"a","Unknown":[1,{{}}]}}"#)).await;
    assert!(
        body(&sent).starts_with(r#"{"MD5OfMessageBody":"0cc175b9c0f1b6a831c399e269772661","MessageId":""#),
        "{sent}"
    );

    let gone =
        world.json("SendMessage", r#"{"QueueUrl":"http://h/000000000000/gone","MessageBody":"a"}"#).await;
    assert!(gone.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{gone}");
    assert!(
        gone.contains("\r\nx-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender\r\n"),
        "{gone}"
    );
    assert_eq!(
        body(&gone),
        r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}"#
    );
    for (input, error) in [
        ("{", "SerializationException"),
        ("[]", "SerializationException"),
        (r#"{"QueueUrl":1}"#, "SerializationException"),
        ("{}", "MissingRequiredParameterException"),
        ("", "MissingRequiredParameterException"),
        (r#"{"QueueUrl":"http://h/jobs"}"#, "InvalidAddress"),
    ] {
        let answer = world.json("ReceiveMessage", input).await;
        assert!(body(&answer).contains(&format!("#{error}\"")), "{input}: {answer}");
    }
    let unknown = world.json("MakeCoffee", "{}").await;
    assert!(body(&unknown).contains("#UnknownOperationException\""), "{unknown}");
    world.end().await;
}

#[tokio::test]
async fn the_query_protocol() {
    let world = World::start().await;
    let made = world
        .form("/", "Action=CreateQueue&QueueName=jobs&Version=2012-11-05&Tag.1.Key=k&Tag.1.Value=v")
        .await;
    assert!(made.contains("\r\ncontent-type: text/xml\r\n"), "{made}");
    let start = "<?xml version=\"1.0\"?><CreateQueueResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">\
                 <CreateQueueResult><QueueUrl>http://queues.test:4566/000000000000/jobs</QueueUrl></CreateQueueResult>\
                 <ResponseMetadata><RequestId>";
    assert!(body(&made).starts_with(start), "{made}");
    assert!(made.ends_with("</RequestId></ResponseMetadata></CreateQueueResponse>"), "{made}");

    let path = "/000000000000/jobs";
    let sent = world
        .form(path, "Action=SendMessage&MessageBody=%3Ca+%26+b%3E&MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=v")
        .await;
    assert!(
        sent.contains("<SendMessageResult><MD5OfMessageBody>") && sent.contains("<MD5OfMessageAttributes>"),
        "{sent}"
    );
    let batch = "Action=SendMessageBatch&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=x\
                 &SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.2.MessageBody=%08";
    let batch = world.form(path, batch).await;
    assert!(batch.contains("<SendMessageBatchResultEntry><Id>a</Id>"), "{batch}");
    assert!(batch.contains("<BatchResultErrorEntry><Id>b</Id><SenderFault>true</SenderFault><Code>InvalidMessageContents</Code>"), "{batch}");
    let tags = world.form(path, "Action=ListQueueTags").await;
    assert!(
        tags.contains("<ListQueueTagsResult><Tag><Key>k</Key><Value>v</Value></Tag></ListQueueTagsResult>"),
        "{tags}"
    );
    let got = world
        .form(
            path,
            "Action=ReceiveMessage&AttributeName.1=All&MessageAttributeName.1=All&MaxNumberOfMessages=1",
        )
        .await;
    assert!(got.contains("<Body>&lt;a &amp; b&gt;</Body>"), "{got}");
    assert!(got.contains("<Attribute><Name>SenderId</Name><Value>tester</Value></Attribute>"), "{got}");
    assert!(got.contains("<MessageAttribute><Name>n</Name><Value><StringValue>v</StringValue><DataType>String</DataType></Value></MessageAttribute>"), "{got}");
    let handle = got.split_once("<ReceiptHandle>").unwrap().1.split_once("</ReceiptHandle>").unwrap().0;
    let handle = handle.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let deleted = world.form(path, &format!("Action=DeleteMessage&ReceiptHandle={handle}")).await;
    assert!(body(&deleted).contains("DeleteMessageResponse") && !deleted.contains("Result"), "{deleted}");

    // By GET, in the query, to the address of the queue.
    let get = b"GET /000000000000/jobs?Action=GetQueueAttributes&AttributeName.1=QueueArn HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let got = world.raw(get.to_vec()).await;
    assert!(got.contains("<Attribute><Name>QueueArn</Name><Value>arn:aws:sqs:us-east-1:000000000000:jobs</Value></Attribute>"), "{got}");

    let gone = world.form("/000000000000/gone", "Action=PurgeQueue").await;
    assert!(gone.starts_with("HTTP/1.1 400"), "{gone}");
    assert!(
        gone.contains("<Error><Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code>"),
        "{gone}"
    );
    assert!(gone.contains("for this wsdl version.</Message><Detail/></Error><RequestId>"), "{gone}");
    for (form, code) in [
        ("Action=MakeCoffee", "InvalidAction"),
        ("x=1", "MissingAction"),
        ("", "MissingAction"),
        ("Action=SendMessage&MessageBody=%f", "MalformedInput"),
    ] {
        let answer = world.form(path, form).await;
        assert!(answer.contains(&format!("<Code>{code}</Code>")), "{form}: {answer}");
    }
    world.end().await;
}

/// Knows nobody without a token, and lets nobody purge.
struct Strict;

impl Gatekeeper for Strict {
    fn admit(&self, request: &RequestView<'_>) -> Result<Caller, Denied> {
        match request.headers.get("authorization").and_then(|value| value.to_str().ok()) {
            None => Err(Denied::Unsigned),
            Some("good") => Ok(Caller { name: "me".into(), key: "k".into() }),
            Some(_) => Err(Denied::UnknownKey),
        }
    }

    fn may(&self, caller: &Caller, action: &str, resource: &Resource<'_>) -> Result<(), Denied> {
        match action {
            "sqs:PurgeQueue" => {
                Err(Denied::Forbidden(format!("{} may not {action} on {}", caller.name, resource.arn())))
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_in_the_services_words() {
    let world = World::with(Limits::default(), Arc::new(Strict)).await;
    let target = |action: &str| format!("AmazonSQS.{action}");
    let call = |token: &'static str, action: &str, input: &'static str| {
        let target = target(action);
        let world = &world;
        async move { world.post("/", &[("x-amz-target", &target), ("authorization", token)], input).await }
    };
    let unsigned = world.json("ListQueues", "{}").await;
    assert!(
        unsigned.starts_with("HTTP/1.1 403") && unsigned.contains("MissingAuthenticationToken;Sender"),
        "{unsigned}"
    );
    let unknown = call("bad", "ListQueues", "{}").await;
    assert!(
        unknown.starts_with("HTTP/1.1 403") && unknown.contains("InvalidClientTokenId;Sender"),
        "{unknown}"
    );
    assert!(call("good", "CreateQueue", r#"{"QueueName":"jobs"}"#).await.starts_with("HTTP/1.1 200"));
    // Who may not purge is not told, either, whether the queue is there.
    for input in [r#"{"QueueUrl":"/000000000000/jobs"}"#, r#"{"QueueUrl":"/000000000000/gone"}"#] {
        let denied = call("good", "PurgeQueue", input).await;
        assert!(denied.starts_with("HTTP/1.1 403") && denied.contains("AccessDenied;Sender"), "{denied}");
        assert!(
            body(&denied).contains("me may not sqs:PurgeQueue on arn:aws:sqs:us-east-1:000000000000:"),
            "{denied}"
        );
    }
    assert_eq!(world.server.counts().denied, 2);
    world.end().await;
}

const TRACE: &str = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
const XRAY: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=00000000000000aa;Sampled=1";
const RECEIVE: &str =
    r#"{"QueueUrl":"jobs","MessageSystemAttributeNames":["AWSTraceHeader"],"MessageAttributeNames":["All"]}"#;

#[tokio::test]
async fn a_message_belongs_to_the_trace_of_the_request_that_sent_it_and_its_receive_follows_its_send() {
    let world = World::start().await;
    world.json("CreateQueue", r#"{"QueueName":"jobs"}"#).await;
    let headers = [("x-amz-target", "AmazonSQS.SendMessage"), ("traceparent", TRACE)];
    let sent = world.post("/", &headers, r#"{"QueueUrl":"jobs","MessageBody":"x"}"#).await;
    assert!(!sent.contains("MD5OfMessageSystemAttributes"), "{sent}"); // it sent none
    let got = world.json("ReceiveMessage", RECEIVE).await;
    let spans = world.seen.spans();
    let [_, (send, _), (receive, links)] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(send.id.to_string(), TRACE[3..35]);
    assert_eq!(send.parent.unwrap().to_string(), TRACE[36..52]);
    assert_eq!((receive.id, receive.parent, links.len()), (send.id, Some(send.span), 0));
    let told = format!(r#"{{"AWSTraceHeader":"{}"}}"#, send.context().to_xray());
    assert!(got.contains(&told), "{got}");
    world.end().await;
}

#[tokio::test]
async fn what_a_sender_wrote_into_a_message_stays_and_says_where_it_stands() {
    let world = World::start().await;
    world.json("CreateQueue", r#"{"QueueName":"jobs"}"#).await;
    let header = format!(
        r#""MessageSystemAttributes":{{"AWSTraceHeader":{{"DataType":"String","StringValue":"{XRAY}"}}}}"#
    );
    let attribute =
        format!(r#""MessageAttributes":{{"traceparent":{{"DataType":"String","StringValue":"{TRACE}"}}}}"#);
    for (written, parent, told) in [
        (&header, "00000000000000aa", XRAY.to_owned()),
        (&attribute, &TRACE[36..52], XRAY.replace("00000000000000aa", &TRACE[36..52])),
    ] {
        let send = format!(r#"{{"QueueUrl":"jobs","MessageBody":"x",{written}}}"#);
        world.json("SendMessage", &send).await;
        let got = world.json("ReceiveMessage", RECEIVE).await;
        let spans = world.seen.spans();
        let [.., (send, _), (receive, _)] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(send.id.to_string(), TRACE[3..35]);
        assert_eq!(send.parent.unwrap().to_string(), parent);
        assert_eq!((receive.id, receive.parent), (send.id, send.parent), "both follow who made it");
        assert!(got.contains(&format!(r#""AWSTraceHeader":"{told}""#)), "{got}");
        assert_eq!(got.contains(TRACE), written == &attribute, "{got}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_receive_of_several_messages_is_linked_with_each_and_follows_none() {
    let world = World::start().await;
    world.json("CreateQueue", r#"{"QueueName":"jobs"}"#).await;
    for _ in 0..2 {
        world.json("SendMessage", r#"{"QueueUrl":"jobs","MessageBody":"x"}"#).await;
    }
    world.json("ReceiveMessage", r#"{"QueueUrl":"jobs","MaxNumberOfMessages":10}"#).await;
    let spans = world.seen.spans();
    let [_, (first, _), (second, _), (receive, links)] = &spans[..] else { panic!("{spans:?}") };
    assert_ne!(first.id, second.id, "whoever says nothing begins a trace");
    assert!(receive.parent.is_none() && receive.id != first.id && receive.id != second.id);
    assert_eq!(links.len(), 2);
    assert!(links.contains(&first.context()) && links.contains(&second.context()), "{links:?}");
    world.end().await;
}
