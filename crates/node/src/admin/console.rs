//! The console over the API: a way in.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;

use super::{Answer, Shared, body, problem};

pub(crate) async fn open(
    State(admin): Shared,
    wish: Result<Json<api::OpenConsole>, JsonRejection>,
) -> Answer<api::ConsoleLogin> {
    admin.applier.console.login(body(wish)?).map(Json).ok_or_else(problem::no_console)
}
