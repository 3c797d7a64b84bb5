//! Topics of a running app, as `atoll topic` sees and fills them.

use crate::queues::until;
use crate::world::World;

pub(crate) const APP: &str = r#"
pipes: { listen: "127.0.0.1:0" }
services:
  orders:
    command: [ECHO]
    topics: { order-placed: {}, steps: { fifo: true } }
  settlement:
    command: [ECHO]
    queues:
      settle: { from: orders/order-placed }
      large: { from: { topic: orders/order-placed, raw: true, filter: { total: [{ numeric: [">=", 100] }] } } }
      steps-taken: { fifo: true, from: orders/steps }
"#;

fn json(world: &World, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&world.ok(&[arguments, &["--format", "json"]].concat())).unwrap()
}

fn bodies(world: &World, queue: &str) -> Vec<String> {
    let messages = json(world, &["queue", "peek", queue]);
    messages.as_array().unwrap().iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_published_reaches_the_queues_that_want_it() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let listed = world.ok(&["topic", "ls"]);
    assert!(listed.contains("order-placed  orders  standard           2"), "{listed}");
    world.ok(&["topic", "publish", "order-placed", "small", "-a", "total:Number=99"]);
    let subject = ["--subject", "an order", "-a", "total:Number=100", "-a", "kind=test"];
    world.ok(&[&["topic", "publish", "order-placed", "large one"], &subject[..]].concat());

    assert_eq!(bodies(&world, "large"), ["large one"]);
    let message = &json(&world, &["queue", "peek", "large"])[0];
    assert_eq!(
        (&message["attributes"]["kind"], &message["attributes"]["total"]),
        (&"test".into(), &"100".into())
    );
    let settle = bodies(&world, "settle");
    assert_eq!(settle.len(), 2);
    let envelope: serde_json::Value = serde_json::from_str(&settle[1]).unwrap();
    assert_eq!((&envelope["Message"], &envelope["Subject"]), (&"large one".into(), &"an order".into()));

    let shown = world.ok(&["topic", "show", "order-placed"]);
    assert!(
        shown.contains("sqs large") && shown.contains("the file") && shown.contains("numeric"),
        "{shown}"
    );
    let detail: api::TopicDetail =
        serde_json::from_value(json(&world, &["topic", "show", "order-placed"])).unwrap();
    assert_eq!(detail.topic.owner.as_deref(), Some("orders"));
    let mut endpoints: Vec<_> = detail
        .subscriptions
        .iter()
        .map(|one| (one.endpoint.as_str(), one.raw, one.filter.is_some(), one.waiting))
        .collect();
    endpoints.sort_unstable();
    assert_eq!(endpoints, [("large", true, true, None), ("settle", false, false, None)]);
    world.ok(&["down"]);
}

#[test]
fn what_a_topic_does_not_take_is_refused_by_name_and_order_is_kept() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    for arguments in [&["topic", "show", "nothing"][..], &["topic", "publish", "nothing", "x"]] {
        let unknown = world.fails(1, arguments);
        assert!(unknown.contains("A0695") && unknown.contains("atoll topic ls"), "{unknown}");
    }
    for (arguments, why) in [
        (&["order-placed", ""][..], "empty"),
        (&["order-placed", "x", "-a", "n:Number=five"], "no number"),
        (&["order-placed", "x", "--subject", "a\nb"], "subject"),
        (&["order-placed", "x", "--dedup", "1"], "keep order"),
        (&["steps.fifo", "x"], "needs a group"),
    ] {
        let refused = world.fails(1, &[&["topic", "publish"], arguments].concat());
        assert!(refused.contains("A0696") && refused.contains(why), "{arguments:?}: {refused}");
    }
    let publish = |body: &str, id: &str| {
        world.ok(&["topic", "publish", "steps.fifo", body, "--group", "g", "--dedup", id])
    };
    let told = ["a", "b", "a"].map(|body| publish(body, body));
    let id = told[0].trim();
    assert_eq!((told[1].trim() == id, told[2].trim()), (false, format!("{id} (published before)").as_str()));
    let messages: Vec<serde_json::Value> = bodies(&world, "steps-taken.fifo")
        .iter()
        .map(|body| serde_json::from_str::<serde_json::Value>(body).unwrap()["Message"].clone())
        .collect();
    assert_eq!(messages, ["a", "b"]);
    world.ok(&["down"]);
}

