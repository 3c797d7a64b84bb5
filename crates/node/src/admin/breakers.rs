//! Breakers over the API: seen, held, let go.

use api::{BreakerOrder, Guard, Order};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use proxy::policy::breaker;

use super::{Answer, Shared, body, problem};
use crate::guards::shown;

pub(crate) async fn list(State(admin): Shared) -> Json<Vec<Guard>> {
    Json(shown(&admin.applier.guards))
}

/// Orders hold in this node alone: one that takes over begins with breakers of its own. So none is taken while
/// it is not clear which node will be asked next.
pub(crate) async fn order(
    State(admin): Shared,
    wish: Result<Json<BreakerOrder>, JsonRejection>,
) -> Answer<Vec<Guard>> {
    let BreakerOrder { route, order } = body(wish)?;
    admin.applier.check_turn()?;
    let order = match order {
        Order::Open => breaker::Order::Open,
        Order::Close => breaker::Order::Closed,
        Order::Auto => breaker::Order::Auto,
    };
    if admin.applier.guards.order(&route, order) == 0 {
        return Err(problem::no_breaker(&route));
    }
    let mut guards = shown(&admin.applier.guards);
    guards.retain(|guard| guard.route == route);
    Ok(Json(guards))
}
