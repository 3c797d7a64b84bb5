//! The store over the API: a backup while everything goes on.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;

use super::{Answer, Shared, body, detached, problem};

pub(crate) async fn backup(
    State(admin): Shared,
    wish: Result<Json<api::BackupStore>, JsonRejection>,
) -> Answer<api::StoreBackup> {
    let api::BackupStore { directory } = body(wish)?;
    let store = admin.applier.broker.store().ok_or_else(problem::no_store)?;
    detached(async move {
        let to = PathBuf::from(directory);
        let report = store.backup(&to).await.map_err(|error| problem::no_backup(&error))?;
        Ok(Json(api::StoreBackup { version: report.version.0, keys: report.keys, bytes: report.bytes }))
    })
    .await
}
