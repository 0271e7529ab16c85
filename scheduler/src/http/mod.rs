//! The scheduler's one HTTP endpoint: the ECS API at `/`, the agents' channels below `/acs` and `/tcs`.

pub(crate) mod api;
pub(crate) mod body;
mod lanes;
mod server;
pub(crate) mod share;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::agents;
use crate::app::App;

pub(crate) use self::lanes::AgentsLane;
pub(crate) use self::server::serve;

/// Everything that is served.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", post(api::call))
        .route(agents::ACS_ROUTE, get(agents::open_acs))
        .route(agents::TCS_ROUTE, get(agents::open_tcs))
        .fallback(api::nothing_here)
        .method_not_allowed_fallback(api::nothing_here)
        .with_state(app)
}

#[cfg(test)]
mod tests;
