//! `atoll schema`: the JSON Schema of the application file.

use crate::failure::{Failure, print_json};

/// Print the JSON Schema of the application file, for editors
///
/// Save it and name it in the first line of the file:
/// `# yaml-language-server: $schema=./atoll.schema.json`
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct SchemaArgs {}

/// Runs the command.
pub(crate) fn run(_: SchemaArgs) -> Result<u8, Failure> {
    print_json(&manifest::schema())?;
    Ok(0)
}
