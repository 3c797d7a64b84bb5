//! What buttons do: one wish to the admin API each. Only for operators, only from a form of their own session, and
//! only once they have said that they are sure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::{
    BreakerOrder, DecideError, ErrorState, MoveMessages, Order, PublishMessage, Restart, Scale, SendMessage,
};
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use maud::html;
use serde::Serialize;

use crate::desk::{Desk, Note};
use crate::place::{Place, Query};
use crate::session::{Role, Who};
use crate::view::{At, View};
use crate::{bits, pages, server, view, words};

/// How long an action may take before the page stops waiting for it.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Actions that are asked about first.
const WEIGHTY: [&str; 5] = ["restart", "scale", "breaker", "purge", "move"];

/// The fields of a form.
type Fields = BTreeMap<String, String>;

#[derive(Serialize)]
struct Outcome {
    done: bool,
    text: String,
}

/// `POST /do/ACTION`. The script of the page asks for JSON; without it the browser comes back to its page.
pub(crate) async fn run(
    State(desk): State<Arc<Desk>>,
    Extension(who): Extension<Who>,
    Path(action): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    if !who.sent(field("csrf")) {
        return answer(
            &headers,
            StatusCode::FORBIDDEN,
            "this form is of another session: load the page again",
        );
    }
    if action == "log-out" {
        desk.log_out(&headers);
        return Redirect::to("/login").into_response();
    }
    if who.role != Role::Operator {
        return answer(&headers, StatusCode::FORBIDDEN, "a viewer may look, and change nothing");
    }
    if WEIGHTY.contains(&action.as_str()) && field("sure") != "yes" {
        return sure(&desk, who, &action, &fields).await;
    }
    let Ok(_place) = desk.actions.try_acquire() else {
        return answer(
            &headers,
            StatusCode::SERVICE_UNAVAILABLE,
            "too much is under way: wait for some of it to end",
        );
    };
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(PATIENCE, act(&desk, &action, &fields)) => outcome,
        () = desk.stop.cancelled() => return answer(&headers, StatusCode::SERVICE_UNAVAILABLE, "the console ends"),
    };
    match outcome {
        Ok(Some(Ok(text))) if wants_json(&headers) => Json(Outcome { done: true, text }).into_response(),
        Ok(Some(Ok(_))) => server::back(field("back")).into_response(),
        Ok(Some(Err(note))) => {
            let hint = note.hint.map_or_else(String::new, |hint| format!(": {hint}"));
            answer(&headers, StatusCode::CONFLICT, &format!("{}{hint}", note.title))
        }
        Ok(None) => {
            answer(&headers, StatusCode::BAD_REQUEST, "the form lacks something, or is of another version")
        }
        Err(_) => {
            answer(&headers, StatusCode::ACCEPTED, "it is still under way: the page shows how it goes on")
        }
    }
}

