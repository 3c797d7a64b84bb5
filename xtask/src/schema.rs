//! `docs/atoll.schema.json`: the JSON Schema of the application file, for editors. It is what
//! `atoll schema` prints, kept in the repository so that an editor can fetch it without the binary.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| ".".into(), Path::to_owned)
}

fn path() -> PathBuf {
    root().join("docs/atoll.schema.json")
}

fn text() -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&manifest::schema())? + "\n")
}

/// Writes the file, or with `--check` compares it.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let path = path();
    match arguments {
        [] => {
            std::fs::write(&path, text()?).with_context(|| format!("write {}", path.display()))?;
            println!("wrote {}", path.display());
            Ok(())
        }
        [flag] if flag == "--check" => check(),
        _ => bail!("`schema` takes `--check` or nothing"),
    }
}

fn check() -> anyhow::Result<()> {
    let path = path();
    let kept = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    if kept != text()? {
        bail!("docs/atoll.schema.json is not what the types say: run `cargo xtask schema`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_in_docs_is_what_the_types_say() {
        super::check().unwrap();
    }
}
