//! What a token costs: one that is known, one that is not, one that is bad.
//!
//! `cargo run --release -p gateway --example bearer`
#![allow(clippy::unwrap_used)] // a measurement, not the platform

#[path = "../tests/signer/mod.rs"]
mod signer;

use std::hint::black_box;
use std::time::{Duration, Instant};

use gateway::bearer::Probe;
use manifest::spec::{Jwt, JwtKeys};
use serde_json::json;
use signer::{SECRET, Signer, jwks};

/// Tokens that are in use at once.
const TOKENS: usize = 1000;
const ROUNDS: usize = 2000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    println!("{:8} {:>6} {:>12} {:>12} {:>12}", "", "bytes", "1 known", "1000 known", "unknown");
    for signer in [Signer::ed25519(), Signer::p256(), Signer::rsa(), Signer::secret(SECRET)] {
        let file = folder.path().join(signer.alg());
        std::fs::write(&file, jwks(&[signer.jwk("k")])).unwrap();
        let jwt = Jwt {
            keys: JwtKeys::Jwks(file),
            issuer: Some("https://id.example".to_owned()),
            audience: vec!["shop".to_owned()],
            leeway: Jwt::LEEWAY,
        };
        let tokens: Vec<String> = (0..TOKENS).map(|n| token(&signer, n)).collect();

        let probe = Probe::new(&jwt).unwrap();
        let start = Instant::now();
        for token in &tokens {
            assert!(black_box(probe.check(token)));
        }
        let unknown = start.elapsed() / TOKENS as u32;

        let start = Instant::now();
        for _ in 0..ROUNDS {
            for token in &tokens {
                assert!(black_box(probe.check(token)));
            }
        }
        let all = per(start.elapsed(), ROUNDS * TOKENS);

        let start = Instant::now();
        for _ in 0..ROUNDS * TOKENS {
            assert!(black_box(probe.check(&tokens[0])));
        }
        let one = per(start.elapsed(), ROUNDS * TOKENS);
        println!(
            "{:8} {:6} {one:9.1} ns {all:9.1} ns {:9.1} us",
            signer.alg(),
            tokens[0].len(),
            unknown.as_nanos() as f64 / 1e3
        );
    }
}

fn per(time: Duration, count: usize) -> f64 {
    time.as_nanos() as f64 / count as f64
}

/// A token as issuers make them.
fn token(signer: &Signer, n: usize) -> String {
    signer.token(&json!({
        "iss": "https://id.example", "aud": ["shop", "books"], "sub": format!("customer-{n}"),
        "iat": 1_700_000_000, "exp": 4_000_000_000_u64, "scope": "read write",
    }))
}
