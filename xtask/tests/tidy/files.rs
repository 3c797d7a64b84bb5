//! The files of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file that version control knows or would take in.
pub(crate) struct Tracked {
    /// Relative to the root.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Reads a file that must be there.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every tracked file that is text and still there. Without version control (an unpacked archive): every
/// file outside folders that are made.
pub(crate) fn tracked() -> Vec<Tracked> {
    let paths = from_git().unwrap_or_else(|| walk(&root()));
    let text = |path: String| Some(Tracked { text: std::fs::read_to_string(root().join(&path)).ok()?, path });
    let files: Vec<_> = paths.into_iter().filter_map(text).collect();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "the files of the repository are not found");
    files
}

fn from_git() -> Option<Vec<String>> {
    // As another user than the owner git refuses, unless told that the folder is meant.
    let safe = format!("safe.directory={}", root().display());
    let listed = Command::new("git")
        .args(["-c", &safe, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()?;
    let names = String::from_utf8(listed.stdout).ok()?;
    (listed.status.success() && !names.is_empty())
        .then(|| names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn walk(folder: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", ".git", ".atoll"].contains(&name.as_str()) {
                paths.extend(walk(&path));
            }
        } else if let Some(path) = path.strip_prefix(root()).ok().and_then(Path::to_str) {
            paths.push(path.to_owned());
        }
    }
    paths
}
