use super::*;
use kit::{Explain, Timestamp};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use rustls::SignatureScheme;
use std::time::Duration;

/// A certificate that has signed itself, and its key, both PEM.
fn made(names: &[&str]) -> (String, KeyPair) {
    with_key(names, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
}

fn with_key(names: &[&str], key: KeyPair) -> (String, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key)
}

fn chain(names: &[&str]) -> CertifiedChain {
    let (pem, key) = made(names);
    CertifiedChain::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

fn refused(chain: &str, key: &str) -> ChainError {
    CertifiedChain::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err()
}

/// Which of `chains` a client is shown that asks for `name`.
fn shown(chains: &[CertifiedChain], name: Option<&str>) -> usize {
    let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];
    let key = certificates::Set::new(chains.to_vec()).pick(name, &schemes).unwrap();
    chains.iter().position(|chain| chain.leaf() == key.cert[0].as_ref()).unwrap()
}

#[test]
fn a_name_is_shown_its_own_certificate_then_a_wildcard_then_the_first() {
    let chains = [
        chain(&["first.test"]),
        chain(&["*.shop.test", "shop.test"]),
        chain(&["api.shop.test"]),
        chain(&["X.test"]),
    ];
    for (name, index) in [
        ("shop.test", 1),
        ("www.shop.test", 1),
        ("WWW.Shop.Test", 1),
        ("api.shop.test", 2),
        ("x.test", 3),
        ("a.b.shop.test", 0), // a wildcard is one label
        ("elsewhere.test", 0),
    ] {
        assert_eq!(shown(&chains, Some(name)), index, "{name}");
    }
    assert_eq!(shown(&chains, None), 0);
    let none = certificates::Set::default();
    assert!(none.pick(Some("shop.test"), &[SignatureScheme::ED25519]).is_none());
}

#[test]
fn of_two_certificates_for_one_name_the_first_is_shown_that_the_client_can_check() {
    let p384 = with_key(&["a.test"], KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    let p384 = CertifiedChain::from_pem(p384.0.as_bytes(), p384.1.serialize_pem().as_bytes()).unwrap();
    assert_eq!(shown(&[p384.clone(), chain(&["a.test"])], Some("a.test")), 1);
    assert_eq!(shown(&[p384], Some("a.test")), 0); // nothing better: the handshake says what is wrong
}

#[test]
fn keys_may_be_pkcs8_pkcs1_or_sec1() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let (pem, key) = with_key(&["a.test"], KeyPair::generate_for(algorithm).unwrap());
        CertifiedChain::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    }
    // Made with `openssl`, which writes each of the three.
    let pkcs8 = include_str!("testdata/rsa-pkcs8.pem");
    let key = KeyPair::from_pkcs8_pem_and_sign_algo(pkcs8, &PKCS_RSA_SHA256).unwrap();
    let (pem, _) = with_key(&["a.test"], key);
    for key in [pkcs8, include_str!("testdata/rsa-pkcs1.pem")] {
        CertifiedChain::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
    }
    let (pem, _) = with_key(&["a.test"], KeyPair::from_pem(include_str!("testdata/p256-pkcs8.pem")).unwrap());
    let sec1 = include_str!("testdata/p256-sec1.pem"); // begins with `EC PARAMETERS`
    CertifiedChain::from_pem(pem.as_bytes(), sec1.as_bytes()).unwrap();
}

#[test]
fn what_is_wrong_with_a_file_is_told_when_it_is_loaded() {
    let (pem, key) = made(&["a.test"]);
    let key = key.serialize_pem();
    let other = made(&["b.test"]).1.serialize_pem();
    let says = |chain: &str, key: &str, part: Part, code: &str, text: &str| {
        let error = refused(chain, key);
        assert_eq!((error.part(), error.help().code.as_str()), (part, code), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.help().hint.is_some());
    };
    says(&pem, &other, Part::Key, "A0752", "does not belong to the first certificate");
    says("", &key, Part::Chain, "A0750", "no `-----BEGIN CERTIFICATE-----`");
    says(&key, &pem, Part::Chain, "A0750", "has a private key in the certificate's place");
    says(&pem, &pem, Part::Key, "A0751", "has a certificate in the key's place");
    says(&pem, "", Part::Key, "A0751", "no `-----BEGIN PRIVATE KEY-----`");
    says(&pem[..pem.len() / 2], &key, Part::Chain, "A0750", "cut off");
    says(&pem, &key[..key.len() / 2], Part::Key, "A0751", "cut off");
    says(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        &key,
        Part::Chain,
        "A0750",
        "number 1",
    );
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    says(&pem, encrypted, Part::Key, "A0751", "passphrase");
    let rubbish = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    says(&pem, rubbish, Part::Key, "A0751", "not supported");
    says(&pem.repeat(CHAIN_MAX + 1), &key, Part::Chain, "A0750", "trusted roots");
}

#[test]
fn no_fault_repeats_what_is_in_a_key() {
    let (pem, key) = made(&["a.test"]);
    let key = key.serialize_pem();
    let secret = key.lines().nth(1).unwrap();
    for broken in [key.replace("-----END", "-----"), key.replacen("M", "\u{7}", 1)] {
        let error = refused(&pem, &broken);
        assert!(!format!("{error} {error:?}").contains(&secret[8..20]), "{error:?}");
    }
}

#[test]
fn an_expired_certificate_is_used_all_the_same_with_a_remark() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 2, 1);
    let pem = params.self_signed(&key).unwrap().pem();
    let chain = CertifiedChain::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let day =
        |days: u64| Timestamp::from_micros(1_767_225_600_000_000) + Duration::from_secs(days * 24 * 3600);
    assert_eq!(chain.remark(day(1)), None);
    assert_eq!(chain.remark(day(22)).as_deref(), Some("it expires on 2026-02-01 (in 9 days)")); // the last third
    assert_eq!(chain.remark(day(33)).as_deref(), Some("it expired on 2026-02-01 (2 days ago)"));
    let early = day(0) - Duration::from_secs(1);
    assert_eq!(chain.remark(early).as_deref(), Some("it is not valid before 2026-01-01"));
    assert_eq!(chain.not_after(), day(31));
}

#[test]
fn a_chain_out_of_order_is_remarked() {
    let now = Timestamp::from_micros(1_767_225_600_000_000);
    let (one, key) = made(&["a.test"]);
    let mut params = CertificateParams::new(vec!["b.test".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "another");
    let other = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let both = CertifiedChain::from_pem((one + &other).as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    assert!(both.remark(now).unwrap().contains("out of order"));
}

/// A second provider compiled in makes every builder without an explicit one panic, and brings a long build
/// in C with it.
#[test]
fn ring_is_the_only_provider_compiled_in() {
    let _ = ServerConfig::builder(); // panics where there are two, or none
    let lock = include_str!("../../../../Cargo.lock");
    assert!(
        !lock.contains("name = \"aws-lc"),
        "see which feature of which dependency brings it: cargo tree -i"
    );
}

#[test]
fn what_all_handshakes_share_is_safe_by_default() {
    let server = Server::new().unwrap();
    assert_eq!(server.config.max_early_data_size, 0);
    assert!(server.config.ticketer.enabled());
    assert_eq!(server.config.alpn_protocols, [H2, HTTP_11]);
    assert!(server.certificates().chains().is_empty());
}