#[test]
fn an_address_that_has_not_answered_is_told_with_what_waits_for_it() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    // Nobody listens there: the question waits to be asked again.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    drop(held);
    let body = format!(
        "Action=Subscribe&Version=2010-03-31&TopicArn=arn:aws:sns:us-east-1:000000000000:order-placed&Protocol=http&Endpoint=http://{address}/hook&ReturnSubscriptionArn=true"
    );
    let pipes = world.status().unwrap().pipes.unwrap().replace("http://", "");
    let answer = crate::queues::post(&pipes, "/", "application/x-www-form-urlencoded", &body);
    assert!(answer.contains("200 OK"), "{answer}");
    let shown = || -> api::TopicDetail {
        serde_json::from_value(json(&world, &["topic", "show", "order-placed"])).unwrap()
    };
    until("it is told", || shown().subscriptions.len() == 3);
    let detail = shown();
    let hook = detail.subscriptions.iter().find(|one| one.protocol == "http").unwrap();
    assert_eq!((hook.pending, hook.waiting), (true, Some(1)));
    assert_eq!(hook.delivery.as_ref().map(|policy| policy.of.as_str()), Some("default"));
    assert_eq!((detail.topic.confirmed, detail.topic.pending, detail.topic.waiting), (2, 1, 1));
    let text = world.ok(&["topic", "show", "order-placed"]);
    assert!(text.contains("not confirmed") && text.contains("to deliver     1, the oldest for"), "{text}");
    world.ok(&["down"]);
}

#[test]
fn an_address_with_tls_is_served_and_why_it_refuses_is_told() {
    let world = World::new("");
    let file = format!(
        "name: world\nconsole: 0\ngateway: {{ tls: development, listen: [{{ address: \"127.0.0.1:0\", tls: true }}] }}\n\
         pipes: {{ listen: \"127.0.0.1:0\" }}\nservices:\n  hook:\n    command: [{}]\n    routes: [POST /note/heard]\n    \
         topics: [order-placed]\n",
        crate::world::echo().display()
    );
    std::fs::write(world.path().join("atoll.yaml"), file).unwrap();
    world.ok(&["up", "-d", "--wait"]);
    let authority = world.ok(&["trust", "--print"]).trim_end().to_owned();
    world.ok(&["down"]);
    // A node that trusts what only this test trusts.
    let up = world.command(&["up", "-d", "--wait"]).env("SSL_CERT_FILE", authority).status();
    assert!(up.unwrap().success());
    let status = world.status().unwrap();
    let port = status.gateway[0].rsplit(':').next().unwrap().to_owned();
    let pipes = status.pipes.unwrap().replace("http://", "");
    let body = format!(
        "Action=Subscribe&Version=2010-03-31&TopicArn=arn:aws:sns:us-east-1:000000000000:order-placed&Protocol=https&Endpoint=https://localhost:{port}/note/heard&ReturnSubscriptionArn=true"
    );
    let answer = crate::queues::post(&pipes, "/", "application/x-www-form-urlencoded", &body);
    assert!(answer.contains("200 OK"), "{answer}");
    let heard = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(world.path().join("heard")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    until("the question has come", || heard().len() == 1);
    let url = heard()[0]["SubscribeURL"].as_str().unwrap().to_owned();
    let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    assert_eq!(crate::world::get(address, &format!("/{path}")).status, 200);
    world.ok(&["topic", "publish", "order-placed", "order 7"]);
    until("the message has come", || heard().get(1).is_some_and(|told| told["Message"] == "order 7"));

    std::fs::write(world.path().join("heard.refuse"), "").unwrap();
    world.ok(&["topic", "publish", "order-placed", "order 8"]);
    let shown = || -> api::Delivered {
        let detail: api::TopicDetail =
            serde_json::from_value(json(&world, &["topic", "show", "order-placed"])).unwrap();
        detail.subscriptions[0].delivered.clone().unwrap()
    };
    until("it is told that it was refused", || shown().failed > 0);
    let api::Delivered { taken, given_up, tries, why, .. } = shown();
    assert_eq!((taken, given_up, tries), (2, 0, Some(1)));
    assert!(why.as_deref().is_some_and(|why| why.contains("500")), "{why:?}");
    let text = world.ok(&["topic", "show", "order-placed"]);
    assert!(text.contains("last failure") && text.contains("it answered 500"), "{text}");
    world.ok(&["down"]);
}
