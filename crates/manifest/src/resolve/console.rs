//! `console` → whether there is one, and where it listens.

use super::gateway::parse_listen;
use crate::spec::Console;
use crate::text::File;
use crate::text::decode::{Faults, shown};
use crate::text::shape::{Form, Switch};

/// The console of an app.
pub(crate) fn resolve(file: &File, faults: &mut Faults) -> Console {
    let Some(written) = &file.console else { return Console::Usual };
    let (listen, span) = match &written.value {
        Switch::Plain(true) => return Console::Usual,
        Switch::Plain(false) => return Console::Off,
        Switch::Detail(Form::Short(word)) => (word, written.span),
        Switch::Detail(Form::Long(long)) => match &long.listen {
            Some(at) => (&at.value, at.span),
            None => return Console::Usual,
        },
    };
    match parse_listen(&listen.0) {
        Some(address) => Console::At(address),
        None => {
            let message = format!("`{}` is not an address for the console", shown(&listen.0));
            let hint =
                "write a port (`4000`: this machine only), `0.0.0.0:4000` or `:4000` (everywhere), or `off`";
            faults.bad_value(span, message, hint);
            Console::Usual
        }
    }
}
