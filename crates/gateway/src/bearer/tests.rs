//! What holds and what does not: the published examples, tokens of every algorithm, the known attacks.

use std::path::PathBuf;
use std::time::Duration;

use manifest::spec::JwtKeys;
use serde_json::{Value, json};

use super::authenticator::Known;
use super::token::{MAX_SUBJECT, MAX_TOKEN, Verified};
use super::*;

use crate::signer::{SECRET, Signer, encode, jwks};

const NOW: u64 = 1_300_819_000;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn at(second: u64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

/// A check of tokens with a key file of its own, and one thread's knowledge.
struct Gate {
    check: Authenticator,
    known: Known,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Gate {
    fn with(content: &str, kind: fn(PathBuf) -> JwtKeys) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, content).unwrap();
        let jwt =
            Jwt { keys: kind(file.clone()), issuer: None, audience: Vec::new(), leeway: Duration::ZERO };
        let check = Authenticator::new("users", &jwt);
        assert!(check.refresh().unwrap().is_some());
        Self { check, known: Known::new(), file, _folder: folder }
    }

    fn jwks(keys: &[Value]) -> Self {
        Self::with(&jwks(keys), JwtKeys::Jwks)
    }

    fn check_at(&mut self, token: &str, second: u64) -> Result<Verified, Refusal> {
        self.check.check(&mut self.known, token.as_bytes(), CLIENT, at(second))
    }

    fn check(&mut self, token: &str) -> Result<Verified, Refusal> {
        self.check_at(token, NOW)
    }

    #[track_caller]
    fn refuses(&mut self, token: &str, refusal: Refusal) {
        assert_eq!(self.check(token), Err(refusal), "{token}");
    }
}

