//! `up` in a terminal: the node lives in this process and ends with it. Everything else goes through the
//! admin API, as if it were elsewhere.

use super::{Up, ended, now};
use crate::command::keeper_command;
use crate::diagnostics;
use crate::failure::Failure;
use crate::follow::{End, Follow, OnSignal};
use crate::show::term;
use crate::signals::Signals;

/// Starts a node here, applies the app, follows it to its end.
pub(super) async fn run(up: Up, mut signals: Signals) -> Result<u8, Failure> {
    let since = now();
    let app = up.loaded.app.name.as_str().to_owned();
    let state_dir = up.client.state_dir().to_owned();
    if term::can_redraw() {
        diagnostics::to_file(&state_dir)?; // lines on standard error would tear the board
    } else {
        diagnostics::to_stderr();
    }
    let options = node::Options {
        state_dir,
        app: app.clone(),
        keeper_command: keeper_command()?,
        detached: false,
        take_over: None,
    };
    let node = node::Node::start(options)?;
    let followed = follow(&up, &mut signals, since).await;
    if followed.is_err() {
        // Whatever went wrong, nothing may be left running behind it. When this fails too the node is gone.
        let _ = up.client.stop(&api::Stop { timeout_s: up.stop_timeout }).await;
    }
    if matches!(followed, Ok(End::Abandoned)) {
        // What is left ends with this process: the keepers see to it.
        return ended(End::Abandoned, &app);
    }
    let waited = node.wait();
    let end = followed?;
    waited?;
    ended(end, &app)
}

async fn follow(up: &Up, signals: &mut Signals, since: kit::Timestamp) -> Result<End, Failure> {
    up.client.apply(&up.apply).await?;
    Follow {
        client: &up.client,
        view: up.view(),
        on_signal: OnSignal::Stop,
        stop_now: false,
        stop_timeout: up.stop_timeout,
        services: Vec::new(),
        logs_since: Some(since),
        events_after: 0,
    }
    .run(signals)
    .await
}
