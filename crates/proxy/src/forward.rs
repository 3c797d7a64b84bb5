//! To which service a request goes, and what is done when that fails: split, mirror, call, fallback.

use std::rc::Rc;
use std::sync::Arc;

use kit::units::Share;
use manifest::spec;
use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::exchange::{Answer, Asked, Exchange};
use crate::failure::{Failure, Kind};
use crate::head::deadline;
use crate::policy::draw;
use crate::rare::apart;
use crate::retry::Call;
use crate::table::Target;
use crate::thread::Thread;
use crate::upload::Upload;
use crate::{balance, fallback, mirror};

/// What a route does with a request that is for a service.
pub(crate) struct Forward {
    pub(crate) rule: spec::Guard,
    pub(crate) target: Target,
    /// Other services that take a part, in order.
    pub(crate) split: Vec<(spec::Split, Target)>,
    /// A service that sees copies.
    pub(crate) mirror: Option<(Share, Arc<Target>)>,
    pub(crate) fallback: Option<fallback::Fallback>,
}

impl Forward {
    /// Gets an answer, from the service or in its stead.
    pub(crate) async fn run(&self, thread: &Rc<Thread>, exchange: &mut Exchange) -> Result<Answer, Failure> {
        let start = Instant::from_std(exchange.record.started());
        let deadline = Deadline::new(start, self.rule.timeout, deadline::asked(&exchange.asked.head.fields));
        let now = Instant::from_std(exchange.now);
        if deadline.at() <= now {
            let detail = "whoever called has stopped waiting already";
            return Err(Failure::new(Kind::DeadlineExceeded, detail));
        }
        if let Some((share, target)) = &self.mirror
            && draw::is_in(*share, thread.dice.roll())
        {
            mirror::copy(thread, exchange, target, self.rule.timeout);
        }
        let upload = Upload::new(exchange.take_body());
        exchange.record.upload(&upload);
        let target = self.choose(&exchange.asked, thread);
        let call =
            Call { thread, exchange, upload: &upload, target, rule: &self.rule, deadline: &deadline, now };
        let outcome = call.run().await;
        match &self.fallback {
            None => outcome,
            Some(fallback) => {
                apart(fallback.mend(thread, exchange, &self.rule, &upload, &deadline, outcome)).await
            }
        }
    }

    /// The first part of the split whose matches the request has and that is drawn; else the service itself.
    fn choose(&self, asked: &Asked, thread: &Thread) -> &Target {
        if self.split.is_empty() {
            return &self.target;
        }
        let has = |part: &spec::Split| {
            let fields = &asked.head.fields;
            let header = |want: &spec::HeaderMatch| {
                let mut values = fields.get_all(&want.name);
                values.any(|have| want.value.as_ref().is_none_or(|want| have == want.as_bytes()))
            };
            let cookie = |(name, want): &(String, Option<String>)| {
                let have = balance::cookie(fields, name);
                have.is_some_and(|have| want.as_ref().is_none_or(|want| have == want.as_bytes()))
            };
            part.headers.iter().all(header) && part.cookies.iter().all(cookie)
        };
        let parts = self.split.iter().enumerate().filter(|(_, (part, _))| has(part));
        let drawn = draw::split(parts.map(|(index, (part, _))| (index, part.share)), thread.dice.roll());
        drawn.and_then(|index| self.split.get(index)).map_or(&self.target, |(_, target)| target)
    }
}