fn claims() -> Value {
    json!({"sub": "ada", "exp": NOW + 60})
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

// ---- published examples ----

const RFC_PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[test]
fn the_tokens_of_rfc_7515_appendix_a_hold_and_expire_when_they_say() {
    let hs256 = json!({"kty": "oct", "k":
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let es256 = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let rs256 = Signer::rsa().jwk("rsa");
    let examples = [
        (hs256, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        (
            rs256,
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            es256,
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ];
    for (key, header, signature) in examples {
        let mut gate = Gate::jwks(&[key]);
        let token = format!("{header}.{RFC_PAYLOAD}.{signature}");
        assert_eq!(gate.check_at(&token, 1_300_819_379), Ok(Verified { subject: None, header: None }));
        assert_eq!(gate.check_at(&token, 1_300_819_380), Err(Refusal::Expired));
        gate.refuses(&format!("{header}.{RFC_PAYLOAD}."), Refusal::Signature);
    }
}

#[test]
fn the_unsecured_token_of_rfc_7515_appendix_a_5_is_refused() {
    let mut gate = Gate::jwks(&[Signer::secret(SECRET).jwk("a"), Signer::ed25519().jwk("b")]);
    gate.refuses(&format!("eyJhbGciOiJub25lIn0.{RFC_PAYLOAD}."), Refusal::Algorithm);
}

#[test]
fn the_signature_of_rfc_8037_appendix_a_4_holds_though_what_it_signs_is_no_token() {
    let key = json!({"keys": [{"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    let keys = crate::keys::Keys::parse(&JwtKeys::Jwks("keys".into()), key.to_string().as_bytes()).unwrap();
    let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = b"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let signature = base64url::decode(signature).unwrap();
    assert!(keys[0].material.verifies(signed, &signature));
    assert!(!keys[0].material.verifies(&signed[1..], &signature));
}

// ---- every algorithm, every kind of file ----

#[test]
fn tokens_of_every_algorithm_are_taken_with_every_kind_of_file() {
    for signer in [Signer::ed25519(), Signer::p256(), Signer::rsa(), Signer::secret(SECRET)] {
        let mut gates = vec![Gate::jwks(&[signer.jwk("k")])];
        gates.push(match signer {
            Signer::Secret(_) => {
                Gate::with(&format!("{}\n", std::str::from_utf8(SECRET).unwrap()), JwtKeys::Secret)
            }
            _ => Gate::with(&signer.pem(), JwtKeys::PublicKey),
        });
        for gate in &mut gates {
            let verified = gate.check(&signer.token(&claims())).unwrap();
            assert_eq!(verified.subject.as_deref(), Some("ada"), "{}", signer.alg());
            assert_eq!(verified.header.unwrap(), "ada");
            let mut other = signer.token(&claims());
            let changed = if other.ends_with("AA") { "QQ" } else { "AA" };
            other.replace_range(other.len() - 6..other.len() - 4, changed);
            gate.refuses(&other, Refusal::Signature);
        }
    }
}

#[test]
fn a_token_finds_its_key_by_name_and_else_by_algorithm() {
    let (old, new, point) = (Signer::ed25519(), Signer::ed25519(), Signer::p256());
    let mut gate = Gate::jwks(&[old.jwk("old"), new.jwk("new"), point.jwk("point")]);
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid}).to_string();
    let text = claims().to_string();
    assert!(gate.check(&new.token_of(&header("EdDSA", "new"), &text)).is_ok());
    assert!(gate.check(&new.token_of(&header("Ed25519", "new"), &text)).is_ok(), "RFC 9864");
    assert!(gate.check(&new.token(&claims())).is_ok(), "no name: all of the algorithm are tried");
    assert!(gate.check(&point.token(&claims())).is_ok());
    gate.refuses(&new.token_of(&header("EdDSA", "old"), &text), Refusal::Signature);
    gate.refuses(&new.token_of(&header("EdDSA", "NEW"), &text), Refusal::UnknownKey);
    gate.refuses(&new.token_of(&header("EdDSA", "point"), &text), Refusal::Algorithm);
    // A file with one key has no names: any will do.
    let mut gate = Gate::with(&new.pem(), JwtKeys::PublicKey);
    assert!(gate.check(&new.token_of(&header("EdDSA", "whatever"), &text)).is_ok());
}

// ---- attacks ----

#[test]
fn a_public_key_is_no_shared_secret() {
    for signer in [Signer::ed25519(), Signer::p256(), Signer::rsa()] {
        let pem = signer.pem();
        let mut gate = Gate::with(&pem, JwtKeys::PublicKey);
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes()] {
            let forged = Signer::secret(secret);
            gate.refuses(&forged.token(&claims()), Refusal::Algorithm);
            let lying = json!({"alg": signer.alg()}).to_string();
            gate.refuses(&forged.token_of(&lying, &claims().to_string()), Refusal::Signature);
        }
    }
}

#[test]
fn no_token_goes_without_a_signature() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    let token = signer.token(&claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    gate.refuses(&format!("{signed}."), Refusal::Signature);
    gate.refuses(signed, Refusal::Malformed);
    gate.refuses(&format!("{signed}.{signature}."), Refusal::Malformed);
    gate.refuses(&format!("{signed}.{signature}.{signature}.{signature}"), Refusal::Malformed);
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({"alg": none}).to_string();
        gate.refuses(&signer.token_of(&header, &claims().to_string()), Refusal::Algorithm);
        let unsigned = format!("{}.{}.", encode(header.as_bytes()), encode(claims().to_string().as_bytes()));
        gate.refuses(&unsigned, Refusal::Algorithm);
    }
    gate.refuses(&signer.token_of("{}", &claims().to_string()), Refusal::Malformed);
}

#[test]
fn a_token_cannot_bring_its_own_key() {
    let (ours, theirs) = (Signer::ed25519(), Signer::ed25519());
    let mut gate = Gate::jwks(&[ours.jwk("k")]);
    for header in [
        json!({"alg": "EdDSA", "jwk": theirs.jwk("k")}),
        json!({"alg": "EdDSA", "kid": "k", "jwk": theirs.jwk("k"), "jku": "http://localhost/jwks"}),
    ] {
        gate.refuses(&theirs.token_of(&header.to_string(), &claims().to_string()), Refusal::Signature);
    }
    for kid in ["../../dev/null", "k' OR '1'='1", "", "k\0"] {
        let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
        gate.refuses(&theirs.token_of(&header, &claims().to_string()), Refusal::UnknownKey);
    }
}

#[test]
fn what_must_be_understood_and_is_not_is_refused() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    let text = claims().to_string();
    for header in [
        json!({"alg": "EdDSA", "crit": ["exp"], "exp": 1}),
        json!({"alg": "EdDSA", "crit": ["b64"], "b64": false}),
        json!({"alg": "EdDSA", "crit": []}),
    ] {
        gate.refuses(&signer.token_of(&header.to_string(), &text), Refusal::Critical);
    }
}

#[test]
fn tokens_of_most_types_are_taken_but_not_those_for_other_uses() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    let text = claims().to_string();
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "something"] {
        let header = json!({"alg": "EdDSA", "typ": typ}).to_string();
        assert!(gate.check(&signer.token_of(&header, &text)).is_ok(), "{typ}");
    }
    for typ in ["dpop+jwt", "application/Logout+JWT"] {
        let header = json!({"alg": "EdDSA", "typ": typ}).to_string();
        gate.refuses(&signer.token_of(&header, &text), Refusal::Type);
    }
}

#[test]
fn one_token_has_one_spelling() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    let token = signer.token(&claims());
    assert!(gate.check(&token).is_ok());
    // 64 bytes leave four bits of the last letter unused.
    let last = token.chars().last().unwrap();
    let spelled = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for other in spelled.chars().filter(|other| *other != last) {
        let respelled = format!("{}{other}", &token[..token.len() - 1]);
        assert!(gate.check(&respelled).is_err(), "{respelled}");
    }
    for other in [format!("{token}="), format!("{token} "), format!(" {token}"), token.replacen('.', "=.", 1)]
    {
        gate.refuses(&other, Refusal::Malformed);
    }
}

#[test]
fn a_claim_that_stands_twice_is_no_claim() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    let header = r#"{"alg":"EdDSA"}"#;
    let exp = NOW + 60;
    for claims in [
        format!(r#"{{"sub":"ada","sub":"root","exp":{exp}}}"#),
        format!(r#"{{"exp":1,"exp":{exp}}}"#),
        format!(r#"{{"exp":{exp},"role":"user","role":"admin"}}"#),
    ] {
        gate.refuses(&signer.token_of(header, &claims), Refusal::Malformed);
    }
    let twice = r#"{"alg":"EdDSA","alg":"EdDSA"}"#;
    gate.refuses(&signer.token_of(twice, &claims().to_string()), Refusal::Malformed);
}

#[test]
fn a_token_that_is_too_long_is_not_looked_at() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    let fits = signer.token(&with("x", "a".repeat(5900)));
    assert!(fits.len() < MAX_TOKEN && gate.check(&fits).is_ok(), "{}", fits.len());
    let over = signer.token(&with("x", "a".repeat(6200)));
    assert!(over.len() > MAX_TOKEN);
    gate.refuses(&over, Refusal::TooLong);
}

#[test]
fn what_is_no_token_is_refused_and_never_panics() {
    let mut gate = Gate::jwks(&[Signer::ed25519().jwk("k")]);
    for text in ["", ".", "..", "...", "a.b.c", "e30.e30.", "e30.e30.e30", "\u{0}.\u{0}.\u{0}", "W10.W10.AA"]
    {
        gate.refuses(text, Refusal::Malformed);
    }
}

// ---- claims ----

#[test]
fn a_token_holds_from_nbf_to_exp_give_or_take_the_leeway() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    gate.check.jwt.leeway = Duration::from_secs(30);
    let token = signer.token(&json!({"nbf": NOW, "exp": NOW + 100}));
    assert_eq!(gate.check_at(&token, NOW - 31), Err(Refusal::NotYet));
    assert!(gate.check_at(&token, NOW - 30).is_ok());
    assert!(gate.check_at(&token, NOW + 129).is_ok());
    assert_eq!(gate.check_at(&token, NOW + 130), Err(Refusal::Expired));
    for never in [json!(0), json!(-1), json!(-1e300), json!(NOW - 31)] {
        gate.refuses(&signer.token(&with("exp", never)), Refusal::Expired);
    }
    for far in [json!(1e300), json!(u64::MAX)] {
        assert!(gate.check(&signer.token(&with("exp", far))).is_ok());
    }
    gate.refuses(&signer.token(&json!({"sub": "ada"})), Refusal::NoExpiry);
    for wrong in [json!("soon"), json!(null), json!([NOW]), json!(true)] {
        gate.refuses(&signer.token(&with("exp", wrong)), Refusal::Malformed);
    }
}

#[test]
fn issuer_and_audience_are_those_asked_for() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    gate.check.jwt.issuer = Some("https://id".into());
    gate.check.jwt.audience = vec!["shop".into(), "books".into()];
    let token = |iss: Value, aud: Value| signer.token(&json!({"iss": iss, "aud": aud, "exp": NOW + 60}));
    for aud in [json!("shop"), json!(["other", "books"])] {
        assert!(gate.check(&token(json!("https://id"), aud)).is_ok());
    }
    for iss in [json!("https://id/"), json!("HTTPS://ID")] {
        gate.refuses(&token(iss, json!("shop")), Refusal::Issuer);
    }
    gate.refuses(&signer.token(&json!({"aud": "shop", "exp": NOW + 60})), Refusal::Issuer);
    for aud in [json!("shopping"), json!([]), json!(["Shop"])] {
        gate.refuses(&token(json!("https://id"), aud), Refusal::Audience);
    }
    gate.refuses(&signer.token(&json!({"iss": "https://id", "exp": NOW + 60})), Refusal::Audience);
    // What is forged learns nothing of audiences.
    let forged = Signer::ed25519().token(&json!({"iss": "https://id", "aud": "other", "exp": NOW + 60}));
    gate.refuses(&forged, Refusal::Signature);
}

