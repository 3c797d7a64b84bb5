//! `atoll trust`: where the development authority is, and how to trust it.

use std::path::{Path, PathBuf};

use identity::DevelopmentAuthority;
use kit::{Clock, Explain, Help, SystemClock, Timestamp};
use serde::Serialize;

use super::Context;
use crate::failure::{Failure, print, print_json};
use crate::flags::FormatFlag;
use crate::show::Paint;

/// Show the development certificate authority, and how to trust it
///
/// It is made once per user and issues the certificates of every gateway with `tls: development`. Atoll never
/// changes a trust store itself. JSON: `{certificate, directory, fingerprint, expires_at}`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TrustArgs {
    /// Print the path of its certificate (PEM) and nothing else
    #[arg(long)]
    print: bool,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
}

/// `--format json`.
#[derive(Serialize)]
struct Printed<'a> {
    certificate: &'a Path,
    directory: &'a Path,
    fingerprint: &'a str,
    expires_at: Timestamp,
}

/// Why there is no authority to show.
#[derive(Debug, thiserror::Error)]
enum TrustError {
    #[error("there is no place for a development authority of this user")]
    NoPlace,
}

impl Explain for TrustError {
    fn help(&self) -> Help {
        Help::code("A0816").hint("set `HOME`, or name a directory with `ATOLL_CA_DIR`")
    }
}

/// Runs the command.
pub(crate) fn run(args: &TrustArgs, _context: &Context) -> Result<u8, Failure> {
    let directory = directory()?;
    let authority = DevelopmentAuthority::open(&directory, SystemClock::new().now())?;
    let certificate = authority.certificate_path();
    if args.format.is_json() {
        print_json(&Printed {
            certificate: &certificate,
            directory: &directory,
            fingerprint: authority.fingerprint(),
            expires_at: authority.not_after(),
        })?;
    } else if args.print {
        print(&format!("{}\n", certificate.display()))?;
    } else {
        print(&text(&authority, &certificate, Paint::stdout()))?;
    }
    Ok(0)
}

/// Where a node of this user looks, too. Absolute, for it is meant for other programs.
fn directory() -> Result<PathBuf, Failure> {
    let usual = identity::development::usual_directory(|name| std::env::var_os(name));
    let directory = usual.ok_or(TrustError::NoPlace)?;
    Ok(std::path::absolute(&directory).unwrap_or(directory))
}

fn text(authority: &DevelopmentAuthority, certificate: &Path, paint: Paint) -> String {
    let path = certificate.display().to_string();
    let path = if path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''")) // as a shell takes it
    };
    let until: String = authority.not_after().to_string().chars().take("2026-11-21".len()).collect();
    format!(
        "{title}\n\
         \x20 certificate  {path}\n\
         \x20 SHA-256      {fingerprint}\n\
         \x20 valid until  {until}\n\
         \n\
         It vouches only for names under .localhost, .test, .internal, .local and the like, and for private\n\
         addresses. Its key stays in the same directory, for you alone.\n\
         \n\
         Trust it:\n\
         \x20 this machine (Debian)  sudo cp {path} /usr/local/share/ca-certificates/atoll.crt\n\
         \x20                        sudo update-ca-certificates\n\
         \x20 this machine (Fedora)  sudo trust anchor {path}\n\
         \x20 Chrome, Chromium       certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n Atoll -i {path}\n\
         \x20 Firefox                Settings, Certificates, Authorities, Import\n\
         \x20 one command            curl --cacert {path} https://localhost:8443/\n\
         \x20 Node.js                NODE_EXTRA_CA_CERTS={path}\n\
         \x20 Python                 SSL_CERT_FILE={path}, REQUESTS_CA_BUNDLE={path}\n",
        title = paint.bold("Development certificate authority"),
        fingerprint = authority.fingerprint(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_as_a_shell_takes_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("it's here");
        let authority = DevelopmentAuthority::open(&place, SystemClock::new().now()).unwrap();
        let text = text(&authority, &authority.certificate_path(), Paint::new(false));
        assert!(text.contains(r"it'\''s here/ca.pem'"), "{text}");
        assert!(text.contains(authority.fingerprint()), "{text}");
    }
}
