//! The query protocol, brought into the form of the JSON protocol.

use crate::form::{BadForm, Params, Shape, unflatten};
use crate::gate::RequestView;

use super::error::{Code, SqsError};

/// The parameters of a request, from its body and from behind its `?`, as the JSON protocol would have them. A queue URL may
/// be the URL of the request itself.
pub(super) fn to_json(view: &RequestView<'_>) -> Result<Vec<u8>, SqsError> {
    let bad =
        |error: BadForm| SqsError::new(Code::Malformed, format!("The parameters cannot be read: {error}."));
    let mut params = Params::default();
    params.read(view.body).map_err(bad)?;
    params.read(view.query.as_bytes()).map_err(bad)?;
    let contradiction = || SqsError::new(Code::Malformed, "The parameters contradict each other.");
    let mut input = unflatten(&params, &shape).ok_or_else(contradiction)?;
    if let Some(members) = input.as_object_mut()
        && !members.contains_key("QueueUrl")
        && view.path.len() > 1
    {
        members.insert("QueueUrl".to_owned(), view.path.into());
    }
    serde_json::to_vec(&input).map_err(|_| contradiction())
}

/// How SQS flattens names.
fn shape(name: &str) -> Shape {
    match name {
        "DelaySeconds"
        | "VisibilityTimeout"
        | "WaitTimeSeconds"
        | "MaxNumberOfMessages"
        | "MaxResults"
        | "MaxNumberOfMessagesPerSecond" => Shape::Number,
        "AttributeName" => Shape::List("AttributeNames"),
        "MessageSystemAttributeName" => Shape::List("MessageSystemAttributeNames"),
        "MessageAttributeName" => Shape::List("MessageAttributeNames"),
        "TagKey" => Shape::List("TagKeys"),
        "AWSAccountId" => Shape::List("AWSAccountIds"),
        "ActionName" => Shape::List("Actions"),
        "SendMessageBatchRequestEntry"
        | "DeleteMessageBatchRequestEntry"
        | "ChangeMessageVisibilityBatchRequestEntry" => Shape::List("Entries"),
        "StringListValue" => Shape::List("StringListValues"),
        "BinaryListValue" => Shape::List("BinaryListValues"),
        "Attribute" => Shape::Map("Attributes", "Name", "Value"),
        "Tag" => Shape::Map("Tags", "Key", "Value"),
        "MessageAttribute" => Shape::Map("MessageAttributes", "Name", "Value"),
        "MessageSystemAttribute" => Shape::Map("MessageSystemAttributes", "Name", "Value"),
        _ => Shape::Text,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn read(path: &str, query: &str, body: &str) -> Result<String, SqsError> {
        let headers = HeaderMap::new();
        let view = RequestView { method: "POST", path, query, headers: &headers, body: body.as_bytes() };
        to_json(&view).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn a_form_reads_like_the_json_of_the_same_request() {
        let body = "Action=SendMessage&MessageBody=hello+you&DelaySeconds=5\
                    &MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=Number&MessageAttribute.1.Value.StringValue=1";
        assert_eq!(
            read("/000000000000/jobs", "", body).unwrap(),
            r#"{"Action":"SendMessage","DelaySeconds":5,"MessageAttributes":{"n":{"DataType":"Number","StringValue":"1"}},"MessageBody":"hello you","QueueUrl":"/000000000000/jobs"}"#
        );
        let query = "Action=SetQueueAttributes&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&QueueUrl=q";
        assert_eq!(
            read("/", query, "").unwrap(),
            r#"{"Action":"SetQueueAttributes","Attributes":{"DelaySeconds":"5"},"QueueUrl":"q"}"#
        );
        assert_eq!(read("/", "a=%", "").unwrap_err().code, Code::Malformed);
        assert_eq!(read("/", "Tag.1=x", "").unwrap_err().code, Code::Malformed);
    }

    proptest! {
        #[test]
        fn no_form_panics(path: String, query: String, body: String) {
            let _ = read(&path, &query, &body);
        }
    }
}
