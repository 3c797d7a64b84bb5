//! What is in force: the resolved file, the node, what telemetry keeps, who is logged in.

use maud::html;

use super::Missing;
use crate::bits;
use crate::desk::Desk;
use crate::view::{At, View};
use crate::words::{self, clip};

/// Characters of the file that are shown.
const MOST_FILE: usize = 80_000;

pub(crate) async fn page(desk: &Desk, at: &At) -> Result<View, Missing> {
    let (node, app, telemetry, status) =
        tokio::join!(desk.client.node(), desk.client.app(), desk.client.telemetry(), desk.feed.status());
    let (node, app, status) = (node?, app?, status?);
    let now = desk.now();
    let facts = html! {
        section.panel aria-label="Node" {
            h2 { "Node" }
            dl.facts {
                div { dt { "App" } dd { (clip(&node.app, 63)) } }
                div { dt { "Version" } dd { (clip(&node.version, 40)) } }
                div { dt { "Process" } dd { (node.pid) } }
                div { dt { "Started" } dd { (bits::date(node.started_at)) ", " (words::ago(node.started_at, now)) " ago" } }
                div { dt { "Runs" } dd { (if node.detached { "without a terminal" } else { "in a terminal" }) } }
                div { dt { "Project" } dd.mono { (clip(&status.root.display().to_string(), 200)) } }
                div { dt { "State" } dd.mono { (clip(&node.state_dir.display().to_string(), 200)) } }
                @for url in &status.gateway { div { dt { "Gateway" } dd.mono { (url) } } }
                @if let Some(pipes) = &status.pipes { div { dt { "Queues and topics" } dd.mono { (pipes) } } }
            }
        }
    };
    let kept = telemetry.ok().map(|stats| html! {
        section.panel aria-label="Telemetry" {
            h2 { "Telemetry" }
            dl.facts {
                div { dt { "Spans" } dd { (words::count(stats.spans)) } }
                div { dt { "Log records" } dd { (words::count(stats.logs)) } }
                div { dt { "Series" } dd { (words::count(stats.series)) } }
                div { dt { "Groups of errors" } dd { (words::count(stats.error_groups)) } }
                div { dt { "On disk" } dd { (words::bytes(stats.disk)) } }
                div { dt { "In memory" } dd { (words::bytes(stats.memory)) } }
                @if let Some(oldest) = stats.oldest { div { dt { "Oldest" } dd { (bits::date(oldest)) } } }
                @for (reason, count) in stats.dropped.iter().take(20) { div { dt { "Not kept: " (clip(reason, 60)) } dd { (words::count(*count)) } } }
            }
        }
    });
    let sessions = html! {
        section.panel aria-label="Sessions" {
            h2 { "Sessions" }
            ul.plain { @for (role, until) in desk.sessions() { li { (role.as_str()) ", until " (bits::date(until)) } } }
            p.muted { "They end with the console: on " code { "atoll down" } " and on " code { "atoll upgrade" } ". A new one: " code { "atoll console" } ", one that may only look: " code { "atoll console --role viewer" } "." }
        }
    };
    let file = html! {
        section.panel aria-label="Application file" {
            div.row.between { h2 { "The application file, resolved" } (bits::copy("atoll", "atoll config")) }
            pre.file tabindex="0" aria-label="The file" { (clip(&app.file, MOST_FILE)) }
        }
    };
    let view = View::new("Settings").live("node", facts);
    let view = match kept {
        Some(kept) => view.live("telemetry", kept),
        None => view,
    };
    let view = view.live("sessions", sessions);
    // The file may name what only operators should read.
    Ok(if at.operates() { view.still("file", file) } else { view })
}
