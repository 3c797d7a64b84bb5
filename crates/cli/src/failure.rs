//! How a command ends when it does not succeed.

use std::any::Any;
use std::io::{self, Write};
use std::path::PathBuf;

use api::{ClientError, Problem};
use kit::report::Exit;
use kit::{Explain, Help};

use crate::show::{Paint, clean};

/// The end of a command that did not succeed: what is still to be said, and the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Rendered by `kit::report` (or by `manifest` for faults in files); empty when all has been said.
    text: String,
    /// The exit status.
    status: u8,
}

impl Failure {
    /// Everything has been said already.
    pub(crate) const fn told(status: u8) -> Self {
        Self { text: String::new(), status }
    }

    /// A text that is rendered already.
    pub(crate) const fn rendered(text: String, status: u8) -> Self {
        Self { text, status }
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) -> u8 {
        let text = match self.text.strip_prefix("error[").and_then(|rest| rest.split_once("]:")) {
            Some((code, rest)) => format!("{}:{rest}", Paint::stderr().bad(format!("error[{code}]"))),
            None => self.text.clone(),
        };
        let _ = io::stderr().write_all(text.as_bytes());
        self.status
    }
}

impl<E: Explain + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let status = match error.help().exit {
            Exit::Failed => 1,
            Exit::Usage => 2,
        };
        let mut text = kit::report::render(&error);
        if let Some(ClientError::Refused(problem)) = (&error as &dyn Any).downcast_ref() {
            text.push_str(&detail(problem));
        }
        Self { text, status }
    }
}

/// What a node said beyond one line: the faults of a file, for example.
fn detail(problem: &Problem) -> String {
    problem.detail.lines().map(|line| format!("{}\n", clean::line(line, false))).collect()
}

/// What can go wrong in the command line tool itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The place given for the app does not exist.
    #[error("cannot find `{}`", .path.display())]
    NoSuchPlace {
        /// The place as given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A service that the app does not have.
    #[error("nothing is promised of `{name}`")]
    NoSuchSlo {
        /// As given.
        name: String,
    },
    #[error("the app has no service `{name}`")]
    NoSuchService {
        /// As given.
        name: String,
        /// One that it has, with a similar name.
        nearest: Option<String>,
    },
    /// What was acknowledged is not so.
    #[error("{faults} {} not as acknowledged", if *faults == 1 { "message is" } else { "messages are" })]
    NotDurable {
        /// How many.
        faults: u64,
    },
    /// No browser was opened.
    #[error("cannot start `xdg-open`")]
    NoBrowser(#[source] std::io::Error),
    /// A route that the app does not have.
    #[error("no route is called `{name}`")]
    NoSuchRoute {
        /// As given.
        name: String,
        /// One that there is, with a similar name.
        nearest: Option<String>,
    },
    /// A part of a name that several routes have.
    #[error("{} could be {routes}", if name.is_empty() { "without a name it".to_owned() } else { format!("`{name}`") })]
    ManyRoutes {
        /// As given.
        name: String,
        /// Their names.
        routes: String,
    },
    /// The detached node ended before it could answer.
    #[error("the node did not come up: {how}")]
    NodeDied {
        /// How it ended.
        how: String,
        /// What it left in its log.
        log: PathBuf,
    },
    /// Something is not ready in time.
    #[error("not ready within {after}: {who}")]
    NotReadyInTime {
        /// The limit.
        after: String,
        /// The services, each with where it stands.
        who: String,
    },
    /// A service failed that was waited for.
    #[error("failed: {who}")]
    ServiceFailed {
        /// The services, each with why.
        who: String,
    },
    /// There is an application file already.
    #[error("`{}` is there already", .path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// No page for this code.
    #[error("there is no error `{code}`")]
    NoSuchCode {
        /// As given.
        code: String,
    },
    /// A directory or file of the state directory cannot be made.
    #[error("cannot write `{}`", .path.display())]
    State {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An attribute without a name or a value.
    #[error("`{0}` is not NAME=VALUE")]
    NotAPair(String),
    /// A search goes through one service or all of them.
    #[error("a search takes one service or instance, or none for all")]
    OneTarget,
    /// Several apps have state here.
    #[error("the file cannot be used, and more than one app has state in `{}`: {names}", .path.display())]
    ManyApps {
        /// The directory with the state of each.
        path: PathBuf,
        /// Their names.
        names: String,
    },
    /// The node ended although nobody asked it to.
    #[error("the node of `{app}` ended")]
    NodeGone {
        /// The app.
        app: String,
    },
    /// Something on this machine failed that never should.
    #[error("cannot {what}")]
    Machine {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Explain for CliError {
    fn help(&self) -> Help {
        match self {
            Self::NoSuchPlace { .. } => {
                Help::code("A0804").hint("give the directory or file of an app, or a service's name").usage()
            }
            Self::NoSuchSlo { .. } => Help::code("A0827").hint("`atoll slo ls` lists what is promised"),
            Self::NoSuchService { nearest: Some(nearest), .. } => {
                Help::code("A0805").hint(format!("did you mean `{nearest}`?")).usage()
            }
            Self::NoSuchService { nearest: None, .. } => {
                Help::code("A0805").hint("`atoll config --services` lists them").usage()
            }
            Self::NotDurable { .. } => {
                Help::code("A0933").hint("keep nothing on this disk that must not be lost")
            }
            Self::NoBrowser(_) => Help::code("A0826").hint("open the address that was printed yourself"),
            Self::NoSuchRoute { nearest: Some(nearest), .. } => {
                Help::code("A0817").hint(format!("did you mean `{nearest}`?")).usage()
            }
            Self::NoSuchRoute { nearest: None, .. } => {
                Help::code("A0817").hint("`atoll breaker` lists them").usage()
            }
            Self::ManyRoutes { .. } => Help::code("A0818").hint("write more of the one you mean").usage(),
            Self::NotAPair(_) => Help::code("A0819").hint("write it like `kind=order`").usage(),
            Self::OneTarget => {
                Help::code("A0825").hint("leave the names out and search with `--where`").usage()
            }
            Self::NodeDied { log, .. } => Help::code("A0806").hint(format!("its log is `{}`", log.display())),
            Self::NotReadyInTime { .. } => {
                Help::code("A0807").hint("`atoll ps` shows what it waits for, `atoll logs` what it says")
            }
            Self::ServiceFailed { .. } => {
                Help::code("A0808").hint("`atoll logs` shows what it said; what runs goes on")
            }
            Self::FileExists { .. } => {
                Help::code("A0809").hint("`atoll check` looks at it; move it away to start anew")
            }
            Self::NoSuchCode { .. } => Help::code("A0810").hint("`atoll explain` lists every code").usage(),
            Self::State { .. } => {
                Help::code("A0811").hint("see who owns the directory, or choose another with `--state-dir`")
            }
            Self::ManyApps { .. } => Help::code("A0812").hint("say which with `-p`").usage(),
            Self::NodeGone { .. } => Help::code("A0813")
                .hint("`node.log` in its state directory says why; `atoll up` starts it again"),
            Self::Machine { .. } => Help::code("A0814").hint("`atoll doctor` checks this machine"),
        }
    }
}

/// Writes text to standard output. A closed pipe ends the command in silence: the reader has what it wanted.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::told(0)),
        Err(source) => Err(CliError::Machine { what: "write to standard output", source }.into()),
    }
}

/// Writes one JSON document to standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::Machine { what: "write JSON", source: io::Error::other(error) })?;
    print(&(text + "\n"))
}

/// A remark on standard error; it never fails a command.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
