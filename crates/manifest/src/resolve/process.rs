//! What one process needs: command, user, limits, signals, restarts, logging.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::units::Bytes;

use crate::fault::{Fault, Span};
use crate::spec::{Limits, Logging, Restart, RestartWhen, Ulimit, Work};
use crate::text::Service;
use crate::text::decode::{Faults, nearest, shown};
use crate::text::deploy::RestartCondition;
use crate::text::scalar::note;
use crate::text::shape::Form;

/// The first delay before a restart where the file says nothing.
pub(crate) const RESTART_DELAY: Duration = Duration::from_millis(100);
/// How long an instance must run to count as recovered where the file says nothing.
pub(crate) const RESTART_WINDOW: Duration = Duration::from_secs(10);
/// What is kept of each instance's output where the file says nothing.
pub(crate) const LOGGING: Logging = Logging { max_size: Bytes(10 << 20), max_files: 3 };

/// Resource names of `setrlimit(2)`, lower case, without `RLIMIT_`.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Signals of Linux with their numbers on every architecture that Atoll runs on (x86-64, aarch64).
const SIGNALS: [(&str, u8); 31] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// How instances come to life. `None`: there is nothing to run, which is noted. The service stands from
/// `key` to the end of `extent`.
pub(crate) fn work(
    name: &str,
    service: &Service,
    (key, extent): (Span, Span),
    faults: &mut Faults,
) -> Option<Work> {
    let unsupported = |what: &str| {
        Some(Work::Unsupported(format!("`{what}` needs a container, and containers come later")))
    };
    if service.image.is_some() {
        return unsupported("image");
    }
    if service.build.is_some() {
        return unsupported("build");
    }
    let words = |command: &Option<crate::text::At<crate::text::command::Command>>| {
        command.as_ref().map(|command| command.value.0.clone()).unwrap_or_default()
    };
    let mut argv = words(&service.entrypoint);
    argv.extend(words(&service.command));
    if let Some(program) = argv.first() {
        if program.is_empty() {
            let at =
                service.entrypoint.as_ref().filter(|entry| !entry.0.is_empty()).or(service.command.as_ref());
            let span = at.map_or(key, |at| at.span);
            faults.bad_value(span, "the program's name is empty", "write the program first");
            return None;
        }
        return Some(Work::Process(argv));
    }
    if service.provider.is_some() {
        return Some(Work::Unsupported("`provider` is not called".to_owned()));
    }
    if faults.any_error_in(key, extent) {
        return None; // what runs may be what could not be read
    }
    let message = format!("service `{}` has nothing to run", shown(name));
    let fault = Fault::error("A0302", key, message).label("no `command`, no `image`, no `build`");
    faults.add(fault.hint("say what runs: `command: [program, argument]`"));
    None
}

/// Checks `user`: `name|uid[:group|gid]`.
pub(crate) fn user(service: &Service, faults: &mut Faults) -> Option<String> {
    let user = service.user.as_ref()?;
    let fine = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == ':');
    let ok = match user.split_once(':') {
        Some((name, group)) => fine(name) && fine(group),
        None => fine(user),
    };
    if !ok {
        let message = format!("`{}` is not a user", shown(user));
        faults.bad_value(user.span, message, "write it like `name`, `1000` or `name:group`");
        return None;
    }
    Some(user.value.clone())
}

