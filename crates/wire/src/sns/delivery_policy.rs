//! Delivery policies: the JSON of SNS, to and from what topics follow.

use pipes::topic::{Curve, Retry};
use serde_json::{Map, Value, json};

use super::attributes::object;
use super::error::SnsError;

/// The `Content-Type` of what is delivered, where nobody says another one.
pub(super) const CONTENT_TYPE: &str = "text/plain; charset=UTF-8";

/// What a topic's policy calls the parts that a subscription's calls otherwise.
struct Names {
    retry: &'static str,
    throttle: &'static str,
    request: &'static str,
}

const OF_TOPIC: Names = Names {
    retry: "defaultHealthyRetryPolicy",
    throttle: "defaultThrottlePolicy",
    request: "defaultRequestPolicy",
};
const OF_SUBSCRIPTION: Names =
    Names { retry: "healthyRetryPolicy", throttle: "throttlePolicy", request: "requestPolicy" };

/// The policy of a topic: everything is under `http`.
pub(super) fn of_topic(text: &str, prefix: &str) -> Result<Option<Retry>, SnsError> {
    let whole = object("DeliveryPolicy", text, prefix)?;
    match whole.get("http") {
        Some(Value::Object(http)) => {
            read(http, &OF_TOPIC, &format!("{prefix}DeliveryPolicy: http.")).map(Some)
        }
        None if whole.is_empty() => Ok(None),
        _ => Err(SnsError::parameter(&format!("{prefix}DeliveryPolicy: http is missing"))),
    }
}

/// The policy of a subscription.
pub(super) fn of_subscription(text: &str, prefix: &str) -> Result<Option<Retry>, SnsError> {
    let whole = object("DeliveryPolicy", text, prefix)?;
    if whole.is_empty() {
        return Ok(None);
    }
    read(&whole, &OF_SUBSCRIPTION, &format!("{prefix}DeliveryPolicy: ")).map(Some)
}

fn read(object: &Map<String, Value>, names: &Names, prefix: &str) -> Result<Retry, SnsError> {
    let mut retry = Retry::default();
    let part = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(part)) => Ok(Some(part)),
        Some(_) => Err(SnsError::parameter(&format!("{prefix}{name} must be an object"))),
    };
    if let Some(policy) = part(names.retry)? {
        let at = |name: &str| format!("{prefix}{}.{name}", names.retry);
        for (name, value) in policy {
            if name == "backoffFunction" {
                retry.curve =
                    curve(value).ok_or_else(|| SnsError::parameter(&format!("{} is unknown", at(name))))?;
                continue;
            }
            let field = match name.as_str() {
                "numRetries" => &mut retry.retries,
                "numNoDelayRetries" => &mut retry.immediate,
                "numMinDelayRetries" => &mut retry.pre_backoff,
                "numMaxDelayRetries" => &mut retry.post_backoff,
                "minDelayTarget" => &mut retry.least_seconds,
                "maxDelayTarget" => &mut retry.most_seconds,
                _ => return Err(SnsError::parameter(&format!("{} is unknown", at(name)))),
            };
            *field = whole(value)
                .ok_or_else(|| SnsError::parameter(&format!("{} must be a whole number", at(name))))?;
        }
        if !policy.contains_key("maxDelayTarget") {
            retry.most_seconds = retry.most_seconds.max(retry.least_seconds);
        }
    }
    if let Some(policy) = part(names.throttle)? {
        retry.per_second = match policy.get("maxReceivesPerSecond") {
            None | Some(Value::Null) => None,
            Some(value) => Some(whole(value).ok_or_else(|| {
                SnsError::parameter(&format!(
                    "{prefix}{}.maxReceivesPerSecond must be a whole number",
                    names.throttle
                ))
            })?),
        };
    }
    if let Some(policy) = part(names.request)? {
        retry.content_type = policy.get("headerContentType").and_then(Value::as_str).map(str::to_owned);
        let bad = |text: &String| http::HeaderValue::from_str(text).is_err();
        if retry.content_type.as_ref().is_some_and(bad) {
            return Err(SnsError::parameter(&format!(
                "{prefix}{}.headerContentType is no header",
                names.request
            )));
        }
    }
    retry.check().map_err(|error| SnsError::parameter(&format!("{prefix}{}: {error}", names.retry)))?;
    Ok(retry)
}

