use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

use super::*;

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_micros)
}

fn name() -> impl Strategy<Value = QueueName> {
    "[a-z]{1,20}".prop_map(|name| name.parse().unwrap())
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let value = prop_oneof![".*".prop_map(AttributeValue::Text), bytes().prop_map(AttributeValue::Binary)];
    (".*", ".*", value).prop_map(|(name, kind, value)| Attribute { name, kind, value })
}

fn stored() -> impl Strategy<Value = Stored> {
    let trace = prop_oneof![".*", "0[0-2]-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9a-f]"];
    let texts = (of(".*"), of(".*"), of(trace), of(".*"));
    (any::<[u8; 16]>(), time(), bytes(), ".*", texts, vec(attribute(), 0..4)).prop_map(
        |(id, sent_at, body, sender, (group, dedup, trace, dead_letter_source), attributes)| {
            let delay_seconds = None;
            let message =
                Outgoing { body, attributes, trace, sender, group, dedup, delay_seconds, dead_letter_source };
            Stored { id, sent_at, message }
        },
    )
}

fn meta() -> impl Strategy<Value = Meta> {
    let received = (any::<u32>(), time(), time()).prop_map(|(receives, first_at, last_at)| ReceivedMeta {
        receives,
        first_at,
        last_at,
    });
    (any::<u32>(), any::<u64>(), time(), of(received)).prop_map(
        |(sent_second, group, visible_at, received)| Meta { sent_second, group, visible_at, received },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    let fifo = any::<[bool; 3]>().prop_map(|[content_dedup, dedup_by_group, throughput_by_group]| Fifo {
        content_dedup,
        dedup_by_group,
        throughput_by_group,
    });
    let from = prop_oneof![
        Just(DeadLettersFrom::All),
        Just(DeadLettersFrom::Nobody),
        vec(name(), 0..3).prop_map(DeadLettersFrom::These)
    ];
    let dead_letter = (name(), any::<u32>()).prop_map(|(target, after)| DeadLetter { target, after });
    (any::<[u32; 5]>(), of(fifo), of(dead_letter), from, of(".*"), btree_map(".*", ".*", 0..3)).prop_map(
        |(numbers, fifo, dead_letter, dead_letters_from, policy, kept)| Settings {
            visibility_seconds: numbers[0],
            delay_seconds: numbers[1],
            retention_seconds: numbers[2],
            message_bytes: numbers[3],
            wait_seconds: numbers[4],
            fifo,
            dead_letter,
            dead_letters_from,
            policy,
            kept,
        },
    )
}

proptest! {
    #[test]
    fn a_message_reads_back_as_it_was_sent(stored in stored()) {
        let record = Stored::encode(&stored.id, stored.sent_at, &stored.message);
        prop_assert_eq!(Stored::decode(&record), Ok(stored));
    }

    #[test]
    fn what_became_of_a_message_reads_back(meta in meta()) {
        prop_assert_eq!(Meta::decode(&meta.encode()), Ok(meta));
    }

    #[test]
    fn a_head_reads_back(words in any::<[u64; 7]>(), empty in any::<bool>()) {
        let [low, reserved, purged_below, purged_at, a, b, c] = words;
        let head = Head { low, reserved, purged_below, purged_at, counters: [a, b, c], empty };
        prop_assert_eq!(Head::decode(&head.encode()), Ok(head));
    }

    #[test]
    fn an_identity_reads_back(sequence in any::<u64>(), id in any::<[u8; 16]>(), sent_at in time()) {
        let identity = Identity { sequence, id, sent_at };
        prop_assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
    }

    #[test]
    fn a_queue_reads_back(
        number in any::<u32>(), times in (time(), time()), in_file in any::<bool>(),
        settings in settings(), tags in btree_map(".*", ".*", 0..3),
    ) {
        let entry = Entry { number, created_at: times.0, changed_at: times.1, in_file, settings, tags };
        prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
    }

    #[test]
    fn a_move_task_reads_back(
        from in name(), to in of(name()), per_second in of(any::<u32>()), state in any::<u8>(),
        failure in of(".*"), counts in any::<(u64, u64)>(), started_at in time(),
    ) {
        let task = MoveRecord { from, to, per_second, state, failure, moved: counts.0, to_move: counts.1, started_at };
        prop_assert_eq!(MoveRecord::decode(&task.encode()), Ok(task));
    }

    #[test]
    fn bytes_that_are_no_record_are_refused_and_nothing_else_happens(bytes in vec(any::<u8>(), 0..100)) {
        let bytes = Bytes::from(bytes);
        let _ = (Stored::decode(&bytes), Meta::decode(&bytes), Head::decode(&bytes));
        let _ = (Identity::decode(&bytes), Entry::decode(&bytes), MoveRecord::decode(&bytes));
    }
}

#[test]
fn a_record_of_an_unknown_version_is_refused() {
    let mut later = Head::default().encode().to_vec();
    assert!(Head::decode(&later).is_ok());
    later[0] = 2;
    assert_eq!(Head::decode(&later), Err(BadRecord));
    let message = Stored::encode(&[0; 16], Timestamp::from_micros(1), &Outgoing::default());
    let mut later = message.to_vec();
    later[0] = 0;
    assert_eq!(Stored::decode(&Bytes::from(later)), Err(BadRecord));
}

#[test]
fn a_traceparent_takes_its_bytes_and_no_more() {
    let bytes = |trace: &str| {
        let message = Outgoing { trace: Some(trace.to_owned()), ..Outgoing::default() };
        Stored::encode(&[1; 16], Timestamp::from_micros(1), &message).len()
    };
    let none = Stored::encode(&[1; 16], Timestamp::from_micros(1), &Outgoing::default()).len();
    assert_eq!(bytes("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01") - none, 25);
    assert!(bytes("Root=1-5759e988-bd862e3fe1be46a994272793") - none > 25);
}