#[test]
fn a_subject_goes_into_a_header_in_one_way_only() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    for (subject, header) in [
        ("auth0|12", "auth0|12"),
        ("ada lovelace", "ada%20lovelace"),
        ("a%20b", "a%2520b"),
        ("zoë", "zo%C3%AB"),
        ("a\r\nx-atoll-caller: b", "a%0D%0Ax-atoll-caller:%20b"),
    ] {
        let verified = gate.check(&signer.token(&with("sub", subject))).unwrap();
        assert_eq!(verified.subject.as_deref(), Some(subject));
        assert_eq!(verified.header.unwrap(), header);
    }
    assert_eq!(gate.check(&signer.token(&with("sub", ""))).unwrap().header, None);
    gate.refuses(&signer.token(&with("sub", "a".repeat(MAX_SUBJECT + 1))), Refusal::Subject);
    gate.refuses(&signer.token(&with("sub", 7)), Refusal::Malformed);
}

// ---- what is remembered ----

#[test]
fn a_token_that_was_checked_is_not_checked_again_until_it_expires() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    let token = signer.token(&claims());
    let first = gate.check(&token).unwrap();
    let again = gate.check(&token).unwrap();
    let same = first.subject.zip(again.subject).is_some_and(|(a, b)| Arc::ptr_eq(&a, &b));
    assert!(same, "the second comes from memory");
    assert!(gate.check_at(&token, NOW + 59).is_ok());
    assert_eq!(gate.check_at(&token, NOW + 60), Err(Refusal::Expired));
}

