//! What the documents promise about the code, held true by a test: the map in ARCHITECTURE.md is the real
//! graph, `unsafe` stays where it belongs, files stay small, and nothing of one machine is left in them.

#![allow(clippy::unwrap_used)] // helpers of tests may fail loudly

#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/graph.rs"]
mod graph;
#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use files::{Tracked, tracked};
use source::{has_word, without_comments_and_text};

/// No file of Rust is longer, in lines.
const MOST_LINES: usize = 700;

/// No chain of crates of our own is longer.
const LONGEST_CHAIN: usize = 7;

/// Fails with everything that is wrong, not with the first thing.
#[track_caller]
fn none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}\n", wrong.join("\n  "));
}

fn rust_files() -> Vec<Tracked> {
    tracked().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

#[test]
fn the_table_in_the_architecture_is_the_real_graph_of_crates() {
    let real = graph::real();
    let told = graph::told(&files::read("ARCHITECTURE.md"));
    let mut wrong = Vec::new();
    for name in real.keys().chain(told.keys()).collect::<BTreeSet<_>>() {
        let told = told.get(name).map(|told| &told.depends_on);
        let real = real.get(name);
        if told != real {
            wrong.push(format!("`{name}`: ARCHITECTURE.md says {told:?}, Cargo.toml says {real:?}"));
        }
    }
    none("ARCHITECTURE.md and the crates disagree", &wrong);
}

#[test]
fn a_crate_depends_only_on_lower_levels() {
    let told = graph::told(&files::read("ARCHITECTURE.md"));
    let mut wrong = Vec::new();
    for (name, depends_on) in graph::real() {
        for other in depends_on {
            let (upper, lower) = (told.get(&name).map(|t| t.level), told.get(&other).map(|t| t.level));
            if upper.is_none() || upper <= lower {
                wrong.push(format!("`{name}` (level {upper:?}) depends on `{other}` (level {lower:?})"));
            }
        }
    }
    none("dependencies that do not go down", &wrong);
}

#[test]
fn no_chain_of_crates_is_longer_than_seven() {
    let chain = graph::longest_chain(&graph::real());
    assert!(chain.len() <= LONGEST_CHAIN, "{}", chain.join(" → "));
}

#[test]
fn unsafe_is_only_in_the_sandbox_of_the_runtime() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        if file.path.starts_with("crates/runtime/src/sandbox") {
            continue;
        }
        for (number, line) in without_comments_and_text(&file.text).lines().enumerate() {
            if has_word(line, "unsafe") || has_word(line, "unsafe_code") {
                wrong.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("unsafe code outside crates/runtime/src/sandbox", &wrong);
}

#[test]
fn no_file_speaks_of_one_machine() {
    // In pieces, so that this file does not name them itself.
    let folders = [["/ro", "ot/"].concat(), ["/wo", "rk/"].concat()];
    let hosts = ["index.crates", "static.crates", "registry.npmjs", "proxy.golang", "files.pythonhosted"];
    let mut wrong = Vec::new();
    for file in tracked().into_iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            // Part of a longer path (`examples/home/…`) is somebody else's folder.
            let folder = folders.iter().any(|folder| {
                let starts = |at: usize| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_ascii_alphanumeric() || "._-}~*".contains(c))
                };
                line.match_indices(folder.as_str()).any(|(at, _)| starts(at))
            });
            let host = hosts.iter().any(|host| line.contains(&[host, "."].concat()));
            if folder || host {
                wrong.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("folders or registries of one machine", &wrong);
}

#[test]
fn every_dependency_comes_from_crates_io() {
    let lock = files::read("Cargo.lock");
    let ours = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let wrong: Vec<_> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    let wrong: Vec<_> = wrong.into_iter().filter(|line| *line != ours).map(str::to_owned).collect();
    none("sources in Cargo.lock", &wrong);
}

#[test]
fn no_file_of_rust_is_longer_than_a_reader_can_hold() {
    let long = rust_files().into_iter().map(|file| (file.text.lines().count(), file.path));
    let long = long.filter(|(lines, _)| *lines > MOST_LINES);
    let wrong: Vec<_> = long.map(|(lines, path)| format!("{path}: {lines} lines")).collect();
    none("files of more than 700 lines", &wrong);
}

#[test]
fn every_crate_opens_with_what_it_is() {
    let roots = rust_files().into_iter().filter(|file| {
        file.path.ends_with("src/lib.rs")
            || file.path.ends_with("src/main.rs")
            || file.path.contains("/src/bin/")
    });
    let mute = roots.filter(|file| !file.text.starts_with("//!"));
    none("crates that do not say what they are", &mute.map(|file| file.path).collect::<Vec<_>>());
}

#[test]
fn crates_have_not_heard_of_what_they_must_not_know() {
    // Where, which word, and where it may stand all the same.
    let rules: [(&str, &str, &[&str]); 3] = [
        ("crates/manifest/", "tokio", &[]),
        ("crates/control/", "hyper", &[]),
        ("crates/proxy/src/", "hyper", &["crates/proxy/src/engine/", "crates/proxy/src/engine.rs"]),
    ];
    let mut wrong = Vec::new();
    for file in tracked() {
        for (start, word, except) in rules {
            if !file.path.starts_with(start) || except.iter().any(|place| file.path.starts_with(place)) {
                continue;
            }
            let text = match file.path.rsplit_once('.') {
                Some((_, "rs")) => without_comments_and_text(&file.text),
                Some((_, "toml")) => file.text.clone(),
                _ => continue,
            };
            let heard = |line: &str| has_word(line, word) || has_word(line, &format!("{word}_util"));
            for (number, line) in text.lines().enumerate().filter(|(_, line)| heard(line)) {
                wrong.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("crates that know what they must not", &wrong);
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    let sources = rust_files().into_iter().filter(|file| file.path.starts_with("crates/"));
    for file in sources.filter(|file| file.path.contains("/src/")) {
        for code in source::codes(&file.text) {
            used.entry(code).or_insert_with(|| file.path.clone());
        }
    }
    let mut wrong = Vec::new();
    let mut pages = BTreeSet::new();
    for file in tracked() {
        let Some(code) = file.path.strip_prefix("docs/errors/").and_then(|name| name.strip_suffix(".md"))
        else {
            continue;
        };
        let title = file.text.lines().next().unwrap_or_default();
        if !title.starts_with(&format!("# {code}: ")) {
            wrong.push(format!("{} begins with {title:?}, not with `# {code}: …`", file.path));
        }
        if !used.contains_key(code) {
            wrong.push(format!("{}: no source has {code}", file.path));
        }
        pages.insert(code.to_owned());
    }
    for (code, path) in used.iter().filter(|(code, _)| !pages.contains(*code)) {
        wrong.push(format!("{path}: {code} has no page in docs/errors"));
    }
    none("codes and pages disagree", &wrong);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for file in tracked().into_iter().filter(|file| file.path.ends_with(".md")) {
        let folder = files::root().join(&file.path);
        let folder = folder.parent().unwrap();
        for link in source::links(&file.text) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !folder.join(target).exists() {
                wrong.push(format!("{}: {link}", file.path));
            }
        }
    }
    none("links to files that are not there", &wrong);
}

#[test]
fn application_files_in_the_readme_are_legal() {
    let readme = files::read("README.md");
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
    let mut wrong = Vec::new();
    let mut seen = 0;
    for block in blocks {
        seen += 1;
        let loaded = manifest::load(&manifest::Request {
            working_dir: files::root(),
            project_dir: Some(files::root()),
            project_name: Some("readme".into()),
            files: vec!["-".into()],
            stdin: Some(block.to_owned()),
            ..manifest::Request::default()
        });
        if loaded.app.is_none() || !loaded.faults.is_empty() {
            wrong.push(manifest::report(&loaded.faults, &loaded.sources, false));
        }
    }
    assert!(seen > 0, "the README shows no application file");
    none("application files in README.md", &wrong);
}
