//! The table of keys and the page that shows it are one.

use crate::text::support;

#[test]
fn the_reference_page_has_the_table_of_keys() {
    let page = include_str!("../../../../docs/application-file.md");
    let table = support::markdown();
    assert!(page.contains(table.trim_end()), "put this into docs/application-file.md:\n\n{table}");
}
