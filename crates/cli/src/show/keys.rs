//! What `atoll key` shows.

use std::fmt::Write as _;

use api::{CreatedKey, Key};
use kit::Timestamp;

use super::table::{Cell, Side, Table};
use super::{Paint, clean, time};

/// `key ls`: a line per key.
pub(crate) fn list(keys: &[Key], now: Timestamp, columns: Option<usize>, paint: Paint) -> String {
    if keys.is_empty() {
        return "there are no keys\n".into();
    }
    let mut table = Table::new(&[
        ("KEY", Side::Left),
        ("ID", Side::Left),
        ("MADE", Side::Right),
        ("LAST USED", Side::Right),
        ("EXPIRES", Side::Left),
        ("MAY", Side::Left),
    ]);
    for key in keys {
        let ago = |at: Timestamp| format!("{} ago", time::span(now.since(at)));
        table.row(vec![
            Cell::new(&key.name),
            Cell::new(&key.access_key),
            Cell::new(ago(key.created_at)),
            Cell::maybe(key.last_used_at.map(ago)),
            Cell::new(expiry(key, now)),
            Cell::new(key.allow.join(" ")),
        ]);
    }
    table.text(columns, paint)
}

fn expiry(key: &Key, now: Timestamp) -> String {
    match key.expires_at {
        Some(at) if at <= now => format!("{} ago", time::span(now.since(at))),
        _ if !key.usable => "of no use: its record was changed".to_owned(),
        Some(at) => format!("in {}", time::span(at.since(now))),
        None => "never".to_owned(),
    }
}

/// `key create`: what a shell takes as it is, and people read.
pub(crate) fn created(made: &CreatedKey, now: Timestamp) -> String {
    let CreatedKey { key, secret, endpoint, region, about_nothing } = made;
    let mut text = format!("# key `{}`; the secret is not shown again\n", clean::text(&key.name));
    if let Some(at) = key.expires_at {
        let _ = writeln!(text, "# good for {}", time::span(at.since(now)));
    }
    for grant in about_nothing {
        let _ = writeln!(text, "# there is no queue or topic yet for `{}`", clean::text(grant));
    }
    let mut export = |name: &str, value: &str| {
        let _ = writeln!(text, "export {name}='{}'", clean::text(value).replace('\'', ""));
    };
    export("AWS_ACCESS_KEY_ID", &key.access_key);
    export("AWS_SECRET_ACCESS_KEY", secret);
    if let Some(endpoint) = endpoint {
        export("AWS_ENDPOINT_URL", endpoint);
    }
    export("AWS_REGION", region);
    export("AWS_DEFAULT_REGION", region);
    text.push_str("unset AWS_SESSION_TOKEN\n"); // of another session: it does not go with this key
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            name: "ci".into(),
            access_key: "AKIA234567ABCDEFGHIJ".into(),
            allow: vec!["orders:send".into(), "queue/jobs:*".into()],
            created_at: Timestamp::from_micros(1_000_000),
            last_used_at: Some(Timestamp::from_micros(3_000_000)),
            expires_at: Some(Timestamp::from_micros(64_000_000)),
            usable: true,
        }
    }

    #[test]
    fn a_line_says_what_a_key_may_and_for_how_long() {
        let now = Timestamp::from_micros(4_000_000);
        let lasting = Key { name: "old".into(), expires_at: None, last_used_at: None, ..key() };
        let harmed = Key { name: "harmed".into(), usable: false, ..lasting.clone() };
        insta::assert_snapshot!(list(&[key(), lasting, harmed], now, None, Paint::new(false)), @"
        KEY     ID                          MADE   LAST USED  EXPIRES                            MAY
        ci      AKIA234567ABCDEFGHIJ  3.00 s ago  1.00 s ago  in 1m 0s                           orders:send queue/jobs:*
        old     AKIA234567ABCDEFGHIJ  3.00 s ago           –  never                              orders:send queue/jobs:*
        harmed  AKIA234567ABCDEFGHIJ  3.00 s ago           –  of no use: its record was changed  orders:send queue/jobs:*
        ");
        assert_eq!(list(&[], now, None, Paint::new(false)), "there are no keys\n");
    }

    #[test]
    fn a_new_key_is_what_a_shell_reads() {
        let made = CreatedKey {
            key: key(),
            secret: "abc/+=".into(),
            endpoint: Some("http://127.0.0.1:4566".into()),
            region: "us-east-1".into(),
            about_nothing: vec!["orders:send".into()],
        };
        insta::assert_snapshot!(created(&made, Timestamp::from_micros(4_000_000)), @"
        # key `ci`; the secret is not shown again
        # good for 1m 0s
        # there is no queue or topic yet for `orders:send`
        export AWS_ACCESS_KEY_ID='AKIA234567ABCDEFGHIJ'
        export AWS_SECRET_ACCESS_KEY='abc/+='
        export AWS_ENDPOINT_URL='http://127.0.0.1:4566'
        export AWS_REGION='us-east-1'
        export AWS_DEFAULT_REGION='us-east-1'
        unset AWS_SESSION_TOKEN
        ");
    }
}