#[test]
fn strangers_can_neither_have_signatures_checked_for_ever_nor_push_good_tokens_out() {
    let (ours, theirs) = (Signer::ed25519(), Signer::ed25519());
    let mut gate = Gate::jwks(&[ours.jwk("k")]);
    let good = ours.token(&claims());
    let first = gate.check(&good).unwrap();
    let mut checked = 0;
    for n in 0..3000 {
        match gate.check(&theirs.token(&with("n", n))) {
            Err(Refusal::Signature) => checked += 1,
            refusal => assert_eq!(refusal, Err(Refusal::TooManyBad)),
        }
    }
    assert!(checked < 50, "{checked} signatures were checked");
    let again = gate.check(&good).unwrap();
    assert!(Arc::ptr_eq(&first.subject.unwrap(), &again.subject.unwrap()));
    // Unknown ones of this address wait; those of another do not, and in a while not these either.
    let new = ours.token(&with("n", 1));
    gate.refuses(&new, Refusal::TooManyBad);
    let elsewhere = IpAddr::from([192, 0, 2, 1]);
    let outcome = gate.check.check(&mut gate.known, new.as_bytes(), elsewhere, at(NOW));
    assert!(outcome.is_ok());
    assert!(gate.check_at(&ours.token(&with("n", 2)), NOW + 1).is_ok());
}

