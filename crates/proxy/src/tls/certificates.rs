//! Which certificate a client is shown, and how they are exchanged while connections are open.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::chain::CertifiedChain;

/// The certificates of all listeners that speak TLS. Cheap to clone; all clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    current: Arc<ArcSwap<Set>>,
}

impl Certificates {
    /// A set. Without any chain every handshake is refused.
    pub fn new(chains: Vec<CertifiedChain>) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(Set::new(chains))) }
    }

    /// Makes `chains` the whole set for handshakes from now on. Open connections go on, and so do those
    /// in the middle of a handshake with the one they were shown.
    pub fn replace(&self, chains: Vec<CertifiedChain>) {
        self.current.store(Arc::new(Set::new(chains)));
    }

    /// The set now.
    pub fn chains(&self) -> Vec<CertifiedChain> {
        self.current.load().chains.clone()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().pick(client.server_name(), client.signature_schemes())
    }
}

#[derive(Debug, Default)]
pub(super) struct Set {
    chains: Vec<CertifiedChain>,
    /// Chains by the names in them, in their order; names with a wildcard without their `*.`.
    exact: HashMap<String, Vec<usize>>,
    wild: HashMap<String, Vec<usize>>,
}

impl Set {
    pub(super) fn new(chains: Vec<CertifiedChain>) -> Self {
        let mut set = Self::default();
        for (index, chain) in chains.iter().enumerate() {
            for name in chain.names() {
                match name.strip_prefix("*.") {
                    Some(parent) => set.wild.entry(parent.to_owned()).or_default().push(index),
                    None => set.exact.entry(name.clone()).or_default().push(index),
                }
            }
        }
        set.chains = chains;
        set
    }

    /// The chain for a name: one that has it, else one with a wildcard for its first label (RFC 9525 §6.3),
    /// else the first. Of several (an ECDSA and an RSA certificate for one name) the first that the client
    /// can check.
    pub(super) fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        let exact = self.exact.get(&name);
        let wild = || name.split_once('.').and_then(|(_, parent)| self.wild.get(parent));
        let named = exact.or_else(wild).map_or(&[][..], Vec::as_slice);
        let candidates = named.iter().filter_map(|index| self.chains.get(*index));
        let checkable = |chain: &&CertifiedChain| chain.key.key.choose_scheme(schemes).is_some();
        let chain = candidates.clone().find(checkable).or_else(|| candidates.clone().next());
        let chain = chain.or_else(|| self.chains.iter().find(checkable)).or_else(|| self.chains.first());
        chain.map(|chain| Arc::clone(&chain.key))
    }
}
