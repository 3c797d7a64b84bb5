//! Queues whose times do not fit together.

use kit::units::format_duration;

use super::{Finding, MAX_PER_RULE};
use crate::fault::Severity;
use crate::spec::App;

/// Looks at each queue by itself, and at where its dead letters go.
pub(super) fn look(app: &App, findings: &mut Vec<Finding>) {
    findings.extend(seen_twice(app).take(MAX_PER_RULE));
    findings.extend(lost_dead_letters(app).take(MAX_PER_RULE));
}

/// A message that shows up again while it is still being worked on.
fn seen_twice(app: &App) -> impl Iterator<Item = Finding> {
    app.queues().filter_map(|queue| {
        let deliver = queue.deliver.as_ref().filter(|deliver| queue.visibility < deliver.timeout)?;
        let message = format!(
            "a delivery from `{}` may take {}, and its messages are hidden for {}: they would be delivered twice",
            queue.name,
            format_duration(deliver.timeout),
            format_duration(queue.visibility)
        );
        let hint = "leave `visibility` out: it follows the timeout of `deliver`";
        Some(Finding::new("A0411", Severity::Warning, message, vec![queue.owner.clone()], hint))
    })
}

/// The time of a message runs on when it becomes a dead letter.
fn lost_dead_letters(app: &App) -> impl Iterator<Item = Finding> {
    app.queues().filter_map(|queue| {
        let taker = app.pipes.queues.get(&queue.dead_letter.as_ref()?.to)?;
        if taker.fifo.is_some() || taker.retention >= queue.retention {
            return None;
        }
        let message = format!(
            "`{}` keeps dead letters for {} since they were first sent, and `{}` may have kept them for {} by then",
            taker.name,
            format_duration(taker.retention),
            queue.name,
            format_duration(queue.retention)
        );
        let hint = "keep dead letters longer: `retention: 14d` there, or less here";
        Some(Finding::new("A0412", Severity::Warning, message, vec![queue.owner.clone(), taker.owner.clone()], hint))
    })
}
