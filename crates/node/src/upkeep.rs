//! Looking after the store of an app that does not run. While it runs, the admin API does.

use std::path::Path;

use crate::broker::{SPACES, STORE};

pub use store::{BackupReport, EngineKind, OpenError, SpaceReport, VerifyReport};

/// Reads all of the store of a state directory. Blocks on the disk for as long as that takes.
pub fn verify(state_dir: &Path) -> Result<VerifyReport, OpenError> {
    store::verify(&state_dir.join(STORE))
}

/// Fills the store of a state directory, which must not have one, from a backup. Blocks likewise.
pub fn restore(backup: &Path, state_dir: &Path, engine: EngineKind) -> Result<BackupReport, OpenError> {
    store::restore(backup, &state_dir.join(STORE), engine)
}

/// Opens a damaged store with all that can be read of it, so that it can be used again. What is lost is lost: see what
/// [`verify`] says before.
pub fn salvage(state_dir: &Path) -> Result<VerifyReport, OpenError> {
    let open = |engine| {
        let mut options = store::Options::new(state_dir.join(STORE), SPACES).engine(engine);
        options.salvage = true;
        store::open(options)
    };
    // What is damaged may not even be verified: then the store itself says what made it.
    let opened = match open(EngineKind::Fjall) {
        Err(OpenError::Engine { .. }) => open(EngineKind::Redb)?,
        other => other?,
    };
    drop(opened); // closes it, whole
    verify(state_dir)
}
