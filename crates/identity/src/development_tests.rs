use super::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// 2026-01-01.
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

fn open(directory: &Path) -> DevelopmentAuthority {
    DevelopmentAuthority::open(directory, NOW).unwrap()
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// What a client says that trusts the authority and asks for `name`.
fn client(authority: &str, issued: &str, name: &str, now: Timestamp) -> Result<(), String> {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let leaf = CertificateDer::from_pem_slice(issued.as_bytes()).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_micros(now.as_micros()));
    verifier.verify_server_cert(&leaf, &[], &name, &[], now).map(|_| ()).map_err(|error| format!("{error:?}"))
}

#[test]
fn what_it_issues_is_believed_by_whoever_trusts_it_for_these_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let authority = open(dir.path());
    let issued =
        authority.issue(&names(&["shop.localhost", "*.shop.test", "127.0.0.1", "::1"]), NOW).unwrap();
    for name in ["shop.localhost", "a.shop.test", "127.0.0.1", "::1"] {
        assert_eq!(client(authority.pem(), &issued.chain, name, NOW), Ok(()), "{name}");
    }
    for name in ["localhost", "a.b.shop.test", "shop.test", "127.0.0.2"] {
        assert!(client(authority.pem(), &issued.chain, name, NOW).is_err(), "{name}");
    }
}

#[test]
fn a_stolen_authority_is_not_believed_for_a_public_name() {
    let dir = tempfile::tempdir().unwrap();
    let authority = open(dir.path());
    // Past the type that keeps such names out.
    for name in [Name::Dns("bank.com".into()), Name::Ip("8.8.8.8".parse().unwrap())] {
        let issued = authority.issue(std::slice::from_ref(&name), NOW).unwrap();
        let said = client(authority.pem(), &issued.chain, &name.to_string(), NOW).unwrap_err();
        assert!(said.contains("NameConstraintViolation"), "{said}");
    }
}

#[test]
fn what_it_issues_is_valid_for_ninety_days_and_renewed_before() {
    let dir = tempfile::tempdir().unwrap();
    let authority = open(dir.path());
    let issued = authority.issue(&names(&["localhost"]), NOW).unwrap();
    let at = |days: u64| {
        client(authority.pem(), &issued.chain, "localhost", NOW + Duration::from_secs(days * DAY))
    };
    assert_eq!(at(89), Ok(()));
    assert!(at(91).unwrap_err().contains("Expired"));
    assert_eq!(issued.renew_at, NOW + Duration::from_secs(60 * DAY));
    // A machine whose clock is behind by some minutes takes it, too.
    assert_eq!(client(authority.pem(), &issued.chain, "localhost", NOW - Duration::from_secs(600)), Ok(()));
}

#[test]
fn it_is_made_once_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("atoll/ca");
    let first = open(&place);
    let again = open(&place);
    assert_eq!(first.pem(), again.pem());
    assert_eq!(first.fingerprint(), again.fingerprint());
    assert_eq!(first.fingerprint().len(), 32 * 3 - 1);
    let issued = again.issue(&names(&["localhost"]), NOW).unwrap();
    assert_eq!(client(first.pem(), &issued.chain, "localhost", NOW), Ok(()));
    let mode = |name: &str| fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(CERTIFICATE), mode(KEY)), (0o644, 0o600));
}

#[test]
fn many_that_start_at_once_use_the_same_one() {
    let dir = tempfile::tempdir().unwrap();
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(dir.path()).pem)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_making_that_was_interrupted_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    fs::remove_file(dir.path().join(CERTIFICATE)).unwrap(); // the key alone: as after a crash in between
    let second = open(dir.path());
    assert_ne!(first.pem(), second.pem());
    second.issue(&names(&["localhost"]), NOW).unwrap();
}

#[test]
fn files_that_are_not_what_was_written_are_named_with_what_to_do() {
    type Harm = fn(&Path);
    let harms: [(Harm, &str, &str); 6] = [
        (|dir| fs::write(dir.join(CERTIFICATE), "").unwrap(), "ca.pem", "it is not a certificate in PEM"),
        (|dir| fs::write(dir.join(KEY), "rubbish").unwrap(), "ca-key.pem", "it is not a private key in PEM"),
        (|dir| fs::remove_file(dir.join(KEY)).unwrap(), "ca-key.pem", "it is not there"),
        (|dir| fs::write(dir.join(CERTIFICATE), [0xff; 9]).unwrap(), "ca.pem", "it is not text"),
        (
            |dir| {
                let other = tempfile::tempdir().unwrap();
                open(other.path());
                fs::copy(other.path().join(KEY), dir.join(KEY)).unwrap();
            },
            "ca-key.pem",
            "it is not the key of `ca.pem`",
        ),
        (
            |dir| fs::set_permissions(dir.join(KEY), fs::Permissions::from_mode(0o644)).unwrap(),
            "ca-key.pem",
            "can be read by others (mode 644)",
        ),
    ];
    for (harm, file, why) in harms {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path());
        harm(dir.path());
        let error = DevelopmentAuthority::open(dir.path(), NOW).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(file) && said.contains(why), "{said}");
        assert_eq!(error.help().code.as_str(), "A0644");
        assert!(error.help().hint.is_some());
    }
}

#[test]
fn an_authority_whose_time_is_over_says_so() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path());
    let later = NOW + LIFETIME;
    let error = DevelopmentAuthority::open(dir.path(), later).unwrap_err();
    assert!(matches!(error, OpenError::Expired { .. }), "{error}");
}

#[test]
fn it_lives_where_the_data_of_the_user_does() {
    let with = |set: &[(&str, &str)]| {
        let set: Vec<(String, String)> = set.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        usual_directory(|name| set.iter().find(|(k, _)| k == name).map(|(_, v)| v.into()))
    };
    assert_eq!(with(&[]), None);
    assert_eq!(with(&[("HOME", "/home/ada")]), Some("/home/ada/.local/share/atoll/ca".into()));
    assert_eq!(with(&[("HOME", "/home/ada"), ("XDG_DATA_HOME", "/data")]), Some("/data/atoll/ca".into()));
    assert_eq!(with(&[("HOME", "/h"), ("XDG_DATA_HOME", "rel")]), Some("/h/.local/share/atoll/ca".into()));
    assert_eq!(with(&[("HOME", "/h"), ("ATOLL_CA_DIR", "/ca")]), Some("/ca".into()));
}