/// The resource limits of each process.
pub(crate) fn ulimits(service: &Service, faults: &mut Faults) -> BTreeMap<String, Ulimit> {
    let mut limits = BTreeMap::new();
    for (name, at) in service.ulimits.iter().flat_map(|ulimits| &ulimits.0) {
        let known = name.to_ascii_lowercase();
        if !ULIMITS.contains(&known.as_str()) {
            let hint = match nearest(&known, ULIMITS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", ULIMITS.join(", ")),
            };
            faults.add(
                Fault::error("A0311", at.key, format!("there is no ulimit `{}`", shown(name))).hint(hint),
            );
            continue;
        }
        let (soft, hard) = match &at.value {
            Form::Short(both) => (*both, *both),
            Form::Long(long) => match (&long.soft, &long.hard) {
                (Some(soft), Some(hard)) => (soft.value, hard.value),
                _ => continue, // a missing key was noted
            },
        };
        let bound = |number: i64| match number {
            -1 => Some(None),
            number => u64::try_from(number).ok().map(Some),
        };
        let (Some(soft), Some(hard)) = (bound(soft), bound(hard)) else {
            faults.bad_value(
                at.span,
                "a ulimit is a whole number, or -1 for unlimited",
                "write -1 or a number from 0",
            );
            continue;
        };
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            faults.bad_value(
                at.span,
                "the soft limit is above the hard limit",
                "raise `hard` or lower `soft`",
            );
            continue;
        }
        limits.insert(known, Ulimit { soft, hard });
    }
    limits
}

/// Limits of an instance as a whole. Compose has two spellings of each; they must agree.
pub(crate) fn limits(service: &Service, faults: &mut Faults) -> Limits {
    let deploy = service.deploy.as_ref();
    let written = deploy.and_then(|deploy| deploy.resources.as_ref()).and_then(|r| r.limits.as_ref());
    let cpus = one_of(
        service.cpus.as_ref().map(|at| (at.value, at.span)),
        written.and_then(|limits| limits.cpus.as_ref()).map(|at| (at.value, at.span)),
        ["cpus", "deploy.resources.limits.cpus"],
        faults,
    );
    let memory = one_of(
        service.mem_limit.as_ref().map(|at| (at.value.0, at.span)),
        written.and_then(|limits| limits.memory.as_ref()).map(|at| (at.value.0, at.span)),
        ["mem_limit", "deploy.resources.limits.memory"],
        faults,
    );
    let pids = one_of(
        service.pids_limit.as_ref().map(|at| (at.value, at.span)),
        written.and_then(|limits| limits.pids.as_ref()).map(|at| (at.value, at.span)),
        ["pids_limit", "deploy.resources.limits.pids"],
        faults,
    );
    if let Some((cpus, span)) = cpus
        && cpus < 0.0
    {
        faults.bad_value(span, "a share of CPUs cannot be negative", "write it like `1.5`");
    }
    Limits {
        cpus: cpus.map(|(cpus, _)| cpus).filter(|cpus| *cpus > 0.0), // 0 is Compose's "no limit"
        memory: memory.and_then(|(memory, _)| memory).filter(|memory| memory.0 > 0),
        pids: pids.and_then(|(pids, _)| u64::try_from(pids).ok()).filter(|pids| *pids > 0),
    }
}

/// The one of two spellings that is written; a fault when both are and differ.
pub(crate) fn one_of<T: PartialEq>(
    first: Option<(T, Span)>,
    second: Option<(T, Span)>,
    names: [&str; 2],
    faults: &mut Faults,
) -> Option<(T, Span)> {
    if let (Some((one, span)), Some((two, other))) = (&first, &second)
        && one != two
    {
        let message = format!("`{}` and `{}` say different things", names[0], names[1]);
        let fault = Fault::error("A0309", *span, message).also(*other, "and here");
        faults.add(fault.hint("keep one of them"));
    }
    second.or(first)
}

