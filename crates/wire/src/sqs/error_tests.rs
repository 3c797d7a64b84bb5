use super::*;
use crate::request_id::RequestIds;

#[test]
fn an_error_speaks_both_protocols() {
    let id = RequestIds::new().next();
    let json = SqsError::no_queue().reply(Protocol::Json, &id);
    assert_eq!(
        &json.body[..],
        br#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}"#
    );
    assert_eq!(json.status, 400);
    assert_eq!(json.query_error.unwrap(), "AWS.SimpleQueueService.NonExistentQueue;Sender");

    let query = SqsError::value("a<b", "Label", "no").reply(Protocol::Query, &id);
    assert_eq!(
        String::from_utf8(query.body.to_vec()).unwrap(),
        format!(
            "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error>\
             <Type>Sender</Type><Code>InvalidParameterValue</Code>\
             <Message>Value a&lt;b for parameter Label is invalid. Reason: no</Message><Detail/></Error>\
             <RequestId>{}</RequestId></ErrorResponse>",
            id.as_str()
        )
    );
    assert_eq!(query.query_error, None);
}

#[test]
fn every_code_has_a_status_and_a_header() {
    for code in Code::ALL {
        assert!(StatusCode::from_u16(code.status()).unwrap().as_u16() >= 400, "{code:?}");
        assert!(code.json().split_once('#').is_some_and(|(_, name)| !name.is_empty()), "{code:?}");
        assert_eq!(code.header(), format!("{};{}", code.query(), code.fault()));
        assert!(HeaderValue::from_str(code.header()).is_ok());
    }
}
