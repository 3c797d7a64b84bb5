//! What queues are called on the wire: URLs and ARNs.

use pipes::QueueName;

/// The one account.
pub const ACCOUNT: &str = "000000000000";
/// The one region.
pub const REGION: &str = "us-east-1";

/// `arn:aws:sqs:us-east-1:000000000000:NAME`.
pub fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// The queue that an ARN names. `None`: it is no ARN of a queue here.
pub fn parse_queue_arn(arn: &str) -> Option<QueueName> {
    let mut parts = arn.split(':');
    let here = parts.next() == Some("arn")
        && parts.next().is_some_and(|partition| partition.starts_with("aws"))
        && parts.next() == Some("sqs")
        && parts.next() == Some(REGION)
        && parts.next() == Some(ACCOUNT);
    let name = parts.next().filter(|_| here)?;
    if parts.next().is_some() {
        return None;
    }
    name.parse().ok()
}

/// `http://HOST/000000000000/NAME`, as seen by whoever asked at HOST.
pub fn queue_url(host: &str, name: &str) -> String {
    let mut url = String::with_capacity(host.len() + name.len() + 21);
    for piece in ["http://", host, "/", ACCOUNT, "/", name] {
        url.push_str(piece);
    }
    url
}

/// Why a queue URL leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// It is no URL of a queue.
    NoAddress,
    /// It is one, but no queue here can have it: another account, a name that names nothing.
    NoQueue,
}

/// The queue that a URL names. Which host it says does not matter: the same queue has as many URLs as this listener has
/// names. A bare queue name is taken as well.
pub fn parse_queue_url(url: &str) -> Result<QueueName, BadUrl> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').ok_or(BadUrl::NoAddress)?.1,
        None => url.strip_prefix('/').unwrap_or(url),
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.trim_end_matches('/').rsplitn(3, '/');
    let name = parts.next().unwrap_or_default();
    match parts.next() {
        Some(account) if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) => {
            if account != ACCOUNT {
                return Err(BadUrl::NoQueue);
            }
        }
        None if !url.contains('/') && !name.is_empty() => {}
        _ => return Err(BadUrl::NoAddress),
    }
    name.parse().map_err(|_| BadUrl::NoQueue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_and_arns_name_queues() {
        let name: QueueName = "jobs.fifo".parse().unwrap();
        let url = queue_url("127.0.0.1:4566", name.as_str());
        assert_eq!(url, "http://127.0.0.1:4566/000000000000/jobs.fifo");
        for good in [
            &*url,
            "https://other/000000000000/jobs.fifo",
            "http://h/x/000000000000/jobs.fifo/",
            "/000000000000/jobs.fifo",
            "jobs.fifo",
        ] {
            assert_eq!(parse_queue_url(good), Ok(name.clone()), "{good}");
        }
        for (bad, why) in [
            ("", BadUrl::NoAddress),
            ("/", BadUrl::NoAddress),
            ("http://h", BadUrl::NoAddress),
            ("http://h/", BadUrl::NoAddress),
            ("http://h/jobs", BadUrl::NoAddress),
            ("/jobs", BadUrl::NoAddress),
            ("http://h/000000000001/jobs", BadUrl::NoQueue),
            ("http://h/000000000000/a.b", BadUrl::NoQueue),
        ] {
            assert_eq!(parse_queue_url(bad), Err(why), "{bad}");
        }
        assert_eq!(parse_queue_arn(&queue_arn(name.as_str())), Some(name));
        for bad in [
            "",
            "arn:aws:sqs:us-east-1:000000000000",
            "arn:aws:sqs:us-east-1:000000000000:a:b",
            "arn:aws:sns:us-east-1:000000000000:a",
            "arn:aws:sqs:eu-west-1:000000000000:a",
        ] {
            assert_eq!(parse_queue_arn(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = (parse_queue_url(&text), parse_queue_arn(&text));
        }
    }
}