/// When an instance that ended starts again. `awaited`: another service waits for it to run to its end.
///
/// Where the file says nothing Atoll differs from Compose, which never restarts: a service that fails is
/// started again, unless somebody waits for its end.
pub(crate) fn restart(service: &Service, awaited: bool, faults: &mut Faults) -> Restart {
    let mut restart = Restart {
        when: if awaited { RestartWhen::Never } else { RestartWhen::OnFailure },
        max_attempts: None,
        delay: RESTART_DELAY,
        window: RESTART_WINDOW,
    };
    if let Some(policy) = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref()) {
        restart.when = match policy.condition.as_ref().map(|condition| condition.value) {
            Some(RestartCondition::Never) => RestartWhen::Never,
            Some(RestartCondition::OnFailure) => RestartWhen::OnFailure,
            Some(RestartCondition::Any) | None => RestartWhen::Always,
        };
        restart.max_attempts = policy.max_attempts.as_ref().map(|most| most.value);
        restart.delay = policy.delay.as_ref().map_or(RESTART_DELAY, |delay| delay.value.0);
        restart.window = policy.window.as_ref().map_or(RESTART_WINDOW, |window| window.value.0);
        return restart;
    }
    let Some(written) = &service.restart else { return restart };
    let (word, most) = match written.split_once(':') {
        Some((word, most)) => (word, Some(most)),
        None => (written.as_str(), None),
    };
    let most = most.map(str::parse::<u32>);
    restart.when = match (word, &most) {
        ("no", None) => RestartWhen::Never,
        ("always" | "unless-stopped", None) => RestartWhen::Always,
        ("on-failure", None | Some(Ok(_))) => RestartWhen::OnFailure,
        _ => {
            let words = ["no", "always", "unless-stopped", "on-failure"];
            let hint = match nearest(word, words).filter(|near| *near != word) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "legal are `no`, `always`, `unless-stopped`, `on-failure`, `on-failure:3`".to_owned(),
            };
            faults.bad_value(written.span, format!("`{}` is not a restart policy", shown(written)), hint);
            return restart;
        }
    };
    restart.max_attempts = most.and_then(Result::ok).filter(|most| *most > 0); // 0 is Docker's "no bound"
    restart
}

/// The signal that asks an instance to end, by its Linux name.
pub(crate) fn stop_signal(service: &Service, faults: &mut Faults) -> String {
    const DEFAULT: &str = "SIGTERM";
    let Some(written) = &service.stop_signal else { return DEFAULT.to_owned() };
    let upper = written.to_ascii_uppercase();
    let long = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let number = written.parse::<u8>().ok();
    if let Some((name, _)) = SIGNALS.iter().find(|(name, value)| *name == long || Some(*value) == number) {
        return (*name).to_owned();
    }
    let fault = Fault::error("A0311", written.span, format!("there is no signal `{}`", shown(written)));
    faults.add(match nearest(&long, SIGNALS.iter().map(|(name, _)| *name)) {
        Some(near) => fault.hint(format!("did you mean `{near}`?")),
        None => fault.hint("write its name, such as `SIGINT`"),
    });
    DEFAULT.to_owned()
}

/// How output is kept.
pub(crate) fn logging(service: &Service, faults: &mut Faults) -> Logging {
    let mut logging = LOGGING;
    let Some(written) = &service.logging else { return logging };
    if let Some(driver) = &written.driver
        && !matches!(driver.as_str(), "json-file" | "local")
    {
        let message = format!("the logging driver `{}` is not there: output is kept in files", shown(driver));
        note(faults, "A0205", driver.span, message, "");
        return logging; // the options are another driver's
    }
    for (key, at) in written.options.iter().flat_map(|options| &options.0) {
        let text = at.value.as_deref().unwrap_or_default();
        match key.as_str() {
            "max-size" => match text.parse::<Bytes>() {
                Ok(size) if size.0 >= 4096 => logging.max_size = size,
                _ => faults.bad_value(
                    at.span,
                    format!("`{}` is not a size from 4k", shown(text)),
                    "write it like `10m`",
                ),
            },
            "max-file" => match text.parse::<u32>() {
                Ok(files) if files > 0 => logging.max_files = files,
                _ => faults.bad_value(
                    at.span,
                    format!("`{}` is not a number from 1", shown(text)),
                    "write it like `3`",
                ),
            },
            _ => {
                let message = format!("the logging option `{}` has no effect", shown(key));
                note(faults, "A0205", at.key, message, "`max-size` and `max-file` have");
            }
        }
    }
    logging
}
