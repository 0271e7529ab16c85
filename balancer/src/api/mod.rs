//! The ELBv2 API: AWS Query over POST `/`, or GET with the same parameters.
//!
//! ```text
//!  server -> call -> auth -> operations --> reads: the published state, and the data plane's word on health
//!                                      \--> changes: desk -> draft -> store -> plane
//! ```
//!
//! - [`draft`] and what is below it in this list are pure: a state and a request in, a state and an answer out.
//! - `load_balancers`, `target_groups` with `health_check`, `targets`, `listeners` with `tls`, `certificates` and `policies`,
//!   `rules` with `conditions` and `actions`, `attributes`, `tags`, `limits`: the operations, by what they are about.
//! - `check`: what is asked of single values; `page`: lists in pages; `show`: the model as ELBv2 shows it.

mod actions;
mod attributes;
mod auth;
mod call;
mod certificates;
mod check;
mod conditions;
mod desk;
mod draft;
mod health_check;
mod limits;
mod listeners;
mod load_balancers;
mod operations;
mod page;
mod policies;
mod rules;
mod server;
mod show;
mod tags;
mod target_groups;
mod targets;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use self::auth::Authenticator;
use crate::{Config, Keys};

pub(crate) use self::certificates::Certificates;
pub(crate) use self::desk::Desk;
pub(crate) use self::draft::Site;
pub(crate) use self::server::serve;

/// What every request needs.
#[derive(Debug)]
struct Api {
    desk: Arc<Desk>,
    authenticator: Authenticator,
}

impl Site {
    pub(crate) fn of(config: &Config) -> Self {
        let Config { data_dir, region, account, dns_name, bind, .. } = config;
        Self {
            region: region.clone(),
            account: account.clone(),
            dns_name: dns_name.clone(),
            bind: *bind,
            instances: config.instances.clone(),
            certificates: Certificates::new(data_dir, region, account, dns_name, *bind),
        }
    }
}

/// Everything that is served.
pub(crate) fn router(desk: Arc<Desk>, keys: Keys, region: String) -> Router {
    let api = Arc::new(Api { desk, authenticator: Authenticator { keys, region } });
    Router::new()
        .route("/", post(call::call).get(call::call))
        .fallback(call::nothing_here)
        .method_not_allowed_fallback(call::nothing_here)
        .with_state(api)
}
