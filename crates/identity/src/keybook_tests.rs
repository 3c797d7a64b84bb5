use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn book(byte: u8, app: &str) -> KeyBook {
    KeyBook::new(&NodeSecret::new([byte; 32]), app)
}

fn allow() -> Vec<Grant> {
    vec!["jobs:send".parse().unwrap()]
}

fn orders() -> Principal {
    Principal::Service("orders".into())
}

fn find(book: &KeyBook, credentials: &Credentials, now: Timestamp) -> Result<Principal, KeyError> {
    let token = credentials.session_token.as_ref().map(SessionToken::expose);
    let found = book.find(credentials.access_key.as_str(), token, now)?;
    assert!(found.secret.is_same(&credentials.secret));
    Ok(found.principal)
}

#[test]
fn credentials_of_a_service_are_its_own_and_survive_a_restart() {
    let credentials = book(1, "shop").declare(&orders());
    let again = book(1, "shop").declare(&orders());
    assert_eq!(credentials.access_key, again.access_key);
    assert!(credentials.secret.is_same(&again.secret));
    assert_eq!(credentials.secret.expose().len(), 40);
    for (byte, app, other) in [
        (2, "shop", orders()),
        (1, "bank", orders()),
        (1, "shop", Principal::Function("orders".into())),
        (1, "shop", Principal::Key("orders".into())),
        (1, "shop", Principal::Service("order".into())),
    ] {
        let other = book(byte, app).declare(&other);
        assert_ne!(credentials.access_key, other.access_key);
        assert!(!credentials.secret.is_same(&other.secret));
    }
}

#[test]
fn who_was_not_let_in_or_no_longer_is_is_not_known() {
    let (ours, others) = (book(1, "shop"), book(1, "shop"));
    let credentials = others.declare(&orders());
    assert_eq!(find(&ours, &credentials, NOW), Err(KeyError::Unknown));
    ours.declare(&orders());
    assert_eq!(find(&ours, &credentials, NOW), Ok(orders()));
    assert_eq!(
        ours.find(credentials.access_key.as_str(), Some("token"), NOW).unwrap_err(),
        KeyError::Unknown
    );
    ours.withdraw(&orders());
    assert_eq!(find(&ours, &credentials, NOW), Err(KeyError::Unknown));
    assert_eq!(ours.find("AKIDEXAMPLE", None, NOW).unwrap_err(), KeyError::Unknown);
}

#[test]
fn a_session_ends_with_its_time_and_with_its_principal() {
    let ours = book(1, "shop");
    assert_eq!(ours.session(&orders(), NOW, HOUR).unwrap_err(), BookError::NotDeclared(orders()));
    ours.declare(&orders());
    for lifetime in [Duration::ZERO, KeyBook::MOST_SESSION + HOUR] {
        assert_eq!(ours.session(&orders(), NOW, lifetime).unwrap_err(), BookError::BadLifetime);
    }
    let session = ours.session(&orders(), NOW, HOUR).unwrap();
    assert!(session.access_key.is_session());
    assert_eq!(find(&ours, &session, NOW), Ok(orders()));
    assert_eq!(find(&ours, &session, NOW + HOUR), Err(KeyError::Expired));
    let other = ours.session(&orders(), NOW, HOUR).unwrap();
    assert_ne!(session.access_key, other.access_key);
    assert!(!session.secret.is_same(&other.secret));
    let mixed = Credentials { access_key: other.access_key, ..session.clone() };
    assert_eq!(find(&ours, &mixed, NOW), Err(KeyError::Unknown));
    assert_eq!(ours.find(session.access_key.as_str(), None, NOW).unwrap_err(), KeyError::Unknown);

    // A restart changes nothing; another app or node has not made it.
    for (byte, app, said) in
        [(1, "shop", Ok(orders())), (1, "bank", Err(KeyError::Unknown)), (2, "shop", Err(KeyError::Unknown))]
    {
        let other = book(byte, app);
        other.declare(&orders());
        assert_eq!(find(&other, &session, NOW), said);
    }
    ours.withdraw(&orders());
    assert_eq!(find(&ours, &session, NOW), Err(KeyError::Unknown));
}

#[test]
fn a_key_for_the_outside_is_stored_sealed_and_can_be_revoked() {
    let ours = book(1, "shop");
    let until = NOW + HOUR;
    let (record, credentials) = ours.create_key("ci@work", allow(), NOW, Some(until)).unwrap();
    let key = Principal::Key("ci@work".into());
    assert_eq!(find(&ours, &credentials, NOW), Ok(key.clone()));
    assert_eq!(find(&ours, &credentials, until), Err(KeyError::Expired));

    let text = serde_json::to_string(&record).unwrap();
    assert!(!text.contains(credentials.secret.expose()));
    let read: KeyRecord = serde_json::from_str(&text).unwrap();
    let restarted = book(1, "shop");
    restarted.load_key(&read).unwrap();
    restarted.load_key(&read).unwrap(); // again says the same
    assert_eq!(find(&restarted, &credentials, NOW), Ok(key));

    assert_eq!(*restarted.allowed("ci@work").unwrap(), *allow());
    assert_eq!(restarted.allowed("other"), None);
    for allow in [vec![], vec![allow()[0].clone(); 101]] {
        assert_eq!(ours.create_key("other", allow, NOW, None).unwrap_err(), BookError::BadGrants);
    }

    assert!(restarted.revoke_key("ci@work"));
    assert_eq!(restarted.allowed("ci@work"), None);
    assert!(!restarted.revoke_key("ci@work"));
    assert_eq!(find(&restarted, &credentials, NOW), Err(KeyError::Unknown));
    assert_eq!(
        ours.create_key("ci@work", allow(), NOW, None).unwrap_err(),
        BookError::NameTaken("ci@work".into())
    );
    for bad in ["", "a b", "ä", &"n".repeat(129)] {
        assert!(matches!(ours.create_key(bad, allow(), NOW, None), Err(BookError::BadName(_))), "{bad}");
    }
}

