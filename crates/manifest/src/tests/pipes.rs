//! Queues and topics: every form, every default, and every fault.

use std::time::Duration;

use kit::units::Bytes;

use super::{app, check, loaded, one_service, titles};
use crate::spec::{
    Access, App, CredentialKind, DeadLetter, Deliver, Engine, Fifo, FilterScope, PipeName, Queue,
    ServiceName, Subscription, Topic, Verb,
};

/// An app with a service `web` of these keys, one named `other` with two topics, and what stands below.
fn with(keys: &str, rest: &str) -> App {
    const OTHER: &str = "  other: { command: [o], topics: { news: , steps: { fifo: true } } }\n";
    app(&format!("{}{OTHER}{rest}", one_service(keys)))
}

/// The queue `jobs` with these keys.
fn queue(keys: &str) -> Queue {
    with(&format!("queues: {{ jobs: {{ {keys} }} }}"), "").pipes.queues.remove(&pipe("jobs")).unwrap()
}

fn pipe(text: &str) -> PipeName {
    text.parse().unwrap()
}

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn days(days: u64) -> Duration {
    seconds(days * 86_400)
}

/// The titles of what is wrong with the queue `jobs` of these keys, without the places.
fn wrong(keys: &str) -> String {
    let text = format!("queues: {{ jobs: {{ {keys} }} }}");
    let text = format!("{}  other: {{ command: [o], topics: [news] }}\n", one_service(&text));
    loaded(&text).faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_queue_of_one_word_has_every_default_and_a_queue_for_its_dead_letters() {
    for keys in ["queues: [jobs]", "queues: { jobs: }", "queues: { jobs: {} }"] {
        let app = with(keys, "");
        let names: Vec<&str> = app.queues().map(|queue| queue.name.as_str()).collect();
        assert_eq!(names, ["jobs", "jobs-dead"], "{keys}");
        let jobs = &app.pipes.queues[&pipe("jobs")];
        let dead = &app.pipes.queues[&pipe("jobs-dead")];
        let letter = DeadLetter { to: pipe("jobs-dead"), after: 10 };
        assert_eq!(*jobs, Queue { dead_letter: Some(letter), ..Queue::new(pipe("jobs"), name("web")) });
        assert_eq!((jobs.visibility, jobs.delay, jobs.retention), (seconds(30), seconds(0), days(4)));
        assert_eq!((jobs.max_message, jobs.wait), (Bytes(1 << 20), seconds(0)));
        assert_eq!((dead.retention, dead.made_for.as_ref()), (days(14), Some(&jobs.name)));
        assert_eq!((&dead.owner, dead.dead_letter.as_ref()), (&jobs.owner, None));
    }
}

#[test]
fn every_setting_of_a_queue_is_read() {
    let queue =
        queue("visibility: 2m, delay: 15m, retention: 1m, max_message: 1k, wait: 20s, dead_letter: off");
    assert_eq!((queue.visibility, queue.delay, queue.retention), (seconds(120), seconds(900), seconds(60)));
    assert_eq!((queue.max_message, queue.wait, queue.dead_letter), (Bytes(1024), seconds(20), None));
}

#[test]
fn settings_past_their_bounds_are_told_with_the_bounds() {
    insta::assert_snapshot!(wrong("visibility: 13h"), @"`13h` is not a time from 0s to 12h");
    insta::assert_snapshot!(wrong("visibility: 1500ms"), @"`1s500ms` is not a whole number of seconds");
    insta::assert_snapshot!(wrong("delay: 901s"), @"`15m1s` is not a time from 0s to 15m");
    insta::assert_snapshot!(wrong("retention: 15d"), @"`15d` is not a time from 1m to 14d");
    insta::assert_snapshot!(wrong("retention: 59s"), @"`59s` is not a time from 1m to 14d");
    insta::assert_snapshot!(wrong("max_message: 2m"), @"a message is allowed from 1.0 KiB to 1.0 MiB");
    insta::assert_snapshot!(wrong("max_message: -1"), @"a message is allowed from 1.0 KiB to 1.0 MiB");
    insta::assert_snapshot!(wrong("wait: 21s"), @"`21s` is not a time from 0s to 20s");
    insta::assert_snapshot!(wrong("dead_letter: 0"), @"`0` is not a number from 1 to 1000");
    insta::assert_snapshot!(wrong("dead_letter: { after: 1001 }"), @"`1001` is not a number from 1 to 1000");
    insta::assert_snapshot!(wrong("fifo: { dedup: body }"), @"`body` is not a way to recognise a message");
    insta::assert_snapshot!(wrong("deliver: { to: /x, concurrency: 0, batch: 11, timeout: 13h }"), @"`0` is not a number from 1 to 1000; `11` is not a number from 1 to 10; a delivery takes from 100ms to 12h");
}

#[test]
fn a_queue_that_keeps_order_has_another_name_for_clients() {
    assert_eq!((queue("").wire_name(), queue("").fifo), ("jobs".to_owned(), None));
    assert_eq!(queue("fifo: off").fifo, None);
    let app = with("queues: { jobs: { fifo: true } }", "");
    assert_eq!(app.queues().map(Queue::wire_name).collect::<Vec<_>>(), ["jobs.fifo", "jobs-dead.fifo"]);
    assert_eq!(queue("fifo: true").fifo, Some(Fifo { content_dedup: false, by_group: false }));
    assert_eq!(
        queue("fifo: { dedup: content, scope: group }").fifo,
        Some(Fifo { content_dedup: true, by_group: true })
    );
    assert_eq!(app.topics().map(Topic::wire_name).collect::<Vec<_>>(), ["news", "steps.fifo"]);
}

#[test]
fn dead_letters_have_a_number_a_word_or_more() {
    let letter = |keys: &str| {
        let letter = queue(keys).dead_letter?;
        Some(format!("{} {}", letter.to, letter.after))
    };
    assert_eq!(letter("").as_deref(), Some("jobs-dead 10"));
    assert_eq!(letter("dead_letter: on").as_deref(), Some("jobs-dead 10"));
    assert_eq!(letter("dead_letter: 3").as_deref(), Some("jobs-dead 3"));
    assert_eq!(letter("dead_letter: { after: 5 }").as_deref(), Some("jobs-dead 5"));
    assert_eq!(letter("dead_letter: off"), None);
}

#[test]
fn a_queue_that_takes_dead_letters_keeps_them_long_and_hands_none_on() {
    let ends = |queues: &str| {
        let app = with(&format!("queues: {{ {queues} }}"), "");
        let end = |queue: &Queue| {
            let to = queue.dead_letter.as_ref().map_or("-", |letter| letter.to.as_str());
            format!("{} {to} {}d", queue.name, queue.retention.as_secs() / 86_400)
        };
        app.queues().map(end).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(ends("a: , a-dead:"), "a a-dead 4d, a-dead - 14d");
    assert_eq!(ends("a: { dead_letter: { to: b } }, b:"), "a b 4d, b - 14d");
    assert_eq!(ends("a: { dead_letter: { to: web/b } }, b: { retention: 5d }"), "a b 4d, b - 5d");
    // Who asks for more gets more.
    assert_eq!(
        ends("a: , a-dead: { dead_letter: on }"),
        "a a-dead 4d, a-dead a-dead-dead 14d, a-dead-dead - 14d"
    );
    // Nothing comes here: it is a queue like any other.
    assert_eq!(ends("a: { dead_letter: off }, a-dead:"), "a - 4d, a-dead a-dead-dead 4d, a-dead-dead - 14d");
    assert_eq!(
        ends("a: , a-dead: , a-dead-dead:"),
        "a a-dead 4d, a-dead - 14d, a-dead-dead a-dead-dead-dead 4d, a-dead-dead-dead - 14d"
    );
}

#[test]
fn a_queue_takes_from_topics_with_or_without_a_filter() {
    let plain = |topic: &str| Subscription {
        topic: pipe(topic),
        filter: None,
        filter_scope: FilterScope::Attributes,
        raw: false,
    };
    assert_eq!(queue("from: other/news").from, [plain("news")]);
    assert_eq!(queue("from: [other/news, { topic: other/steps }]").from, [plain("news"), plain("steps")]);
    let own = with("topics: [mine]\nqueues: { jobs: { from: mine } }", "");
    assert_eq!(own.pipes.queues[&pipe("jobs")].from, [plain("mine")]);
    let takers =
        own.pipes.takers(&own.pipes.topics[&pipe("mine")].name).map(|(queue, _)| queue.name.as_str());
    assert_eq!(takers.collect::<Vec<_>>(), ["jobs"]);
    let long =
        "from: { topic: other/news, filter: { kind: paid, total: [{ numeric: [\">\", 10] }] }, raw: true }";
    let filter = Some(r#"{"kind":["paid"],"total":[{"numeric":[">",10]}]}"#.to_owned());
    assert_eq!(queue(long).from, [Subscription { filter, raw: true, ..plain("news") }]);
    let body = "from: { topic: other/news, filter: { a: { b: [1, null, true, '2'] } }, filter_scope: body }";
    let filter = Some(r#"{"a":{"b":[1,null,true,"2"]}}"#.to_owned());
    assert_eq!(queue(body).from, [Subscription { filter, filter_scope: FilterScope::Body, ..plain("news") }]);
}

#[test]
fn a_filter_is_looked_into() {
    let filter = |filter: &str| wrong(&format!("from: {{ topic: other/news, filter: {filter} }}"));
    for good in [
        "{ a: [{ prefix: x }, { suffix: y }, { exists: false }, { equals-ignore-case: Z }, { cidr: 10.0.0.0/8 }] }",
        "{ a: [{ anything-but: x }], b: [{ anything-but: [x, 3] }], c: [{ anything-but: { prefix: x } }] }",
        "{ $or: [{ a: 1 }, { b: [{ numeric: ['>=', -1.5, '<', 2] }] }], c: [{ numeric: ['=', 1000000000] }] }",
        "{ a: [{ wildcard: 'a*b*' }, { anything-but: { wildcard: ['*.x', '\\*'] } }, { cidr: '::/0' }, { anything-but: [null] }] }",
    ] {
        assert_eq!(filter(good), "", "{good}");
    }
    insta::assert_snapshot!(filter("[a]"), @"expected a filter (a mapping), found a sequence");
    insta::assert_snapshot!(filter("{}"), @"a filter without a condition takes every message");
    insta::assert_snapshot!(filter("{ a: [] }"), @"an empty list lets no message through");
    insta::assert_snapshot!(filter("{ a: [[b]] }"), @"expected a value or a condition, found a sequence");
    insta::assert_snapshot!(filter("{ a: [{ prefx: b }] }"), @"`prefx` is not a condition");
    insta::assert_snapshot!(filter("{ a: [{ prefix: [b] }] }"), @"`prefix` is not told what to compare with");
    insta::assert_snapshot!(filter("{ a: [{ prefix: b, suffix: c }] }"), @"a condition has one key");
    insta::assert_snapshot!(filter("{ a: [{ numeric: ['>', x] }] }"), @"`numeric` is not told what to compare with");
    insta::assert_snapshot!(filter("{ a: [{ anything-but: { cidr: x } }] }"), @"`cidr` is not a condition");
    insta::assert_snapshot!(filter("{ a: [{ exists: maybe }] }"), @"`exists` is not told what to compare with");
    insta::assert_snapshot!(filter("{ a: [{ wildcard: 'a**' }], b: [{ cidr: 10.0.0.0/33 }] }"), @"`wildcard` is not told what to compare with; `cidr` is not told what to compare with");
    insta::assert_snapshot!(filter("{ a: [{ numeric: ['>', 5, '<', 5] }] }"), @"`numeric` is not told what to compare with");
    insta::assert_snapshot!(filter("{ a: [{ numeric: ['<', 5, '>', 1] }] }"), @"`numeric` is not told what to compare with");
    insta::assert_snapshot!(filter("{ a: 1, b: 1, c: 1, d: 1, e: 1, f: 1 }"), @"a filter has at most 5 keys");
    insta::assert_snapshot!(filter("{ a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], b: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] }"), @"a filter allows for at most 150 combinations of values");
    insta::assert_snapshot!(filter("{ $or: [{ prefix: [b] }, { a: b }] }"), @"`prefix` is a condition, and below `$or` stand filters");
    insta::assert_snapshot!(filter("{ $or: [{ a: b }] }"), @"expected a list of two filters or more, found a sequence");
    insta::assert_snapshot!(filter("{ a: { b: c } }"), @"attributes have no parts that a filter could look into");
    insta::assert_snapshot!(filter("{ a: { prefix: c } }"), @"attributes have no parts that a filter could look into");
}

#[test]
fn a_queue_is_delivered_to_its_owner_with_one_line() {
    let deliver = |method: &str, path: &str| Deliver {
        method: method.parse().unwrap(),
        path: path.to_owned(),
        concurrency: 4,
        batch: 1,
        timeout: seconds(30),
    };
    assert_eq!(queue("deliver: POST /jobs").deliver, Some(deliver("POST", "/jobs")));
    assert_eq!(queue("deliver: /jobs?a=b").deliver, Some(deliver("POST", "/jobs?a=b")));
    let long = "deliver: { to: PUT /x, concurrency: 9, batch: 10, timeout: 90s }";
    let expected = Deliver { concurrency: 9, batch: 10, timeout: seconds(90), ..deliver("PUT", "/x") };
    assert_eq!(queue(long).deliver, Some(expected));
    insta::assert_snapshot!(wrong("deliver: GET /x"), @"`GET /x` is not where messages are delivered to");
    insta::assert_snapshot!(wrong("deliver: jobs"), @"`jobs` is not where messages are delivered to");
    insta::assert_snapshot!(wrong("deliver: 'POST /a b'"), @"`POST /a b` is not where messages are delivered to");
    insta::assert_snapshot!(wrong("deliver: POST /../x"), @"`/../x` is not a path that can be asked");
    insta::assert_snapshot!(wrong("deliver: { batch: 2 }"), @"a deliver section needs the key `to`");
}

#[test]
fn what_is_delivered_is_hidden_for_longer_than_that_takes() {
    let hidden = |keys: &str| queue(keys).visibility.as_secs();
    assert_eq!(hidden("deliver: /x"), 35);
    assert_eq!(hidden("deliver: { to: /x, timeout: 2s }"), 30);
    assert_eq!(hidden("deliver: { to: /x, timeout: 59500ms }"), 65);
    assert_eq!(hidden("deliver: { to: /x, timeout: 12h }"), 43_200);
    assert_eq!(hidden("deliver: { to: /x, timeout: 2m }, visibility: 3m"), 180);
}

#[test]
fn only_the_owner_and_those_it_names_may_touch_a_queue() {
    let who = |queue: &Queue| {
        let verbs = [Verb::Send, Verb::Receive, Verb::Manage];
        let may = |service: &str| verbs.map(|verb| u8::from(queue.may(&name(service), verb)));
        (may("web"), may("other"), may("nobody"))
    };
    assert_eq!(who(&queue("")), ([1, 1, 1], [0, 0, 0], [0, 0, 0]));
    assert_eq!(who(&queue("allow: [other]")).1, [1, 0, 0]);
    assert_eq!(who(&queue("allow: { other: }")).1, [1, 0, 0]);
    assert_eq!(who(&queue("allow: { other: receive, web: [send] }")), ([1, 1, 1], [0, 1, 0], [0, 0, 0]));
    assert_eq!(who(&queue("allow: { other: [send, receive, manage] }")).1, [1, 1, 1]);
    insta::assert_snapshot!(wrong("allow: { other: [], web: publish }"), @"nothing is allowed here; `publish` is not a permission on a queue");
    insta::assert_snapshot!(wrong("allow: 5"), @"expected a list of names or a mapping, found `5`");
    let app = with("topics: { t: { allow: [other] }, u: { allow: { other: subscribe } } }", "");
    let topic = |topic: &str| &app.pipes.topics[&pipe(topic)];
    assert!(
        topic("t").may(&name("other"), Verb::Publish) && !topic("t").may(&name("other"), Verb::Subscribe)
    );
    assert!(
        topic("u").may(&name("other"), Verb::Subscribe) && !topic("u").may(&name("other"), Verb::Publish)
    );
    assert!(topic("u").may(&name("web"), Verb::Manage));
}

#[test]
fn the_pipes_section_says_where_and_on_what() {
    let pipes = |text: &str| app(&format!("{}{text}", one_service(""))).pipes;
    let listen = |text: &str| pipes(text).listen.map(|address| address.to_string());
    assert_eq!(listen(""), None);
    assert_eq!(listen("pipes: {}").as_deref(), Some("127.0.0.1:4566"));
    assert_eq!(listen("pipes: { listen: ':4567' }").as_deref(), Some("[::]:4567"));
    let queue = app(&one_service("queues: [jobs]")).pipes;
    assert_eq!(queue.listen.map(|address| address.port()), Some(4566));
    assert_eq!((queue.access, queue.engine), (Access::Audit, Engine::Fjall));
    assert_eq!(queue.credentials, CredentialKind::Static);
    let pipes = pipes("pipes: { access: enforce, engine: redb, credentials: short, listen: ':1' }");
    assert_eq!((pipes.access, pipes.engine), (Access::Enforce, Engine::Redb));
    assert_eq!(pipes.credentials, CredentialKind::Short);
    let file = format!("{}pipes: {{ listen: '10.0.0.1:1', credentials: short }}", one_service(""));
    assert!(titles(&file).contains("A0203 SDKs do not ask for credentials at 10.0.0.1"), "{}", titles(&file));
}

#[test]
fn a_selection_of_services_leaves_queues_and_topics_alone() {
    let app = with("queues: { jobs: { from: other/news } }", "");
    let part = crate::select(&app, &[name("other")], false).unwrap();
    assert_eq!(part.pipes, app.pipes);
}

#[test]
fn a_name_is_one_pipes_only() {
    let text = "
services:
  a: { command: [a], queues: [jobs, mail.fifo, a b], topics: [news] }
  b:
    command: [b]
    queues: { jobs: { fifo: true }, ok: }
    topics: { news: , jobs: }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0322]: `mail.fifo` is not a name for a queue
     --> <stdin>:3:37
      |
    3 |   a: { command: [a], queues: [jobs, mail.fifo, a b], topics: [news] }
      |                                     ^^^^^^^^^
      |
      = hint: write `mail: { fifo: true }`: clients see it with `.fifo`

    error[A0322]: `a b` is not a name for a queue
     --> <stdin>:3:48
      |
    3 |   a: { command: [a], queues: [jobs, mail.fifo, a b], topics: [news] }
      |                                                ^^^
      |
      = hint: use letters, digits, `-` and `_`, at most 80

    error[A0323]: `a` and `b` both have a queue `jobs`
     --> <stdin>:6:15
      |
    6 |     queues: { jobs: { fifo: true }, ok: }
      |               ^^^^ the second
      |
     ::: <stdin>:3:31
      |
    3 |   a: { command: [a], queues: [jobs, mail.fifo, a b], topics: [news] }
      |                               ---- the first
      |
      = hint: rename one of them: a queue has one owner, which names the others under `allow`

    error[A0323]: `a` and `b` both have a topic `news`
     --> <stdin>:7:15
      |
    7 |     topics: { news: , jobs: }
      |               ^^^^ the second
      |
     ::: <stdin>:3:63
      |
    3 |   a: { command: [a], queues: [jobs, mail.fifo, a b], topics: [news] }
      |                                                               ---- the first
      |
      = hint: rename one of them: a topic has one owner, which names the others under `allow`
    "#);
}

#[test]
fn a_topic_that_is_nowhere_says_which_one_was_meant() {
    let text = "
services:
  orders: { command: [o], topics: [order-placed] }
  sleepy: { command: [s], topics: [dreams], profiles: [night] }
  settlement:
    command: [s]
    queues:
      a: { from: [orders/order-placd, order-placed, ordrs/order-placed, sleepy/dreams] }
      b: { from: [orders/order-placed, { topic: orders/order-placed, raw: true }, x/y/z] }
      c: { from: orders/order-placed, fifo: true }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0324]: `a` takes from `orders/order-placd`, and `orders` has no such topic
     --> <stdin>:8:19
      |
    8 |       a: { from: [orders/order-placd, order-placed, ordrs/order-placed, sleepy/dreams] }
      |                   ^^^^^^^^^^^^^^^^^^
      |
      = hint: did you mean `orders/order-placed`?

    error[A0324]: `a` takes from `order-placed`, and `settlement` has no such topic
     --> <stdin>:8:39
      |
    8 |       a: { from: [orders/order-placd, order-placed, ordrs/order-placed, sleepy/dreams] }
      |                                       ^^^^^^^^^^^^
      |
      = hint: did you mean `orders/order-placed`?

    error[A0324]: `a` takes from `ordrs/order-placed`, and `ordrs` is no service of this app
     --> <stdin>:8:53
      |
    8 |       a: { from: [orders/order-placd, order-placed, ordrs/order-placed, sleepy/dreams] }
      |                                                     ^^^^^^^^^^^^^^^^^^
      |
      = hint: did you mean `orders`?

    warning[A0324]: `a` takes from `sleepy/dreams`, and `sleepy` is in a profile that is not active
     --> <stdin>:8:73
      |
    8 |       a: { from: [orders/order-placd, order-placed, ordrs/order-placed, sleepy/dreams] }
      |                                                                         ^^^^^^^^^^^^^ gone on as if this were not written
      |
      = hint: enable it with `--profile night`

    error[A0203]: `b` takes from `orders/order-placed` twice
     --> <stdin>:9:49
      |
    9 |       b: { from: [orders/order-placed, { topic: orders/order-placed, raw: true }, x/y/z] }
      |                                                 ^^^^^^^^^^^^^^^^^^^
      |
      = hint: write it once; one filter may let several kinds through

    error[A0324]: `b` takes from `x/y/z`, and `x` is no service of this app
     --> <stdin>:9:83
      |
    9 |       b: { from: [orders/order-placed, { topic: orders/order-placed, raw: true }, x/y/z] }
      |                                                                                   ^^^^^
      |
      = hint: write the service, or take the name out

    error[A0325]: `c` keeps order, and `orders/order-placed` does not
      --> <stdin>:10:18
       |
    10 |       c: { from: orders/order-placed, fifo: true }
       |                  ^^^^^^^^^^^^^^^^^^^
       |
       = hint: write `order-placed: { fifo: true }` under `topics`, or take `fifo` out here
    "#);
}

#[test]
fn dead_letters_that_go_nowhere_or_round_are_faults() {
    let text = "
services:
  web:
    command: [w]
    queues:
      a: { dead_letter: { to: b } }
      b: { dead_letter: { to: c } }
      c: { dead_letter: { to: web/a } }
      d: { dead_letter: { to: d } }
      e: { dead_letter: { to: other/closed } }
      f: { dead_letter: { to: other/opn } }
      g: { dead_letter: { to: nobody/x } }
      h: { dead_letter: { to: sleepy/x } }
      i: { dead_letter: { to: k }, fifo: true }
      j: { dead_letter: { after: 3 } }
      k: { dead_letter: off }
      l: { dead_letter: { to: other/open } }
      m: { dead_letter: { to: n-dead } }
      n:
  other: { command: [o], queues: { closed: , open: { allow: [web] }, j-dead: } }
  sleepy: { command: [s], queues: [x], profiles: [night] }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0326]: dead letters go round: a → b → c → a
     --> <stdin>:6:25
      |
    6 |       a: { dead_letter: { to: b } }
      |                         ^^^^^^^^^ from `a` to `b`
    7 |       b: { dead_letter: { to: c } }
      |                         --------- from `b` to `c`
    8 |       c: { dead_letter: { to: web/a } }
      |                         ------------- from `c` to `a`
      |
      = hint: let the last of them keep its own: `dead_letter: off`

    error[A0326]: dead letters of `d` go to `d` itself
     --> <stdin>:9:31
      |
    9 |       d: { dead_letter: { to: d } }
      |                               ^
      |
      = hint: leave `to` out: `d-dead` is made

    error[A0326]: `other` does not let `web` send to `closed`
      --> <stdin>:10:31
       |
    10 |       e: { dead_letter: { to: other/closed } }
       |                               ^^^^^^^^^^^^
       |
       = hint: write `allow: { web: [send] }` under the queue `closed`

    error[A0326]: dead letters of `f` go to `other/opn`, and `other` has no such queue
      --> <stdin>:11:31
       |
    11 |       f: { dead_letter: { to: other/opn } }
       |                               ^^^^^^^^^
       |
       = hint: did you mean `other/open`?

    error[A0326]: dead letters of `g` go to `nobody/x`, and `nobody` is no service of this app
      --> <stdin>:12:31
       |
    12 |       g: { dead_letter: { to: nobody/x } }
       |                               ^^^^^^^^
       |
       = hint: write the service, or take the name out

    error[A0326]: dead letters of `h` go to `sleepy/x`, and `sleepy` is in a profile that is not active
      --> <stdin>:13:31
       |
    13 |       h: { dead_letter: { to: sleepy/x } }
       |                               ^^^^^^^^
       |
       = hint: enable it with `--profile night`

    error[A0325]: `i` keeps order, and `k` does not
      --> <stdin>:14:31
       |
    14 |       i: { dead_letter: { to: k }, fifo: true }
       |                               ^ dead letters of `i`
       |
       = hint: give both `fifo`, or none

    error[A0323]: dead letters of `j` would go to `j-dead`, which is `other`'s
      --> <stdin>:15:12
       |
    15 |       j: { dead_letter: { after: 3 } }
       |            ^^^^^^^^^^^
       |
      ::: <stdin>:20:70
       |
    20 |   other: { command: [o], queues: { closed: , open: { allow: [web] }, j-dead: } }
       |                                                                      ------ the other queue
       |
       = hint: name it: `dead_letter: { to: other/j-dead }`, or rename one

    error[A0326]: dead letters of `m` go to `n-dead`, and `web` has no such queue
      --> <stdin>:18:31
       |
    18 |       m: { dead_letter: { to: n-dead } }
       |                               ^^^^^^
       |
       = hint: a queue that several share is written: `queues: { n-dead: }` under `web`
    "#);
}

#[test]
fn who_is_nobody_cannot_be_allowed_and_who_ends_cannot_be_delivered_to() {
    let text = "
services:
  web:
    command: [w]
    queues: { jobs: { allow: { othr: send, sleepy: receive, other: sned } } }
    topics: { news: { allow: [othr, sleepy] } }
    depends_on: { migrate: { condition: service_completed_successfully } }
  migrate: { command: [m], queues: { steps: { deliver: POST /steps } } }
  other: { command: [o] }
  sleepy: { command: [s], profiles: [night] }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0328]: `jobs` allows `othr`, which is no service of this app
     --> <stdin>:5:32
      |
    5 |     queues: { jobs: { allow: { othr: send, sleepy: receive, other: sned } } }
      |                                ^^^^
      |
      = hint: did you mean `other`?

    error[A0203]: `sned` is not a permission on a queue
     --> <stdin>:5:68
      |
    5 |     queues: { jobs: { allow: { othr: send, sleepy: receive, other: sned } } }
      |                                                                    ^^^^
      |
      = hint: did you mean `send`?

    error[A0328]: `news` allows `othr`, which is no service of this app
     --> <stdin>:6:31
      |
    6 |     topics: { news: { allow: [othr, sleepy] } }
      |                               ^^^^
      |
      = hint: did you mean `other`?

    error[A0327]: `migrate` runs to its end, and cannot be delivered to
     --> <stdin>:8:56
      |
    8 |   migrate: { command: [m], queues: { steps: { deliver: POST /steps } } }
      |                                                        ^^^^^^^^^^^ another service waits for it to end
      |
      = hint: deliver to a service that stays, or let this one fetch with an SDK
    "#);
}

