//! The reference page says what the code does.

use crate::Severity;
use crate::text::support;

/// Names on the page that its short examples do not define: services (A0305, A0319) and `auth` (A0318).
const UNDEFINED: [&str; 3] = ["A0305", "A0318", "A0319"];

#[test]
fn the_reference_page_has_the_table_of_keys() {
    let page = include_str!("../../../../docs/application-file.md");
    let table = support::markdown();
    assert!(page.contains(table.trim_end()), "put this into docs/application-file.md:\n\n{table}");
}

#[test]
fn every_example_of_traffic_and_of_pipes_is_legal() {
    let page = include_str!("../../../../docs/application-file.md");
    let mut seen = 0;
    for block in page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let indented = |by: &str| block.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
        let text = match block.split_whitespace().next() {
            Some("services:" | "gateway:" | "pipes:") => block.to_owned(),
            Some("calls:") => format!("services:\n  web:\n    command: [w]\n{}", indented("    ")),
            Some("-") => format!("services:\n  web:\n    command: [w]\n    routes:\n{}", indented("      ")),
            _ => continue, // alternatives side by side
        };
        let service = if text.contains("services:") { "" } else { "services: { web: { command: [w] } }\n" };
        // Pieces of a service say nothing of what runs; that is not what they are about.
        let loaded = super::loaded(&format!("{text}{service}"));
        let wrong: Vec<String> = loaded
            .faults
            .iter()
            .filter(|fault| fault.severity == Severity::Error)
            .filter(|fault| !UNDEFINED.iter().any(|code| fault.code == kit::Code::new(code)))
            .filter(|fault| fault.code != kit::Code::new("A0302"))
            .map(|fault| fault.message.clone())
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?} in\n{text}");
        seen += 1;
    }
    assert!(seen >= 20, "{seen}");
}
