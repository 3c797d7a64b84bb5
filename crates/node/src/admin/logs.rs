//! Lines of output over the API.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use kit::Timestamp;
use runtime::logs::{self, Reader, Stream, Which};
use serde::Deserialize;

use super::{Shared, lines};
use crate::access;

#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    follow: bool,
    tail: Option<usize>,
    since: Option<u64>,
    #[serde(default)]
    service: String,
}

pub(crate) async fn logs(State(admin): Shared, Query(wanted): Query<Wanted>) -> Response {
    let targets: Vec<String> =
        wanted.service.split(',').filter(|target| !target.is_empty()).map(str::to_owned).collect();
    let query = logs::Query {
        which: Which::Matching(Arc::new(move |name| is_wanted(&targets, name))),
        tail: wanted.tail,
        since: wanted.since.map(Timestamp::from_micros),
    };
    let reader = Reader::new(admin.applier.state.logs());
    if !wanted.follow {
        return match reader.lines(&query) {
            Ok(found) => lines(futures_util::stream::iter(found.map(to_line))),
            Err(error) => unreadable(&error),
        };
    }
    let follow = match reader.follow(query) {
        Ok(follow) => follow,
        Err(error) => return unreadable(&error),
    };
    lines(futures_util::stream::unfold((admin, follow, false), |(admin, mut follow, ending)| async move {
        if ending {
            return None;
        }
        let next = tokio::select! {
            biased; // what is written is told before the end is
            next = follow.next() => Some(next),
            () = admin.ending.cancelled() => None,
        };
        match next {
            Some(Ok(line)) => Some((to_line(line), (admin, follow, false))),
            Some(Err(error)) => {
                let text = format!("the logs cannot be read: {error}");
                let at = Timestamp::from_micros(0);
                let line = api::LogLine { at, instance: "atoll".into(), stream: "atoll".into(), text };
                Some((line, (admin, follow, true)))
            }
            None => None,
        }
    }))
}

/// Whether the log called `name` belongs to one of the targets: a service (`catalog`, with all its replicas
/// and its `prepare`) or an instance (`catalog-2`). Access logs are shown only when asked for.
fn is_wanted(targets: &[String], name: &str) -> bool {
    if targets.is_empty() {
        return !access::ALL.contains(&name);
    }
    targets.iter().any(|target| {
        if name == target {
            return true;
        }
        let Some(rest) = name.strip_prefix(target.as_str()) else { return false };
        let is_replica = rest
            .strip_prefix('-')
            .is_some_and(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()));
        is_replica || rest == ".prepare"
    })
}

fn to_line(line: logs::LogLine) -> api::LogLine {
    let stream = match line.stream {
        Stream::Out => "stdout",
        Stream::Err => "stderr",
        Stream::Atoll => "atoll",
    };
    api::LogLine { at: line.at, instance: line.instance, stream: stream.into(), text: line.text }
}

fn unreadable(error: &std::io::Error) -> Response {
    super::problem::logs_unreadable(error).into_response()
}

#[cfg(test)]
mod tests {
    use super::is_wanted;

    #[test]
    fn a_target_takes_its_replicas_and_its_prepare_and_nothing_of_others() {
        let web = ["web".to_owned()];
        for name in ["web-1", "web-12", "web.prepare"] {
            assert!(is_wanted(&web, name), "{name}");
        }
        for name in ["web-api-1", "webs-1", "gateway", "web-"] {
            assert!(!is_wanted(&web, name), "{name}");
        }
        assert!(is_wanted(&["web-2".into()], "web-2"));
        assert!(!is_wanted(&["web-2".into()], "web-1"));
        assert!(is_wanted(&[], "web-1") && !is_wanted(&[], "gateway"));
        assert!(is_wanted(&["gateway".into()], "gateway"));
    }
}