#[test]
fn names_too_long_for_clients_are_faults() {
    let (q76, q80) = ("q".repeat(76), "q".repeat(80));
    let text = format!(
        "services:\n  web:\n    command: [w]\n    queues:\n      {q76}: {{ fifo: true }}\n      {q76}x:\n      {q80}: {{ dead_letter: off }}\n"
    );
    insta::assert_snapshot!(titles(&text), @r#"
    5:7 A0322 `qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq…` is not a name for a queue
    6:7 A0322 `qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq…`, for the dead letters of `qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq…`, is too long a name
    "#);
}

#[test]
fn the_port_of_queues_is_nobody_elses() {
    let text = "
services:
  web: { command: [w], port: 4566, queues: [jobs], routes: [/] }
gateway: { listen: 4566 }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0310]: `web` wants port 4566, which the gateway has
     --> <stdin>:3:30
      |
    3 |   web: { command: [w], port: 4566, queues: [jobs], routes: [/] }
      |                              ^^^^
    4 | gateway: { listen: 4566 }
      |                    ---- the gateway listens here
      |
      = hint: leave `port` out: Atoll picks one, and the gateway finds it

    error[A0310]: `web` wants port 4566, where queues and topics are served
     --> <stdin>:3:30
      |
    3 |   web: { command: [w], port: 4566, queues: [jobs], routes: [/] }
      |                              ^^^^
      |
      = hint: leave `port` out: Atoll picks one; or move them with `pipes.listen`

    error[A0310]: the gateway and `pipes` both want port 4566
     --> <stdin>:4:20
      |
    4 | gateway: { listen: 4566 }
      |                    ^^^^
      |
      = hint: give one of them another port
    "#);
    insta::assert_snapshot!(titles("services: { web: { command: [w], routes: [/] } }\npipes: { listen: 8080, access: allow, engine: rocks }\n"), @r#"
    2:18 A0310 the gateway and `pipes` both want port 8080
    2:32 A0203 `allow` is not an access mode
    2:47 A0203 `rocks` is not a storage engine
    "#);
    insta::assert_snapshot!(titles("services: { web: { command: [w] } }\npipes: { listen: nowhere, port: 1 }\n"), @r#"
    2:18 A0203 `nowhere` is not an address to listen on
    2:27 A0201 a pipes section has no key `port`
    "#);
}

#[test]
fn an_override_changes_one_setting_of_a_queue() {
    let dir = tempfile::tempdir().unwrap();
    let base = "services:
  a:
    command: [a]
    topics: [t, u]
    queues: { q: { from: [t, u], visibility: 1m, dead_letter: 3, deliver: /x, allow: [b] }, r: }
  b: { command: [b] }
  c: { command: [c] }
pipes: { listen: 1, access: enforce }";
    let over = "services:
  a:
    topics: { u: { fifo: true }, v: }
    queues: { q: { from: u, dead_letter: { after: 4 }, deliver: { to: /y, batch: 2 }, allow: { c: receive } } }
pipes: { listen: 2 }";
    std::fs::write(dir.path().join("atoll.yaml"), base).unwrap();
    std::fs::write(dir.path().join("over.yaml"), over).unwrap();
    let request = crate::Request {
        working_dir: dir.path().to_owned(),
        files: vec!["atoll.yaml".into(), "over.yaml".into()],
        ..crate::Request::default()
    };
    let loaded = crate::load(&request);
    let app =
        loaded.app.unwrap_or_else(|| panic!("{}", crate::report(&loaded.faults, &loaded.sources, false)));
    let q = &app.pipes.queues[&pipe("q")];
    assert_eq!(q.from.iter().map(|from| from.topic.as_str()).collect::<Vec<_>>(), ["u"]);
    assert_eq!((q.visibility, q.dead_letter.as_ref().unwrap().after), (seconds(60), 4));
    assert_eq!(q.deliver.as_ref().map(|deliver| (deliver.path.as_str(), deliver.batch)), Some(("/y", 2)));
    assert_eq!(q.allow.keys().map(ServiceName::as_str).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(app.topics().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["t", "u", "v"]);
    assert_eq!((app.pipes.listen.unwrap().port(), app.pipes.access), (2, Access::Enforce));
}

#[test]
fn an_included_file_brings_its_queues_and_says_where_they_are_unless_the_app_does() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("part.yaml"),
        "services: { b: { command: [b], topics: [t] } }\npipes: { listen: 1, engine: redb }",
    )
    .unwrap();
    let text = "include: [part.yaml]\nservices: { a: { command: [a], queues: { q: { from: b/t } } } }\npipes: { listen: 2 }";
    std::fs::write(dir.path().join("atoll.yaml"), text).unwrap();
    let loaded =
        crate::load(&crate::Request { working_dir: dir.path().to_owned(), ..crate::Request::default() });
    let pipes = loaded.app.unwrap().pipes;
    assert_eq!((pipes.listen.unwrap().port(), pipes.engine), (2, Engine::Redb));
    assert_eq!(pipes.queues[&pipe("q")].from[0].topic, pipe("t"));
}

#[test]
fn keys_of_queues_may_stand_below_x_atoll() {
    let app = app("services: { web: { command: [w], x-atoll: { queues: [jobs], topics: [news] } } }");
    assert_eq!((app.queues().count(), app.topics().count()), (2, 1));
}
