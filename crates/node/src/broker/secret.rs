//! The node's secret: what the credentials of services are derived from, kept in the state directory.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use identity::NodeSecret;

/// The file in the state directory. Whoever reads it can act for every service.
const FILE: &str = "secret";

/// Reads the secret of a state directory; makes one at the first time.
pub(crate) fn of(state_dir: &Path) -> io::Result<NodeSecret> {
    let path = state_dir.join(FILE);
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let mut bytes = [0; 32];
    rand::fill(&mut bytes);
    // Whole or not at all: another secret would lock out every service that runs.
    crate::state_dir::write_whole(state_dir, FILE, &bytes)?;
    Ok(NodeSecret::new(bytes))
}

fn read(path: &Path) -> io::Result<NodeSecret> {
    let mut bytes = [0; 32];
    let mut file = fs::File::open(path)?;
    file.read_exact(&mut bytes)?;
    if file.read(&mut [0])? > 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than 32 bytes"));
    }
    Ok(NodeSecret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::{KeyBook, Principal};

    #[test]
    fn a_service_has_the_same_credentials_after_every_start() {
        let dir = tempfile::tempdir().unwrap();
        let declare = || {
            let book = KeyBook::new(&of(dir.path()).unwrap(), "shop");
            book.declare(&Principal::Service("orders".into())).variables()
        };
        assert_eq!(declare(), declare());
        fs::remove_file(dir.path().join(FILE)).unwrap();
        let first = declare();
        assert_eq!(first, declare());
    }

    #[test]
    fn a_secret_that_was_cut_short_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), b"short").unwrap();
        assert!(of(dir.path()).is_err());
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), b"short");
    }
}