/// Does it; nothing if the form is not understood.
async fn act(desk: &Desk, action: &str, fields: &Fields) -> Option<Result<String, Note>> {
    let field = |name: &str| fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let client = &desk.client;
    let outcome = match action {
        "restart" => {
            let targets = field("target").map(str::to_owned).into_iter().collect();
            client.restart(&Restart { targets }).await.map(|done| {
                format!(
                    "Restarted {}: {}",
                    words::several(done.instances.len() as u64, "instance"),
                    listed(&done.instances)
                )
            })
        }
        "scale" => {
            let (service, count) = (field("service")?, field("replicas")?.parse::<u32>().ok()?);
            let replicas = BTreeMap::from([(service.to_owned(), count)]);
            let outcome = client.scale(&Scale { replicas }).await;
            outcome
                .map(|_| format!("{service} is being scaled to {}", words::several(count.into(), "instance")))
        }
        "breaker" => {
            let route = field("route")?.to_owned();
            let (order, what) = match field("order")? {
                "open" => (Order::Open, "is held open: every request is refused"),
                "close" => (Order::Close, "is held closed: every request passes"),
                "auto" => (Order::Auto, "judges again"),
                _ => return None,
            };
            client
                .order_breaker(&BreakerOrder { route: route.clone(), order })
                .await
                .map(|_| format!("{route} {what}"))
        }
        "send" => {
            let queue = field("queue")?;
            let message = SendMessage {
                body: field("body")?.to_owned(),
                attributes: BTreeMap::new(),
                group: field("group").map(str::to_owned),
                dedup: field("dedup").map(str::to_owned),
                delay_s: match field("delay") {
                    Some(delay) => Some(delay.parse().ok()?),
                    None => None,
                },
            };
            client.send_message(queue, &message).await.map(|sent| match sent.duplicate {
                true => format!("{} was there already", sent.id),
                false => format!("Sent {}", sent.id),
            })
        }
        "publish" => {
            let message = PublishMessage {
                body: field("body")?.to_owned(),
                subject: field("subject").map(str::to_owned),
                attributes: BTreeMap::new(),
                group: field("group").map(str::to_owned),
                dedup: field("dedup").map(str::to_owned),
            };
            client.publish(field("topic")?, &message).await.map(|sent| match sent.duplicate {
                true => format!("{} was there already", sent.id),
                false => format!("Published {}", sent.id),
            })
        }
        "purge" => {
            let queue = field("queue")?;
            client.purge(queue).await.map(|_| format!("{queue} is empty"))
        }
        "move" => {
            let queue = field("queue")?;
            let wish = MoveMessages { to: field("to").map(str::to_owned), per_second: None };
            let to = wish.to.clone().unwrap_or_else(|| "where they came from".to_owned());
            client
                .move_messages(queue, &wish)
                .await
                .map(|_| format!("Messages of {queue} are on their way to {to}"))
        }
        "error" => {
            let (state, what) = match field("state")? {
                "open" => (ErrorState::Open, "open again"),
                "resolved" => (ErrorState::Resolved, "resolved: you will hear if it comes back"),
                "ignored" => (ErrorState::Ignored, "ignored"),
                _ => return None,
            };
            client.decide_error(field("id")?, &DecideError { state }).await.map(|_| format!("It is {what}"))
        }
        _ => return None,
    };
    Some(outcome.map_err(Note::from))
}

/// The first few names.
fn listed(names: &[String]) -> String {
    const FEW: usize = 5;
    let more = names.len().saturating_sub(FEW);
    let mut text = names.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers
        .get("accept")
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("json"))
}

fn answer(headers: &HeaderMap, status: StatusCode, text: &str) -> Response {
    if wants_json(headers) {
        return (status, Json(Outcome { done: false, text: text.to_owned() })).into_response();
    }
    (status, format!("{text}\n")).into_response()
}

/// Asks, for browsers without the script that asks.
async fn sure(desk: &Desk, who: Who, action: &str, fields: &Fields) -> Response {
    let back = fields.get("back").map(String::as_str).unwrap_or_default();
    let at = At { place: Place::Overview, query: Query::default(), who };
    let told = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "csrf" | "back" | "sure"));
    let page = View::new("Are you sure?").still("sure-page", html! {
        form method="post" action={ "/do/" (action) } {
            p { "This is about to be done: " strong { (action) } }
            dl.facts { @for (name, value) in told { div { dt { (name) } dd { (words::clip(value, 300)) } } } }
            @for (name, value) in fields.iter().filter(|(name, _)| name.as_str() != "csrf") {
                input type="hidden" name=(name) value=(value);
            }
            (bits::csrf(&at))
            input type="hidden" name="sure" value="yes";
            div.row {
                a href=(crate::gate::next_place(back)) { "Cancel" }
                button.primary type="submit" { "Go on" }
            }
        }
    });
    let head = pages::head(desk).await;
    Html(view::frame(&head, &at, &page).into_string()).into_response()
}