fn whole(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn curve(value: &Value) -> Option<Curve> {
    match value.as_str()? {
        "linear" => Some(Curve::Linear),
        "arithmetic" => Some(Curve::Arithmetic),
        "geometric" => Some(Curve::Geometric),
        "exponential" => Some(Curve::Exponential),
        _ => None,
    }
}

fn healthy(retry: &Retry) -> Value {
    let curve = match retry.curve {
        Curve::Linear => "linear",
        Curve::Arithmetic => "arithmetic",
        Curve::Geometric => "geometric",
        Curve::Exponential => "exponential",
    };
    json!({
        "minDelayTarget": retry.least_seconds,
        "maxDelayTarget": retry.most_seconds,
        "numRetries": retry.retries,
        "numMaxDelayRetries": retry.post_backoff,
        "numNoDelayRetries": retry.immediate,
        "numMinDelayRetries": retry.pre_backoff,
        "backoffFunction": curve,
    })
}

fn throttle(retry: &Retry) -> Value {
    retry.per_second.map_or(Value::Null, |per_second| json!({ "maxReceivesPerSecond": per_second }))
}

fn request(retry: &Retry) -> Value {
    json!({ "headerContentType": retry.content_type.as_deref().unwrap_or(CONTENT_TYPE) })
}

/// What is in force for a topic.
pub(super) fn effective_of_topic(retry: Option<&Retry>) -> String {
    let default = Retry::default();
    let retry = retry.unwrap_or(&default);
    let mut http = json!({
        "defaultHealthyRetryPolicy": healthy(retry),
        "disableSubscriptionOverrides": false,
        "defaultRequestPolicy": request(retry),
    });
    if retry.per_second.is_some() {
        http["defaultThrottlePolicy"] = throttle(retry);
    }
    json!({ "http": http }).to_string()
}

/// What is in force for a subscription.
pub(super) fn effective_of_subscription(retry: Option<&Retry>) -> String {
    let default = Retry::default();
    let retry = retry.unwrap_or(&default);
    json!({
        "healthyRetryPolicy": healthy(retry),
        "sicklyRetryPolicy": Value::Null,
        "throttlePolicy": throttle(retry),
        "requestPolicy": request(retry),
        "guaranteed": false,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_told() {
        let text = r#"{"healthyRetryPolicy": {"minDelayTarget": 1, "maxDelayTarget": 60, "numRetries": 10,
            "numNoDelayRetries": 1, "numMinDelayRetries": 2, "numMaxDelayRetries": 3, "backoffFunction": "exponential"},
            "throttlePolicy": {"maxReceivesPerSecond": 5}, "requestPolicy": {"headerContentType": "application/json"}}"#;
        let retry = of_subscription(text, "").unwrap().unwrap();
        assert_eq!((retry.retries, retry.immediate, retry.pre_backoff, retry.post_backoff), (10, 1, 2, 3));
        assert_eq!((retry.curve, retry.per_second), (Curve::Exponential, Some(5)));
        let told = effective_of_subscription(Some(&retry));
        assert_eq!(of_subscription(&told, "").unwrap(), Some(retry.clone()));
        assert_eq!(of_topic(&effective_of_topic(Some(&retry)), "").unwrap(), Some(retry));
        assert_eq!(of_subscription("{}", "").unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| of_topic(text, "").unwrap_err().message;
        assert_eq!(wrong("x"), "Invalid parameter: DeliveryPolicy: failed to parse JSON.");
        assert_eq!(
            wrong(
                r#"{"http": {"defaultHealthyRetryPolicy": {"numRetries": 100, "minDelayTarget": 40, "maxDelayTarget": 40}}}"#
            ),
            "Invalid parameter: DeliveryPolicy: http.defaultHealthyRetryPolicy: all delays together must not be more than \
             3600 seconds"
        );
        assert!(
            wrong(r#"{"http": {"defaultHealthyRetryPolicy": {"numRetries": "3"}}}"#).contains("whole number")
        );
        assert!(
            wrong(r#"{"http": {"defaultRequestPolicy": {"headerContentType": "a\nb"}}}"#)
                .contains("no header")
        );
    }
}
