//! The examples of this repository are files without a fault, and the linter has nothing to say of them.

use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn every_example_is_without_a_fault() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(examples).unwrap().flatten() {
        if !entry.path().join("atoll.yaml").exists() {
            continue;
        }
        seen += 1;
        for profiles in [vec![], vec!["*".to_owned()]] {
            let request = manifest::Request {
                working_dir: entry.path().canonicalize().unwrap(),
                profiles,
                environment: BTreeMap::new(),
                ..manifest::Request::default()
            };
            let loaded = manifest::load(&request);
            let report = manifest::report(&loaded.faults, &loaded.sources, false);
            assert_eq!(report, "", "{}", entry.path().display());
            let findings = manifest::lint(&loaded.app.unwrap());
            assert!(findings.is_empty(), "{}: {findings:#?}", entry.path().display());
        }
    }
    assert!(seen >= 2);
}
