//! Access keys over the API.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use identity::{Grant, PipeKind};

use super::problem::Refusal;
use super::{Admin, Answer, Shared, body, problem};
use crate::broker::{self, Keys, ShownKey};

pub(crate) async fn list(State(admin): Shared) -> Answer<Vec<api::Key>> {
    let keys = keys(&admin)?.list().map_err(|error| problem::keys(&error))?;
    Ok(Json(keys.into_iter().map(|key| shown(&admin, key)).collect()))
}

pub(crate) async fn create(
    State(admin): Shared,
    wish: Result<Json<api::CreateKey>, JsonRejection>,
) -> Answer<api::CreatedKey> {
    let api::CreateKey { name, allow, lifetime_s } = body(wish)?;
    admin.applier.check_turn()?;
    let allow: Result<Vec<Grant>, _> = allow.iter().map(|text| text.parse()).collect();
    let allow = allow.map_err(|error| problem::no_grant(&error))?;
    let about_nothing =
        allow.iter().filter(|grant| !is_about_something(&admin, grant)).map(ToString::to_string).collect();
    let now = admin.applier.broker.now();
    let expires = lifetime_s.map(|seconds| now + Duration::from_secs(seconds));
    let made = keys(&admin)?.create(&name, allow, now, expires);
    let (key, credentials) = made.map_err(|error| problem::keys(&error))?;
    let outline = admin.applier.outline().await;
    Ok(Json(api::CreatedKey {
        key: shown(&admin, key),
        secret: credentials.secret.expose().to_owned(),
        endpoint: outline.pipes.map(broker::endpoint),
        region: broker::REGION.to_owned(),
        about_nothing,
    }))
}

pub(crate) async fn revoke(
    State(admin): Shared,
    wish: Result<Json<api::RevokeKey>, JsonRejection>,
) -> Answer<api::Key> {
    let api::RevokeKey { name } = body(wish)?;
    admin.applier.check_turn()?;
    let revoked = keys(&admin)?.revoke(&name).map_err(|error| problem::keys(&error))?;
    Ok(Json(api::Key { usable: false, ..shown(&admin, revoked) }))
}

fn keys(admin: &Admin) -> Result<&Keys, Refusal> {
    admin.applier.broker.keys().map_err(problem::no_door)
}

fn is_about_something(admin: &Admin, grant: &Grant) -> bool {
    let queues = admin.applier.broker.pipes().map(|pipes| pipes.queues("", None, usize::MAX));
    let topics = admin.applier.broker.topics().map(|topics| topics.topics(None, usize::MAX));
    queues.unwrap_or_default().iter().any(|name| grant.is_about(PipeKind::Queue, name.as_str()))
        || topics
            .unwrap_or_default()
            .iter()
            .any(|topic| grant.is_about(PipeKind::Topic, topic.name().as_str()))
}

fn shown(admin: &Admin, key: ShownKey) -> api::Key {
    let ShownKey { record, last_used, usable } = key;
    let now = admin.applier.broker.now();
    api::Key {
        name: record.name,
        access_key: record.access_key,
        allow: record.allow.iter().map(ToString::to_string).collect(),
        created_at: record.created,
        last_used_at: last_used,
        expires_at: record.expires,
        usable: usable && record.expires.is_none_or(|expires| now < expires),
    }
}
