//! Signals by their Linux names.

/// Linux's names in the order of their numbers, from 1 (the numbers of x86-64, aarch64 and riscv64).
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// First and last real-time signal that programs may use: the C library keeps two for itself.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// The number of a signal: `SIGTERM`, `term`, `15`, `SIGRTMIN+3`, `SIGRTMAX-1`.
pub fn number(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    if let Ok(number) = upper.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if let Some(place) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(place + 1).ok();
    }
    let real_time = if let Some(rest) = name.strip_prefix("SIGRTMIN") {
        REAL_TIME.start() + offset(rest, '+')?
    } else {
        REAL_TIME.end() - offset(name.strip_prefix("SIGRTMAX")?, '-')?
    };
    REAL_TIME.contains(&real_time).then_some(real_time)
}

fn offset(rest: &str, sign: char) -> Option<i32> {
    if rest.is_empty() { Some(0) } else { rest.strip_prefix(sign)?.parse().ok() }
}

/// The name of a signal.
pub fn name(number: i32) -> String {
    let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
    match NAMES.get(place) {
        Some(name) => (*name).to_owned(),
        None => format!("SIGRTMIN+{}", number - REAL_TIME.start()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_reads_back_from_its_name() {
        for signal in (1..=31).chain(REAL_TIME) {
            assert_eq!(number(&name(signal)), Some(signal));
        }
        assert_eq!((number("term"), number("9"), number("SIGRTMAX-1")), (Some(15), Some(9), Some(63)));
        for bad in ["", "SIG", "SIGFOO", "0", "65", "SIGRTMIN+99", "SIGRTMIN3"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
