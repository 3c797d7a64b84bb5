//! The console: every form, and what is wrong.

use super::{app, loaded, one_service};
use crate::spec::Console;

#[test]
fn the_console_is_on_unless_the_file_says_off() {
    for (text, meant) in [
        ("", Console::Usual),
        ("console: on\n", Console::Usual),
        ("console: {}\n", Console::Usual),
        ("console: off\n", Console::Off),
        ("console: false\n", Console::Off),
        ("console: 4001\n", Console::At(([127, 0, 0, 1], 4001).into())),
        ("console: 0.0.0.0:4001\n", Console::At(([0, 0, 0, 0], 4001).into())),
        ("console: { listen: 0 }\n", Console::At(([127, 0, 0, 1], 0).into())),
        ("x-atoll: { console: off }\n", Console::Off),
    ] {
        assert_eq!(app(&format!("{}{text}", one_service(""))).console, meant, "{text}");
    }
}

#[test]
fn what_is_no_address_is_a_fault() {
    let faults = loaded(&format!("{}console: sometimes\n", one_service(""))).faults;
    let told: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(told, ["`sometimes` is not an address for the console"]);
}
