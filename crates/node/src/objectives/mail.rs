//! Writes an alert as a letter ([`letter`], pure) and hands it to a mail server ([`send`]). What others wrote (names, labels, texts) is one
//! line wherever it stands: nothing in it can begin a header or end the letter.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message};
use manifest::spec::{Mail, MailAddress, MailTls};
use telemetry::slo::Urgency;

use super::Notice;
use super::notify::{Untold, distinct, labels};

/// How long it may take until the server takes a letter.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may look at the letter before it says that it has taken it: it may look for what is harmful (RFC 5321 §4.5.3.2.6 has
/// ten minutes). Who gives up here and comes again is the one who makes duplicates (§6.1).
const LOOKING: Duration = Duration::from_secs(300);
/// How long the server may take to bid farewell; the letter is in its hands already.
const FAREWELL: Duration = Duration::from_secs(1);
/// Characters of a subject, and of a line of the text.
const SUBJECT: usize = 120;
const LINE: usize = 500;
/// Labels that are written.
const LABELS: usize = 50;
/// Characters of what a server says, in an event.
const SAID: usize = 200;

/// What a letter says beside the alert.
pub(super) struct Sender<'a> {
    pub(super) app: &'a str,
    /// The machine's name.
    pub(super) host: &'a str,
    /// Where the console is, if there is one.
    pub(super) console: Option<String>,
}

/// Says that nobody wrote this: whoever is away need not answer (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The letter: as it is sent, from the first header on. What is over answers what was told when it began, so that both stand together;
/// one that is tried again is the same letter.
fn letter(notice: &Notice, mail: &Mail, sender: &Sender<'_>) -> Result<Vec<u8>, Untold> {
    let domain = mail.from.address.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let about = format!("{}\0{}", sender.app, distinct(&labels(notice)));
    let begins = notice.since.as_micros() / 1_000_000;
    let id = |what: &str| {
        let digest = super::notify::digest(about.as_bytes());
        format!("<atoll.{digest:016x}.{begins}.{what}@{domain}>")
    };
    let mut builder = Message::builder()
        .from(mailbox(&mail.from)?)
        .subject(subject(notice, sender.app))
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        builder = builder.to(mailbox(to)?);
    }
    builder = match notice.ended {
        None => builder.message_id(Some(id("firing"))),
        Some(_) => answering(builder.message_id(Some(id("over"))), id("firing")),
    };
    let message = builder
        .body(text(notice, sender))
        .map_err(|error| Untold::for_good(format!("the letter cannot be written: {error}")))?;
    Ok(message.formatted())
}

fn answering(builder: MessageBuilder, id: String) -> MessageBuilder {
    builder.in_reply_to(id.clone()).references(id)
}

fn mailbox(address: &MailAddress) -> Result<Mailbox, Untold> {
    Ok(Mailbox::new(address.name.clone(), parsed(address)?))
}

fn parsed(address: &MailAddress) -> Result<Address, Untold> {
    let of = |error| Untold::for_good(format!("`{}` is no address to send to: {error}", address.address));
    address.address.parse().map_err(of)
}

