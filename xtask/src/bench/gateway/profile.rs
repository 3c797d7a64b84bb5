//! Where a proxy's time goes: `perf` samples it under load, the symbols of its user space are listed.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::load::{self, Job, Times};
use super::machine::{self, Cores, Tree};

/// Samples a second: a prime, so that nothing periodic is met again and again.
const FREQUENCY: u32 = 1999;

/// Symbols that are listed.
const SHOWN: usize = 25;

/// How long is sampled.
const SPAN: Duration = Duration::from_secs(3);

/// Symbols with their shares, as lines; or why there are none.
pub(crate) fn of(name: &str, jobs: &[Job], tree: &Tree, cores: Cores) -> Vec<String> {
    match sample(jobs, tree, cores) {
        Ok(report) => [format!("profile of {name}:")].into_iter().chain(summary(&report)).collect(),
        Err(error) => vec![format!("no profile of {name}: {error:#}")],
    }
}

fn sample(jobs: &[Job], tree: &Tree, cores: Cores) -> anyhow::Result<String> {
    let perf = machine::find("perf").context("perf is not installed")?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("perf.data");
    let pids: Vec<_> = tree.pids()?.iter().map(u32::to_string).collect();
    let mut record = Command::new(&perf);
    record.args(["record", "-q", "-F", &FREQUENCY.to_string(), "-p", &pids.join(","), "-o"]).arg(&data);
    record.args(["--", "sleep", &SPAN.as_secs().to_string()]);
    record.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Sampling ends by itself, while the load goes on a little longer.
    let record = record.spawn().context("start perf")?;
    let times = Times { warm: Duration::from_millis(100), span: SPAN };
    let loaded = load::run(jobs, tree, times, cores);
    let recorded = record.wait_with_output()?;
    loaded?;
    ensure!(
        recorded.status.success(),
        "perf record: {}",
        String::from_utf8_lossy(&recorded.stderr).trim_end()
    );
    let mut report = Command::new(&perf);
    report.args([
        "report",
        "--stdio",
        "--no-children",
        "-g",
        "none",
        "--sort",
        "dso,symbol",
        "-t",
        ";",
        "-i",
    ]);
    let output = report.arg(&data).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "perf report: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lines of `share;object;[.] symbol`: how much is the kernel's, then the symbols that are not.
fn summary(report: &str) -> Vec<String> {
    let (mut kernel, mut user, mut symbols) = (0.0, 0.0, Vec::new());
    for line in report.lines().filter(|line| !line.starts_with('#')) {
        let mut cells = line.split(';').map(str::trim);
        let (Some(share), Some(object), Some(symbol)) = (cells.next(), cells.next(), cells.next()) else {
            continue;
        };
        let Ok(share) = share.trim_end_matches('%').parse::<f64>() else { continue };
        match symbol.strip_prefix("[.] ") {
            Some(symbol) => {
                user += share;
                symbols.push((share, object, symbol));
            }
            None => kernel += share,
        }
    }
    let mut lines = vec![format!("  kernel {kernel:.1} %, user space {user:.1} %, of which")];
    let shown = symbols.iter().take(SHOWN);
    lines.extend(shown.map(|(share, object, symbol)| format!("  {share:5.2} %  {symbol}  ({object})")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_split_into_kernel_and_symbols() {
        let report = "# Overhead;Shared Object;Symbol\n60.00%;[kernel.kallsyms];[k] tcp_ack\n\
                      25.00%;atoll;[.] httparse::parse\n5.00%;libc.so.6;[.] memcpy\n\n";
        let lines = summary(report);
        assert_eq!(lines[0], "  kernel 60.0 %, user space 30.0 %, of which");
        assert_eq!(lines[1], "  25.00 %  httparse::parse  (atoll)");
        assert_eq!(lines.len(), 3);
    }
}
