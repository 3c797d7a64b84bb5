use super::*;
use manifest::spec::Listen;
use proxy::tls::Certificates as Shown;
use std::fs;
use std::path::Path;

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Happening>>>);

impl Told {
    fn kinds(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(|happening| happening.kind).collect()
    }

    fn last(&self) -> Happening {
        self.0.lock().unwrap().last().unwrap().clone()
    }
}

struct Place {
    dir: tempfile::TempDir,
    shown: Shown,
    told: Told,
    certificates: Certificates,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let (shown, told) = (Shown::default(), Told::default());
    let tell = {
        let told = told.clone();
        Arc::new(move |happening| told.0.lock().unwrap().push(happening))
    };
    let certificates = Certificates::new(shown.clone(), dir.path().join("ca"), tell);
    Place { dir, shown, told, certificates }
}

fn gateway(certificates: Vec<Certificate>) -> Gateway {
    let listen = vec![Listen { address: ([127, 0, 0, 1], 8443).into(), tls: true }];
    Gateway { listen, certificates, ..Gateway::default() }
}

fn files(dir: &Path) -> Certificate {
    Certificate::Files { cert: dir.join("cert.pem"), key: dir.join("key.pem") }
}

fn made(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// As certbot and an orchestrator do it: a new file takes the name.
fn replace(dir: &Path, file: &str, text: &str) {
    fs::write(dir.join("new"), text).unwrap();
    fs::rename(dir.join("new"), dir.join(file)).unwrap();
}

fn write_pair(dir: &Path, (cert, key): &(String, String)) {
    replace(dir, "cert.pem", cert);
    replace(dir, "key.pem", key);
}

impl Place {
    async fn start(&self) {
        let (loaded, failed) = self.certificates.load(&gateway(vec![files(self.dir.path())])).await;
        assert!(failed.is_empty(), "{failed:?}");
        self.certificates.put(loaded);
    }

    /// The names of the first certificate that clients are shown.
    fn names(&self) -> Vec<String> {
        self.shown.chains().first().map(|chain| chain.names().to_vec()).unwrap_or_default()
    }

    fn look(&self) {
        self.certificates.look(now());
    }
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let place = place();
    write_pair(place.dir.path(), &made("old.test"));
    place.start().await;
    assert_eq!(place.names(), ["old.test"]);
    place.look();
    assert!(place.told.kinds().is_empty());
    write_pair(place.dir.path(), &made("new.test"));
    place.look();
    assert_eq!(place.names(), ["new.test"]);
    assert_eq!(place.told.kinds(), ["tls.reloaded"]);
    // Also by way of a symbolic link that points elsewhere, as mounted secrets do it.
    let other = place.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    write_pair(&other, &made("link.test"));
    for file in ["cert.pem", "key.pem"] {
        fs::remove_file(place.dir.path().join(file)).unwrap();
        std::os::unix::fs::symlink(other.join(file), place.dir.path().join(file)).unwrap();
    }
    place.look();
    assert_eq!(place.names(), ["link.test"]);
}

#[tokio::test]
async fn a_broken_new_file_leaves_the_old_certificate_in_force_and_is_told_once() {
    let place = place();
    let old = made("old.test");
    write_pair(place.dir.path(), &old);
    place.start().await;
    replace(place.dir.path(), "cert.pem", "not finished yet");
    place.look();
    assert!(place.told.kinds().is_empty(), "it may still be on its way");
    for _ in 0..3 {
        place.look();
    }
    assert_eq!(place.told.kinds(), ["tls.reload_failed"]);
    let told = place.told.last();
    assert_eq!(told.code, Some("A0750"));
    assert!(told.message.contains("cert.pem") && told.hint.is_some(), "{told:?}");
    assert_eq!(place.names(), ["old.test"]);
    // Back to what it was: nothing new, and nothing to tell.
    write_pair(place.dir.path(), &old);
    place.look();
    assert_eq!((place.names(), place.told.kinds().len()), (vec!["old.test".to_owned()], 1));
}

#[tokio::test]
async fn two_files_replaced_one_after_the_other_are_no_fault() {
    let place = place();
    write_pair(place.dir.path(), &made("old.test"));
    place.start().await;
    let (cert, key) = made("new.test");
    replace(place.dir.path(), "cert.pem", &cert);
    place.look(); // between the two
    assert_eq!(place.names(), ["old.test"]);
    replace(place.dir.path(), "key.pem", &key);
    place.look();
    assert_eq!(place.names(), ["new.test"]);
    assert_eq!(place.told.kinds(), ["tls.reloaded"]);
    // A pair that does not fit stays out, and the file to look at is named.
    replace(place.dir.path(), "key.pem", &made("other.test").1);
    place.look();
    place.look();
    let told = place.told.last();
    assert_eq!(told.code, Some("A0752"));
    assert!(told.message.contains("key.pem"), "{told:?}");
}

#[tokio::test]
async fn a_file_that_is_missing_is_told_and_found_when_it_comes() {
    let place = place();
    let wanted = gateway(vec![files(place.dir.path())]);
    let (loaded, failed) = place.certificates.load(&wanted).await;
    assert_eq!(failed[0].help().code.as_str(), "A0640");
    assert!(kit::report::chain(&failed[0]).contains("cert.pem"), "{failed:?}");
    place.certificates.put(loaded); // as at a restart, where the rest goes on without it
    place.look();
    assert!(place.names().is_empty());
    write_pair(place.dir.path(), &made("late.test"));
    place.look();
    assert_eq!(place.names(), ["late.test"]);
}

#[tokio::test]
async fn what_is_not_a_file_is_not_waited_for() {
    let place = place();
    let pipe = place.dir.path().join("cert.pem");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let (_, failed) = place.certificates.load(&gateway(vec![files(place.dir.path())])).await;
    assert!(kit::report::chain(&failed[0]).contains("it is not a file"), "{failed:?}");
}

#[tokio::test]
async fn the_development_authority_is_made_when_it_is_asked_for_and_its_certificates_are_renewed() {
    let place = place();
    let plain = Gateway { listen: Vec::new(), ..gateway(vec![files(place.dir.path())]) };
    assert!(place.certificates.load(&plain).await.1.is_empty());
    assert!(!place.dir.path().join("ca").exists());
    let development = Certificate::Development { names: vec!["localhost".into()] };
    let (loaded, failed) = place.certificates.load(&gateway(vec![development])).await;
    assert!(failed.is_empty(), "{failed:?}");
    place.certificates.put(loaded);
    assert_eq!(place.names(), ["localhost"]);
    let first = place.shown.chains()[0].clone();
    place.look();
    assert!(place.shown.chains()[0].is_same(&first));
    place.certificates.look(now() + Duration::from_secs(61 * 24 * 3600));
    assert!(!place.shown.chains()[0].is_same(&first));
    assert_eq!(place.told.kinds(), ["tls.reloaded"]);
    // It cannot be renewed: the one there is goes on, and the next try is not at the next look.
    let second = place.shown.chains()[0].clone();
    fs::write(place.dir.path().join("ca/ca-key.pem"), "rubbish").unwrap();
    let late = now() + Duration::from_secs(140 * 24 * 3600);
    place.certificates.look(late);
    place.certificates.look(late + LOOK);
    assert_eq!(place.told.kinds(), ["tls.reloaded", "tls.renewal_failed", "tls.certificate"]);
    assert!(place.shown.chains()[0].is_same(&second));
}

#[tokio::test]
async fn a_client_that_asks_for_a_name_is_shown_a_certificate_without_addresses() {
    let place = place();
    let names = ["localhost", "127.0.0.1", "a.test", "::1"].map(str::to_owned).to_vec();
    let (loaded, failed) = place.certificates.load(&gateway(vec![Certificate::Development { names }])).await;
    assert!(failed.is_empty(), "{failed:?}");
    place.certificates.put(loaded);
    let chains = place.shown.chains();
    let names: Vec<_> = chains.iter().map(proxy::tls::CertifiedChain::names).collect();
    assert_eq!(names, [&[][..], &["localhost".to_owned(), "a.test".to_owned()]], "addresses first: no SNI");
}

#[tokio::test]
async fn names_that_could_be_public_are_refused() {
    let place = place();
    let development = Certificate::Development { names: vec!["example.com".into()] };
    let (_, failed) = place.certificates.load(&gateway(vec![development])).await;
    assert_eq!(failed[0].help().code.as_str(), "A0645");
    let (_, failed) = place.certificates.load(&gateway(Vec::new())).await;
    assert_eq!(failed[0].help().code.as_str(), "A0641");
}

#[tokio::test]
async fn a_certificate_that_expires_is_remarked_once_a_change() {
    let place = place();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["old.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 3, 1);
    let pair = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    write_pair(place.dir.path(), &pair);
    place.start().await;
    assert_eq!(place.names(), ["old.test"], "it is served all the same");
    place.look();
    place.look();
    assert_eq!(place.told.kinds(), ["tls.certificate"]);
    let told = place.told.last();
    assert_eq!(told.code, Some("A0642"));
    assert!(told.message.contains("it expired on 2020-03-01"), "{}", told.message);
}

#[tokio::test]
async fn a_wish_that_fails_gets_the_certificates_from_before_back() {
    let place = place();
    write_pair(place.dir.path(), &made("old.test"));
    place.start().await;
    let other = tempfile::tempdir().unwrap();
    write_pair(other.path(), &made("new.test"));
    let (loaded, _) = place.certificates.load(&gateway(vec![files(other.path())])).await;
    let before = place.certificates.put(loaded);
    assert_eq!(place.names(), ["new.test"]);
    place.certificates.put(before);
    assert_eq!(place.names(), ["old.test"]);
}

#[tokio::test]
async fn the_watch_finds_a_change_by_itself_and_ends_when_told() {
    let place = place();
    write_pair(place.dir.path(), &made("old.test"));
    place.start().await;
    let tasks = kit::Tasks::new();
    let watched = place.certificates.clone();
    tasks.spawn("watch", kit::OnError::Log, |stop| watched.watch(stop));
    write_pair(place.dir.path(), &made("new.test"));
    tokio::time::timeout(Duration::from_secs(10), async {
        while place.names() != ["new.test"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    tasks.shutdown(Duration::from_secs(5)).await.unwrap();
}
