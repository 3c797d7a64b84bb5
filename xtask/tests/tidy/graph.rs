//! The graph of our crates: as ARCHITECTURE.md tells it and as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// A row of the table.
pub(crate) struct Told {
    /// Lower levels know nothing of higher ones.
    pub(crate) level: u32,
    /// Crates of ours that it uses.
    pub(crate) depends_on: BTreeSet<String>,
}

/// The rows of the table of crates: `| level | `crate` | … | depends on |`.
pub(crate) fn told(architecture: &str) -> BTreeMap<String, Told> {
    let mut crates = BTreeMap::new();
    for line in architecture.lines() {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [level, name, .., depends_on] = cells.as_slice() else { continue };
        let Ok(level) = level.parse() else { continue };
        let words = depends_on.split(',').map(|word| word.trim().trim_matches('`').to_owned());
        let depends_on = words.filter(|word| !word.is_empty() && word != "–").collect();
        crates.insert(name.trim_matches('`').to_owned(), Told { level, depends_on });
    }
    assert!(!crates.is_empty(), "ARCHITECTURE.md has no table of crates");
    crates
}

/// Every crate of the workspace with the crates of ours that it is built from; dependencies of tests do not
/// count.
pub(crate) fn real() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(crate::files::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let ours: BTreeSet<_> = packages.iter().map(|package| text(&package["name"])).collect();
    let built_from = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap();
        let normal = all.iter().filter(|dependency| dependency["kind"].as_str() != Some("dev"));
        normal.map(|dependency| text(&dependency["name"])).filter(|name| ours.contains(name)).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), built_from(package))).collect()
}

/// The longest way down.
pub(crate) fn longest_chain(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    fn below(name: &str, graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
        let longest = graph[name].iter().map(|other| below(other, graph)).max_by_key(Vec::len);
        let mut chain = vec![name.to_owned()];
        chain.extend(longest.unwrap_or_default());
        chain
    }
    graph.keys().map(|name| below(name, graph)).max_by_key(Vec::len).unwrap_or_default()
}

#[test]
fn rows_of_the_table_are_read_and_other_tables_are_not() {
    let text = "| level | crate | it is | depends on |\n|---|---|---|---|\n\
                | 0 | `kit` | batteries | – |\n| 3 | `proxy` | data path | `kit`, `registry` |\n\
                | word | meaning |\n";
    let told = told(text);
    assert_eq!(told.keys().collect::<Vec<_>>(), ["kit", "proxy"]);
    assert!(told["kit"].depends_on.is_empty());
    assert_eq!(told["proxy"].level, 3);
    assert_eq!(told["proxy"].depends_on, ["kit".to_owned(), "registry".to_owned()].into());
}

#[test]
fn the_longest_chain_is_found() {
    let graph = [("a", vec!["b", "c"]), ("b", vec!["c"]), ("c", vec![]), ("d", vec!["c"])];
    let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let graph = graph.into_iter().map(|(name, below)| (name.to_owned(), own(below))).collect();
    assert_eq!(longest_chain(&graph), ["a", "b", "c"]);
}