#[test]
fn a_bad_token_is_remembered_for_a_while_and_costs_its_sender_once() {
    let (ours, theirs) = (Signer::ed25519(), Signer::ed25519());
    let mut gate = Gate::jwks(&[ours.jwk("k")]);
    let bad = theirs.token(&claims());
    for _ in 0..1000 {
        gate.refuses(&bad, Refusal::Signature);
    }
    assert!(gate.check(&ours.token(&claims())).is_ok(), "one was checked, the rest were known");
}

// ---- other keys ----

#[test]
fn new_keys_replace_the_old_ones_and_what_was_checked_with_them() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let mut gate = Gate::jwks(&[old.jwk("k")]);
    let (by_old, by_new) = (old.token(&claims()), new.token(&claims()));
    assert!(gate.check(&by_old).is_ok());
    gate.refuses(&by_new, Refusal::Signature);

    std::fs::write(&gate.file, jwks(&[old.jwk("k"), new.jwk("l")])).unwrap();
    assert_eq!(gate.check.refresh().unwrap(), Some(2));
    assert_eq!(gate.check.refresh().unwrap(), None, "nothing has changed since");
    assert!(gate.check(&by_old).is_ok());
    assert!(gate.check(&by_new).is_ok(), "that it was bad is forgotten with the old keys");

    std::fs::write(&gate.file, jwks(&[new.jwk("l")])).unwrap();
    assert_eq!(gate.check.refresh().unwrap(), Some(1));
    gate.refuses(&by_old, Refusal::Signature);
    assert!(gate.check(&by_new).is_ok());
}

#[test]
fn a_key_file_put_in_place_by_renaming_is_noticed() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let mut gate = Gate::with(&old.pem(), JwtKeys::PublicKey);
    let beside = gate.file.with_extension("new");
    std::fs::write(&beside, new.pem()).unwrap();
    std::fs::rename(&beside, &gate.file).unwrap();
    assert_eq!(gate.check.refresh().unwrap(), Some(1));
    assert!(gate.check(&new.token(&claims())).is_ok());
}

#[test]
fn a_broken_key_file_is_told_once_and_leaves_the_old_keys_in_force() {
    let signer = Signer::ed25519();
    let mut gate = Gate::jwks(&[signer.jwk("k")]);
    let good = std::fs::read_to_string(&gate.file).unwrap();
    let code = |error: crate::keys::KeyError| kit::Explain::help(&error).code.as_str();

    std::fs::write(&gate.file, "{").unwrap();
    assert_eq!(gate.check.refresh().map_err(code), Err("A0744"));
    assert_eq!(gate.check.refresh().map_err(code), Ok(None));
    assert_eq!(gate.check.refresh_anew().map_err(code), Err("A0744"));
    assert!(gate.check(&signer.token(&claims())).is_ok());

    std::fs::remove_file(&gate.file).unwrap();
    assert_eq!(gate.check.refresh().map_err(code), Err("A0743"));
    assert_eq!(gate.check.refresh().map_err(code), Ok(None));
    assert!(gate.check(&signer.token(&with("n", 1))).is_ok());

    std::fs::write(&gate.file, good).unwrap();
    assert_eq!(gate.check.refresh().map_err(code), Ok(None), "it is what it was");
    std::fs::write(&gate.file, "{").unwrap();
    assert_eq!(gate.check.refresh().map_err(code), Err("A0744"), "a new fault is told");
}

#[test]
fn without_keys_nobody_comes_in() {
    let jwt = Jwt {
        keys: JwtKeys::Jwks("/nowhere/jwks.json".into()),
        issuer: None,
        audience: Vec::new(),
        leeway: Duration::ZERO,
    };
    let check = Authenticator::new("users", &jwt);
    assert!(check.refresh().is_err());
    let token = Signer::ed25519().token(&claims());
    assert_eq!(check.check(&mut Known::new(), token.as_bytes(), CLIENT, at(NOW)), Err(Refusal::NoKeys));
}

// ---- the header ----

#[test]
fn the_scheme_is_bearer_in_any_case_and_the_token_what_follows() {
    for (value, token) in [
        ("Bearer a.b.c", Some("a.b.c")),
        ("bearer  a", Some("a")),
        ("BEARER a ", Some("a")),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearera", None),
        ("Basic YTpi", None),
        ("", None),
    ] {
        assert_eq!(token_of(value.as_bytes()), token.map(str::as_bytes), "{value:?}");
    }
}
