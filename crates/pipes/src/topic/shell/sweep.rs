//! What time takes away: identities after five minutes, questions that nobody answered after two
//! days, those at the end of a subscription too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use kit::{OnError, Timestamp};

use super::Inner;
use super::token::GOOD_FOR;
use crate::topic::dedup::bucket;
use crate::topic::spaces::DEDUP;
use crate::topic::subscription::{State, Subscription};

const EVERY: Duration = Duration::from_secs(60);

impl Inner {
    /// Begins to sweep; `first` is the oldest five minutes of which there may be identities on disk.
    pub(super) fn start_sweeping(self: &Arc<Self>, first: u32) {
        let inner = Arc::clone(self);
        self.tasks.spawn("topics.sweep", OnError::Log, |stop| async move {
            let mut oldest = first;
            loop {
                inner.sweep(&mut oldest).await;
                let next = inner.clock.now() + EVERY;
                tokio::select! {
                    () = stop.cancelled() => return Ok::<_, Infallible>(()),
                    () = inner.clock.sleep_until(next) => {}
                }
            }
        });
    }

    async fn sweep(self: &Arc<Self>, oldest: &mut u32) {
        let now = self.clock.now();
        self.window().expire(now);
        // An identity is good in the five minutes that it is of, and in those after.
        while *oldest + 1 < bucket(now) {
            if let Err(error) = self.store.drop_bucket(DEDUP, &oldest.to_be_bytes()).await {
                tracing::warn!("cannot drop old identities: {error}");
                break;
            }
            *oldest += 1;
        }
        let all: Vec<_> = {
            let state = self.read();
            state.subscriptions.values().chain(state.ended.values()).cloned().collect()
        };
        for over in all.iter().filter(|there| is_over(there, now)) {
            let _changing = self.change.lock().await;
            // It may have been answered meanwhile.
            if self.subscription(over.id).is_none_or(|(there, _)| !is_over(&there, now)) {
                continue;
            }
            if let Err(error) = self.end(over.id).await {
                tracing::warn!(subscription = %over.id, "cannot remove a subscription nobody confirmed: {error}");
            }
        }
    }
}

/// Whether nobody can answer any more what was asked.
fn is_over(subscription: &Subscription, now: Timestamp) -> bool {
    let asked_at = match subscription.state {
        State::Pending => subscription.created_at,
        State::Ended { at } => at,
        State::Confirmed { .. } => return false,
    };
    now.since(asked_at) > GOOD_FOR
}