/// In one line, no longer than so many characters. What cannot be seen, or ends a line, is a space.
fn line(text: &str, most: usize) -> String {
    let shown = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    let mut line: String = text.chars().take(most).map(shown).collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

fn subject(notice: &Notice, app: &str) -> String {
    let state = match (notice.ended, notice.urgency) {
        (Some(_), _) => "over",
        (None, Urgency::Page) => "page",
        (None, Urgency::Ticket) => "ticket",
    };
    line(&format!("[{app}] {state}: {}", notice.summary), SUBJECT)
}

fn text(notice: &Notice, sender: &Sender<'_>) -> String {
    let mut text = format!("{}\n\n", line(&notice.summary, LINE));
    let mut say = |what: &str, value: &str| {
        let _ = writeln!(text, "{what:<10} {}", line(value, LINE)); // writing to a string cannot fail
    };
    match notice.ended {
        None => say("state", &format!("firing ({})", notice.urgency.as_str())),
        Some(ended) => say("state", &format!("over since {ended}")),
    }
    say("since", &notice.since.to_string());
    say("app", &format!("{} on {}", sender.app, sender.host));
    for (label, value) in labels(notice).into_iter().take(LABELS) {
        say(&line(label, LINE), value);
    }
    if let Some(console) = &sender.console {
        let page = match &notice.service {
            Some(service) => format!("{console}/objectives\n{:<10} {console}/services/{service}", ""),
            None => format!("{console}/objectives"),
        };
        let _ = write!(text, "\nconsole    {page}\n");
    }
    text.push_str("terminal   atoll slo ls; atoll trace ls --failed\n");
    text
}

/// Who has not got a letter yet, from one try to the next.
#[derive(Default)]
pub(super) struct Left(Option<(Arc<Notice>, Vec<MailAddress>)>);

impl Left {
    fn of(&self, notice: &Arc<Notice>, mail: &Mail) -> Vec<MailAddress> {
        match &self.0 {
            Some((of, left)) if Arc::ptr_eq(of, notice) => left.clone(),
            _ => mail.to.clone(),
        }
    }
}

/// Hands it to the server. It is told for good where the server says that it never will take it; who is refused for now is tried again
/// without those who have it.
pub(super) async fn send(
    notice: &Arc<Notice>,
    mail: &Mail,
    sender: &Sender<'_>,
    left: &Mutex<Left>,
) -> Result<(), Untold> {
    let letter = letter(notice, mail, sender)?;
    let held = || left.lock().unwrap_or_else(PoisonError::into_inner);
    let to = held().of(notice, mail);
    let place = format!("the mail server {}:{}", mail.host, mail.port);
    let opening = tokio::time::timeout(PATIENCE, open(mail, &to, sender.host)).await;
    let Opened { mut server, refused, later } =
        opening.map_err(|_| Untold::again(format!("{place} does not take it within {PATIENCE:?}")))??;
    match tokio::time::timeout(LOOKING, server.message(&letter)).await {
        Ok(taken) => taken.map(drop).map_err(|error| untold(mail, &error))?,
        // It may have it: another one would be the second.
        Err(_) => {
            let why = format!("{place} has not said within {LOOKING:?} whether it has taken it");
            return Err(Untold::for_good(why));
        }
    }
    // It is in the server's hands; how it says good-bye changes nothing.
    let _ = tokio::time::timeout(FAREWELL, server.quit()).await;
    if later.is_empty() && refused.is_empty() {
        return Ok(());
    }
    let why = format!("{place} takes nothing for {}; all others have it", refused.join(", "));
    if later.is_empty() {
        return Err(Untold::for_good(why));
    }
    held().0 = Some((Arc::clone(notice), later));
    Err(Untold::again(why))
}

/// A server that is about to take a letter.
struct Opened {
    server: AsyncSmtpConnection,
    /// Who is not to get it, and why.
    refused: Vec<String>,
    /// Those of them who may get it another time.
    later: Vec<MailAddress>,
}

async fn open(mail: &Mail, to: &[MailAddress], host: &str) -> Result<Opened, Untold> {
    let failed = |error: lettre::transport::smtp::Error| untold(mail, &error);
    let tls = match mail.tls {
        MailTls::Off => None,
        MailTls::StartTls | MailTls::Implicit => Some(trust(mail.host.clone()).await?),
    };
    let (at_once, later) = if mail.tls == MailTls::Implicit { (tls, None) } else { (None, tls) };
    let hello = hello(host);
    let place = (mail.host.as_str(), mail.port);
    let connecting = AsyncSmtpConnection::connect_tokio1(place, Some(PATIENCE), &hello, at_once, None);
    let mut server = connecting.await.map_err(failed)?;
    if let Some(tls) = later {
        // Where the server has none this fails: nothing is said to it in the clear instead.
        server.starttls(tls, &hello).await.map_err(failed)?;
    }
    if let Some((user, password)) = &mail.login {
        let login = Credentials::new(user.clone(), password.clone());
        server.auth(DEFAULT_MECHANISMS, &login).await.map_err(failed)?;
    }
    server.command(MailFrom::new(Some(parsed(&mail.from)?), Vec::new())).await.map_err(failed)?;
    let (mut refused, mut later) = (Vec::new(), Vec::new());
    for one in to {
        match server.command(Rcpt::new(parsed(one)?, Vec::new())).await {
            Ok(_) => {}
            // One that is gone keeps it from nobody else.
            Err(error) if error.status().is_some() => {
                if error.is_transient() {
                    later.push(one.clone());
                }
                refused.push(format!("`{}` ({})", one.address, line(&error.to_string(), SAID)));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    if refused.len() == to.len() {
        let why =
            format!("the mail server {}:{} takes nothing for {}", mail.host, mail.port, refused.join(", "));
        return Err(if later.is_empty() { Untold::for_good(why) } else { Untold::again(why) });
    }
    server.command(Data).await.map_err(failed)?;
    Ok(Opened { server, refused, later })
}

/// What this machine trusts: read each time, on a thread that may wait for a disk.
async fn trust(host: String) -> Result<TlsParameters, Untold> {
    let failed = |error: String| Untold::again(format!("what this machine trusts cannot be read: {error}"));
    let read = tokio::task::spawn_blocking(move || TlsParameters::new(host)).await;
    read.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

fn hello(host: &str) -> ClientId {
    let plain =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if plain { ClientId::Domain(host.to_owned()) } else { ClientId::default() }
}

fn untold(mail: &Mail, error: &lettre::transport::smtp::Error) -> Untold {
    let why = format!(
        "the mail server {}:{} has not taken it: {}",
        mail.host,
        mail.port,
        line(&error.to_string(), SAID)
    );
    // What it does not speak it will not speak in a minute.
    if error.is_permanent() || error.is_client() { Untold::for_good(why) } else { Untold::again(why) }
}

#[cfg(test)]
mod tests;
