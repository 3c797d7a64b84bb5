//! The example shop as its own file has it: an order is one trace, and is settled once, whoever is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::queues::until;
use crate::world::{World, kill};

/// The services of the shop, each as its own test builds it.
const SERVICES: [&str; 7] =
    ["storefront", "catalog", "orders", "payments", "recommendations", "settlement", "notifications"];
/// From so many cents on the owner is told: as the filter in the file has it.
const LARGE: u64 = 5000;
/// Books, with what they cost.
const BOOKS: [(&str, u64); 3] = [("moby-dick", 1190), ("walden", 850), ("the-atoll-atlas", 18_900)];

struct Shop {
    world: World,
    gateway: String,
}

impl Shop {
    /// The shop with the services of this build; `None` if they are not built.
    fn open() -> Option<Self> {
        let programs = Path::new(env!("CARGO_BIN_EXE_atoll")).parent().unwrap();
        if let Some(missing) = SERVICES.iter().find(|name| !programs.join(name).exists()) {
            assert!(
                std::env::var("ATOLL_CI_ALL").is_err(),
                "`{missing}` is built by `cargo test --workspace`"
            );
            eprintln!(
                "skipped: `{missing}` is built by `cargo test --workspace` or `cargo build -p bookshop`"
            );
            return None;
        }
        let world = World::new("");
        let mut layer = "services:\n".to_owned();
        for name in SERVICES {
            let program = programs.join(name).display().to_string();
            layer += &format!("  {name}: {{ command: [{program}], prepare: !reset null, working_dir: . }}\n");
        }
        fs::write(world.path().join("layer.yaml"), layer).unwrap();
        fs::write(world.path().join(".env"), "BOOKSHOP_DATA=data\n").unwrap();
        let mut shop = Self { world, gateway: String::new() };
        shop.up();
        let gateway = shop.world.status().unwrap().gateway;
        shop.gateway = gateway[0].trim_start_matches("http://").to_owned();
        Some(shop)
    }

    fn up(&self) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bookshop/atoll.yaml");
        self.world.ok(&[
            "-f",
            file,
            "-f",
            "layer.yaml",
            "-p",
            "world",
            "--project-directory",
            ".",
            "--isolated",
            "up",
            "--wait",
        ]);
    }

    /// The lines of a journal of the shop's.
    fn journal(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.world.path().join("data").join(name)).unwrap_or_default();
        // The last one may be on its way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The ids in a journal, each as often as it is there.
    fn ids(&self, name: &str) -> Vec<String> {
        self.journal(name).iter().map(|line| line["order_id"].as_str().unwrap().to_owned()).collect()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.world.ok(&[arguments, &["--format", "json"]].concat())).unwrap()
    }

    /// Whether a queue has nothing, neither waiting nor in flight.
    fn is_empty(&self, queue: &str) -> bool {
        let shown = self.json(&["queue", "show", queue]);
        ["visible", "in_flight", "delayed"].iter().all(|count| shown["queue"][*count] == 0)
    }
}

