//! Runs clients that are written in Python, where their packages are installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A Python that can import this: the one beside the build, else the usual one. Where nothing may be left out, there must
/// be one (`.ci/run tools` makes it).
pub(crate) fn find(imports: &str) -> Option<PathBuf> {
    let beside =
        std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("clients-python/bin/python");
    let found = [beside, "python3".into()].into_iter().find(|python| {
        let output =
            Command::new(python).args(["-c", &format!("import {imports}")]).stderr(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        assert!(
            std::env::var_os("ATOLL_CI_ALL").is_none(),
            "may not be skipped here: no Python with {imports}"
        );
        eprintln!("skipped: no Python with {imports} (`.ci/run tools` installs it)");
    }
    found
}

/// Runs a script of this folder to its end against an endpoint.
pub(crate) async fn run(url: String, python: PathBuf, script: &'static str) {
    let run = move || -> Output {
        let bin = python.parent().unwrap_or(Path::new("")).to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(&python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script)).arg(&url);
        command.env("PATH", format!("{}:{path}", bin.display())).env("AWS_ENDPOINT_URL", &url);
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_PAGER", ""),
        ] {
            command.env(name, value);
        }
        command.stdin(Stdio::null()).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{said}\n{complained}");
}
