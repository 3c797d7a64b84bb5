//! Every error code in the source has a page in `docs/errors`, and every page has a code in the source.

#![allow(clippy::unwrap_used)] // a test may

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap();
            if name != "tests" {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().unwrap() != "tests"
        {
            found.push(path);
        }
    }
}

/// Codes written as `"A0ddd"`, with the first file of each. `A0000` is for tests; a test module at the end of
/// a file does not count.
fn codes_in_use() -> BTreeMap<String, PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() {
            sources(&source, &mut files);
        }
    }
    let mut codes = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("\n#[cfg(test)]\n").next().unwrap();
        for piece in text.split('"').skip(1) {
            let is_code =
                piece.len() == 5 && piece.starts_with("A0") && piece[1..].bytes().all(|b| b.is_ascii_digit());
            if is_code && piece != "A0000" {
                codes.entry(piece.to_owned()).or_insert_with(|| file.clone());
            }
        }
    }
    codes
}

fn pages() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("docs/errors")).unwrap();
    let names = entries.map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|e| e == "md")).map(|path| stem(&path)).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_code_has_a_page() {
    let pages = pages();
    let missing: Vec<String> = codes_in_use()
        .into_iter()
        .filter(|(code, _)| !pages.contains(code))
        .map(|(code, file)| format!("{code} ({})", file.strip_prefix(root()).unwrap().display()))
        .collect();
    assert!(missing.is_empty(), "write docs/errors/<code>.md for: {}", missing.join(", "));
}

#[test]
fn every_page_has_a_code_in_the_source() {
    let codes = codes_in_use();
    let unused: Vec<String> = pages().into_iter().filter(|page| !codes.contains_key(page)).collect();
    assert!(unused.is_empty(), "pages of codes that nothing uses: {}", unused.join(", "));
}