/// One request; what it was answered, if it was.
fn ask(gateway: &str, head: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let length = body.len();
    write!(
        stream,
        "{head}\r\nhost: {gateway}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok((status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())))
}

/// Places an order; its id, if it was accepted.
fn place(gateway: &str, key: &str, (book, quantity): (&str, u64)) -> Option<String> {
    let head = format!("POST /orders HTTP/1.1\r\ncontent-type: application/json\r\nidempotency-key: {key}");
    let body = format!(r#"{{"book_id":"{book}","quantity":{quantity},"customer":"Ada"}}"#);
    let (status, body) = ask(gateway, &head, &body).ok()?;
    assert!(matches!(status, 201 | 429 | 502..=504), "{status} {body}");
    let order: Value = serde_json::from_str(&body).ok()?;
    (status == 201).then(|| order["order_id"].as_str().unwrap().to_owned())
}

#[test]
fn an_order_is_one_trace_from_the_browser_to_its_settlement() {
    let Some(shop) = Shop::open() else { return };
    std::thread::sleep(Duration::from_secs(1)); // for so long the worker has waited: no part of the trace
    let form = "book_id=the-atoll-atlas&quantity=1&customer=Ada&key=k";
    let head = "POST /shop/orders HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded";
    assert_eq!(ask(&shop.gateway, head, form).unwrap().0, 303);
    until("settled and told", || {
        shop.ids("settlements.jsonl").len() == 1 && shop.ids("notices.jsonl").len() == 1
    });
    let found = std::cell::RefCell::new(Value::Null);
    until("the trace is whole", || {
        let all = shop.json(&["trace", "ls"]);
        let traces = all.as_array().unwrap();
        let ours = traces.iter().find(|trace| trace["operation"] == "POST /shop/orders");
        *found.borrow_mut() = ours.cloned().unwrap_or_default();
        ours.is_some_and(|trace| trace["spans"] == 9)
    });
    let found = found.into_inner();
    assert!(found["duration_us"].as_u64().unwrap() < 900_000, "{found}");
    let shown = shop.world.ok(&["trace", "show", found["trace"].as_str().unwrap()]);
    let depth = |what: &str| {
        let line =
            shown.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}:\n{shown}"));
        (line.len() - line.trim_start().len()) / 2
    };
    for (deep, what) in [
        (0, "storefront  POST /shop/orders"),
        (1, "orders  storefront -> orders"),
        (2, "catalog  orders -> catalog"),
        (2, "payments  orders -> payments"),
        (2, "orders  publish order-placed"),
        (3, "atoll  deliver settle"),
        (4, "settlement  settlement -> settlement"),
        (3, "notifications  receive large-orders"),
        (3, "notifications  delete large-orders"),
    ] {
        assert_eq!(depth(what), deep, "{what}:\n{shown}");
    }
    shop.world.ok(&["down"]);
    shop.world.until_nothing_lives();
}

/// For how long orders are placed while everything is killed.
const STORM: Duration = Duration::from_secs(6);
/// Who places orders at once.
const CUSTOMERS: u64 = 3;

/// Random numbers of a seed (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    /// Those of `ATOLL_SEED`, else of now; and their seed.
    pub(crate) fn of_this_run() -> (Self, u64) {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
        let seed = std::env::var("ATOLL_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
        (Self(seed), seed)
    }

    pub(crate) fn throw(&mut self, sides: u64) -> u64 {
        for shift in [13_i32, -7, 17] {
            self.0 ^= if shift > 0 { self.0 << shift } else { self.0 >> -shift };
        }
        self.0 % sides
    }
}

#[test]
fn every_accepted_order_is_settled_once_whoever_is_killed() {
    let Some(shop) = Shop::open() else { return };
    let (mut dice, seed) = Dice::of_this_run();
    println!("ATOLL_SEED={seed} kills in the same order");
    let (over, began) = (AtomicBool::new(false), Instant::now());
    let step = |what: &str| println!("{what} after {:.1} s", began.elapsed().as_secs_f64());
    let mut killed: BTreeMap<String, u32> = BTreeMap::new();
    let accepted: BTreeMap<String, u64> = std::thread::scope(|scope| {
        let customers: Vec<_> = (0..CUSTOMERS)
            .map(|customer| {
                let (shop, over) = (&shop, &over);
                scope.spawn(move || buy(shop, customer, Dice(seed ^ (customer + 1) << 32), over))
            })
            .collect();
        killed = storm(&shop, &mut dice);
        over.store(true, Ordering::Relaxed);
        customers.into_iter().flat_map(|customer| customer.join().unwrap()).collect()
    });
    step(&format!("{} orders accepted; killed: {killed:?};", accepted.len()));
    assert!(accepted.len() > 20 && killed.contains_key("atoll"), "{} {killed:?}", accepted.len());

    let wanted: BTreeSet<String> = accepted.keys().cloned().collect();
    let large = |id: &&String| accepted.get(*id).is_some_and(|cents| *cents >= LARGE);
    until("settled", || shop.ids("settlements.jsonl").iter().collect::<BTreeSet<_>>().len() >= wanted.len());
    step("all are settled");
    until("told", || {
        let told: BTreeSet<String> = shop.ids("notices.jsonl").into_iter().collect();
        wanted.iter().filter(large).all(|id| told.contains(id))
    });
    step("all are told");
    // What comes again by itself has come by then.
    until("nothing is left to do", || shop.is_empty("settle") && shop.is_empty("large-orders"));
    step("nothing is left to do");

    let settled = shop.journal("settlements.jsonl");
    let once: BTreeSet<String> = shop.ids("settlements.jsonl").into_iter().collect();
    assert_eq!(once.len(), settled.len(), "an order was settled twice");
    assert_eq!(once, wanted, "settled is what was accepted, no more and no less");
    for line in &settled {
        assert_eq!(line["total_cents"], accepted[line["order_id"].as_str().unwrap()], "{line}");
    }
    assert!(shop.ids("notices.jsonl").iter().all(|id| large(&id)), "a small order was told");
    for dead in ["settle-dead", "large-orders-dead"] {
        assert!(shop.is_empty(dead), "{dead}");
    }
    shop.world.ok(&["down"]);
    shop.world.until_nothing_lives();
}

/// Places order after order, each until it is accepted; the ids, with what each costs.
fn buy(shop: &Shop, customer: u64, mut dice: Dice, over: &AtomicBool) -> BTreeMap<String, u64> {
    let mut accepted = BTreeMap::new();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{customer}-{number}");
        let (book, price) = BOOKS[dice.throw(3) as usize];
        let quantity = if price > LARGE { 1 } else { 1 + dice.throw(9) };
        let deadline = Instant::now() + Duration::from_secs(15);
        let id = loop {
            if let Some(id) = place(&shop.gateway, &key, (book, quantity)) {
                break id;
            }
            assert!(Instant::now() < deadline, "order {key} is not accepted");
            std::thread::sleep(Duration::from_millis(20)); // a customer who tries again
        };
        assert_eq!(accepted.insert(id, price * quantity), None, "two keys, one order");
    }
    accepted
}

/// Kills services, and Atoll, at random moments; how often each.
fn storm(shop: &Shop, dice: &mut Dice) -> BTreeMap<String, u32> {
    let mut killed = BTreeMap::new();
    let end = Instant::now() + STORM;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50 + dice.throw(250)));
        let victims = ["atoll", "orders", "settlement", "settlement", "notifications", "payments", "catalog"];
        let victim = victims[dice.throw(victims.len() as u64) as usize];
        if victim == "atoll" {
            kill(shop.world.node_pid(), "KILL");
            shop.up();
        } else {
            let pids = shop.world.pids();
            let instance = pids.iter().find(|(name, _)| name.starts_with(victim));
            let Some((_, pid)) = instance else { continue }; // it is being started again
            kill(*pid, "KILL");
        }
        *killed.entry(victim.to_owned()).or_default() += 1;
    }
    killed
}