#[test]
fn a_record_that_was_changed_is_of_no_use() {
    type Harm = fn(&mut KeyRecord);
    let harms: [Harm; 9] = [
        |record| record.name = "root".into(),
        |record| record.expires = None,
        |record| record.allow = vec!["*:*".parse().unwrap()],
        |record| record.allow.clear(),
        |record| record.expires = Some(NOW + HOUR * 2),
        |record| record.created = NOW + HOUR,
        |record| record.access_key = "AKIA234567ABCDEFGHIJ".into(),
        |record| {
            let other = if record.sealed.as_bytes()[20] == b'_' { "-" } else { "_" };
            record.sealed.replace_range(20..21, other);
        },
        |record| record.sealed.truncate(10),
    ];
    for harm in harms {
        let (mut record, _) = book(1, "shop").create_key("ci", allow(), NOW, Some(NOW + HOUR)).unwrap();
        let untouched = record.clone();
        harm(&mut record);
        assert_ne!(record, untouched);
        assert_eq!(book(1, "shop").load_key(&record), Err(BookError::Sealed(record.name.clone())));
    }
    let (record, _) = book(1, "shop").create_key("ci", allow(), NOW, None).unwrap();
    for (byte, app) in [(2, "shop"), (1, "bank")] {
        assert_eq!(book(byte, app).load_key(&record), Err(BookError::Sealed("ci".into())));
    }
}

proptest! {
    #[test]
    fn no_token_that_was_changed_opens(at in 0_usize..100, by in 1_u8..64, cut in any::<bool>()) {
        let ours = book(1, "shop");
        ours.declare(&orders());
        let mut session = ours.session(&orders(), NOW, HOUR).unwrap();
        prop_assert_eq!(find(&ours, &session, NOW), Ok(orders()));
        let SessionToken(token) = session.session_token.clone().unwrap();
        let mut token = from_base64_url(&token).unwrap();
        let at = at % token.len();
        if cut { token.remove(at); } else { token[at] ^= by; }
        session.session_token = Some(SessionToken(base64_url(&token)));
        prop_assert_eq!(find(&ours, &session, NOW), Err(KeyError::Unknown));
    }

    #[test]
    fn no_token_makes_it_panic(key in "(ASIA|AKIA)[A-Z0-9]{16}|.*", token in ".*|[A-Za-z0-9_-]{0,200}") {
        let ours = book(1, "shop");
        ours.declare(&orders());
        prop_assert!(ours.find(&key, Some(&token), NOW).is_err());
    }
}

#[test]
fn a_token_to_ask_for_sessions_with_is_of_one_principal_and_this_app() {
    let ours = book(1, "shop");
    let token = ours.lending_token(&orders());
    assert_eq!(ours.lent_to(&token, NOW), None, "nobody let them in");
    ours.declare(&orders());
    assert_eq!(ours.lent_to(&token, NOW), Some(orders()));
    assert_eq!(book(1, "shop").lending_token(&orders()), token, "the same after every start");
    for other in [book(2, "shop"), book(1, "bank")] {
        other.declare(&orders());
        assert_eq!(other.lent_to(&token, NOW), None);
    }
    let session = ours.session(&orders(), NOW, HOUR).unwrap();
    assert_eq!(
        ours.lent_to(session.session_token.unwrap().expose(), NOW),
        None,
        "a session is no such token"
    );
    for bad in ["", "x", &token[1..], &format!("{token}A"), &"A".repeat(2000)] {
        assert_eq!(ours.lent_to(bad, NOW), None, "{bad}");
    }
    ours.withdraw(&orders());
    assert_eq!(ours.lent_to(&token, NOW), None);
}

#[test]
fn a_service_that_is_gone_keeps_its_credentials_for_a_while() {
    let ours = book(1, "shop");
    let (credentials, payments) = (ours.declare(&orders()), Principal::Service("payments".into()));
    let stays = ours.declare(&payments);
    let (_, outside) = ours.create_key("ci", allow(), NOW, None).unwrap();
    let (session, token) = (ours.session(&orders(), NOW, HOUR).unwrap(), ours.lending_token(&orders()));
    let grace = Duration::from_secs(600);
    let (before, end) = (NOW + grace - Duration::from_secs(1), NOW + grace);
    for later in [0, 60] {
        let now = NOW + Duration::from_secs(later);
        ours.keep_services(|name| name == "payments", now, grace);
    }
    for good in [&credentials, &session] {
        assert_eq!(find(&ours, good, before), Ok(orders()), "it may come to its end");
        assert!(find(&ours, good, end).is_err());
    }
    assert_eq!((ours.lent_to(&token, before), ours.lent_to(&token, end)), (Some(orders()), None));
    assert!(ours.session(&orders(), end, HOUR).is_err());
    assert_eq!(find(&ours, &stays, end + HOUR), Ok(payments));
    assert_eq!(find(&ours, &outside, end + HOUR), Ok(Principal::Key("ci".into())));
    // Back in time, it is there for good; else it is forgotten, and can be let in anew.
    ours.keep_services(|_| true, before, grace);
    assert_eq!(find(&ours, &credentials, end + HOUR), Ok(orders()));
    ours.keep_services(|name| name == "payments", NOW, grace);
    ours.keep_services(|name| name == "payments", end, grace);
    assert_eq!(find(&ours, &credentials, before), Err(KeyError::Unknown));
    ours.declare(&orders());
    assert_eq!(find(&ours, &credentials, end), Ok(orders()));
}
