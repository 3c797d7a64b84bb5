use proptest::prelude::*;

use super::*;

fn with(begin: &Settings, pairs: &[(&str, &str)], moment: Moment) -> Result<Settings, SqsError> {
    let pairs = pairs.iter().map(|(name, value)| (Text((*name).into()), Text((*value).into()))).collect();
    change(begin, &Pairs(pairs), moment).map(|change| change.settings)
}

fn code(begin: &Settings, name: &str, value: &str, moment: Moment) -> Option<Code> {
    with(begin, &[(name, value)], moment).err().map(|error| error.code)
}

fn fifo() -> Settings {
    Settings { fifo: Some(pipes::Fifo::default()), ..Settings::default() }
}

#[test]
fn numbers_have_bounds() {
    let standard = Settings::default();
    for (name, good, bad) in [
        ("DelaySeconds", ["0", "900"], ["-1", "901"]),
        ("MaximumMessageSize", ["1024", "1048576"], ["1023", "1048577"]),
        ("MessageRetentionPeriod", ["60", "1209600"], ["59", "1209601"]),
        ("ReceiveMessageWaitTimeSeconds", ["0", "20"], ["", "21"]),
        ("VisibilityTimeout", ["0", "43200"], ["+1", "43201"]),
        ("KmsDataKeyReusePeriodSeconds", ["60", "86400"], ["x", "86401"]),
    ] {
        for value in good {
            assert_eq!(code(&standard, name, value, Moment::Later), None, "{name} {value}");
        }
        for value in bad {
            assert_eq!(
                code(&standard, name, value, Moment::Later),
                Some(Code::InvalidAttributeValue),
                "{name} {value}"
            );
        }
    }
    assert_eq!(code(&standard, "Nope", "1", Moment::Later), Some(Code::InvalidAttributeName));
}

#[test]
fn a_queue_stays_what_it_is() {
    let standard = Settings::default();
    for name in ["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"] {
        assert_eq!(code(&standard, name, "true", Moment::Later), Some(Code::InvalidAttributeName), "{name}");
    }
    assert_eq!(code(&fifo(), "FifoQueue", "true", Moment::Later), None);
    assert_eq!(code(&fifo(), "FifoQueue", "false", Moment::Later), Some(Code::InvalidAttributeValue));
    let fast = [("DeduplicationScope", "messageGroup"), ("FifoThroughputLimit", "perMessageGroupId")];
    assert!(with(&fifo(), &fast, Moment::Creation).is_ok());
    assert_eq!(with(&fifo(), &fast[1..], Moment::Creation).unwrap_err().code, Code::InvalidAttributeValue);
    assert_eq!(code(&fifo(), "DeduplicationScope", "all", Moment::Later), Some(Code::InvalidAttributeValue));
}

#[test]
fn redrive_policies_read_back_as_they_were_set() {
    let arn = queue_arn("dead");
    for policy in [
        format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":5}}"),
        format!("{{\"maxReceiveCount\":\"5\",\"deadLetterTargetArn\":\"{arn}\"}}"),
    ] {
        let set = with(&Settings::default(), &[("RedrivePolicy", &policy)], Moment::Later).unwrap();
        let text = redrive_text(&set.dead_letter.clone().unwrap());
        assert_eq!(text, format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":5}}"));
        assert_eq!(with(&set, &[("RedrivePolicy", "")], Moment::Later).unwrap().dead_letter, None);
    }
    for policy in [
        "[]".to_owned(),
        "{}".to_owned(),
        format!("{{\"deadLetterTargetArn\":\"{arn}\"}}"),
        format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":0}}"),
        format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":\"many\"}}"),
        "{\"deadLetterTargetArn\":\"dead\",\"maxReceiveCount\":1}".to_owned(),
    ] {
        assert_eq!(
            code(&Settings::default(), "RedrivePolicy", &policy, Moment::Later),
            Some(Code::InvalidParameterValue),
            "{policy}"
        );
    }

    let by_queue = format!("{{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"{arn}\"]}}");
    for policy in ["{\"redrivePermission\":\"denyAll\"}", &by_queue] {
        let set = with(&Settings::default(), &[("RedriveAllowPolicy", policy)], Moment::Later).unwrap();
        assert_eq!(redrive_allow_text(&set.dead_letters_from).as_deref(), Some(policy));
    }
    for policy in [
        "x",
        "{}",
        "{\"redrivePermission\":\"byQueue\"}",
        "{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[1]}",
    ] {
        assert_eq!(
            code(&Settings::default(), "RedriveAllowPolicy", policy, Moment::Later),
            Some(Code::InvalidParameterValue),
            "{policy}"
        );
    }
}

#[test]
fn keys_are_kept() {
    let key = [("KmsMasterKeyId", "alias/x"), ("KmsDataKeyReusePeriodSeconds", "6000")];
    let set = with(&Settings::default(), &key, Moment::Creation).unwrap();
    assert_eq!(set.kept.len(), 2);
    let own = with(&set, &[("SqsManagedSseEnabled", "true")], Moment::Later).unwrap();
    assert!(!own.kept.contains_key("KmsMasterKeyId") && own.kept["SqsManagedSseEnabled"] == "true");
    let theirs = with(&own, &[("KmsMasterKeyId", "k")], Moment::Later).unwrap();
    assert!(!theirs.kept.contains_key("SqsManagedSseEnabled"));
    assert!(
        !with(&set, &[("KmsMasterKeyId", "")], Moment::Later).unwrap().kept.contains_key("KmsMasterKeyId")
    );
}

#[test]
fn the_attribute_that_differs_is_named() {
    let standard = Settings::default();
    assert_eq!(first_difference(&standard, &standard), None);
    let other = with(&standard, &[("DelaySeconds", "2")], Moment::Later).unwrap();
    assert_eq!(first_difference(&standard, &other), Some("DelaySeconds"));
    let content = with(&fifo(), &[("ContentBasedDeduplication", "true")], Moment::Later).unwrap();
    assert_eq!(first_difference(&fifo(), &content), Some("ContentBasedDeduplication"));
}

proptest! {
    #[test]
    fn no_attribute_panics(
        name in prop::sample::select(vec!["Policy", "RedrivePolicy", "RedriveAllowPolicy", "DelaySeconds", "FifoQueue", "X"]),
        value: String,
    ) {
        let _ = code(&Settings::default(), name, &value, Moment::Creation);
    }
}
