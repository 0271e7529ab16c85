//! The load balancer that `up` runs beside the agent: where it is, and making it so.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bollard::Docker;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::docker::container;
use crate::docker::image::Image;
use crate::docker::{agent, balancer};
use crate::error::{Failure, Kind};
use crate::output::{Format, note};
use crate::session::Session;
use crate::verb::balancer::{DEFAULT_PORT, default_dns_name};
use crate::verb::scheduler::{Settings, local_url};

/// How far from the scheduler's port that of the load balancer is, unless it is chosen.
const PORT_DISTANCE: u16 = DEFAULT_PORT - agent::DEFAULT_PORT;
/// Where its listeners bind: that it is reached is what it is for.
const BIND: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// How long it may take until it answers: on an idle machine well under a second.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);
/// How often to ask whether it does.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Questions between two looks at its container.
const LOOK_AT_CONTAINER_EVERY: u32 = 20;

/// Flags of `up` for its load balancer.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BalancerArgs {
    /// No load balancer: none, or the one that --balancer names
    #[arg(long)]
    pub(super) no_balancer: bool,
    /// Port of the load balancer's API; default: that of the last time, else two above the scheduler's, 7072
    #[arg(long, value_name = "PORT", env = "ECSR_BALANCER_PORT")]
    pub(super) balancer_port: Option<u16>,
    /// The name of the load balancers, by which clients reach this machine; default: that of the last time, else
    /// `localhost`, which is right on this machine alone
    #[arg(long, value_name = "NAME", env = "ECSR_BALANCER_DNS_NAME")]
    pub(super) dns_name: Option<String>,
}

/// What was chosen for the load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Balancer {
    /// Where its API is served.
    listen: SocketAddr,
    dns_name: Option<String>,
    /// Whether the port was chosen, and does not follow the scheduler's.
    port_chosen: bool,
}

impl Default for Balancer {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT),
            dns_name: None,
            port_chosen: false,
        }
    }
}

impl Balancer {
    /// As the flags have it, beside a scheduler that listens there.
    pub(super) fn changed_by(&self, args: &BalancerArgs, scheduler: SocketAddr) -> Self {
        let beside = scheduler.port().checked_add(PORT_DISTANCE).unwrap_or(scheduler.port() - PORT_DISTANCE);
        let kept = self.port_chosen.then_some(self.listen.port());
        let chosen = args.balancer_port.or(kept);
        Self {
            listen: SocketAddr::new(scheduler.ip(), chosen.unwrap_or(beside)),
            dns_name: args.dns_name.clone().or_else(|| self.dns_name.clone()),
            port_chosen: chosen.is_some(),
        }
    }

    /// By which this machine reaches its API.
    pub(super) fn url(&self) -> String {
        local_url(self.listen)
    }

    fn container(&self, settings: &Settings) -> container::Wanted {
        let settings = balancer::Settings {
            data_dir: settings.data_dir.clone(),
            listen: self.listen,
            bind: BIND,
            dns_name: self.dns_name.clone().unwrap_or_else(|| default_dns_name(BIND)),
            account: settings.account.clone(),
            region: settings.region.clone(),
        };
        settings.container()
    }
}

/// Makes the load balancer run, if it is wanted, and waits until it answers; ends it if it is not.
pub(super) async fn ensure(
    engine: &Docker,
    chosen: &Balancer,
    settings: &Settings,
    context: &Context,
    image: &Image,
) -> Result<(), Failure> {
    let wanted = chosen.container(settings);
    let is_wanted = settings.balancer.as_ref().is_some_and(|url| *url == chosen.url());
    for name in container::names(engine, &settings.data_dir).await? {
        if name.starts_with(balancer::NAME) && !(is_wanted && name == wanted.name) {
            container::remove(engine, &name).await?;
            note(&format!("ended the load balancer (container {name})"));
        }
    }
    if !is_wanted {
        return Ok(());
    }
    let done = container::ensure(engine, &wanted, image).await?;
    note(&done.told("the load balancer", &wanted.name));
    await_answer(engine, context, &wanted.name).await
}

async fn await_answer(engine: &Docker, context: &Context, container: &str) -> Result<(), Failure> {
    let elb = Session::local(context, Format::Table).await?.elb().await?;
    let began = Instant::now();
    for question in 1u32.. {
        match elb.load_balancers().await {
            Ok(_) => return Ok(()),
            Err(error) if !error.is_transient() => return Err(error.into()),
            Err(error) if began.elapsed() >= ANSWERS_WITHIN => {
                return Err(no_answer(engine, container, &error.to_string()).await);
            }
            Err(_) => {}
        }
        if question % LOOK_AT_CONTAINER_EVERY == 0
            && let Some(trouble) = container::trouble(engine, container).await?
        {
            return Err(no_answer(engine, container, &trouble).await);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    unreachable!("the questions end with the time")
}

async fn no_answer(engine: &Docker, container: &str, what: &str) -> Failure {
    let lines = container::last_lines(engine, container).await;
    let message = format!(
        "the load balancer does not answer: {what}; it wrote:\n  {}",
        lines.trim_end().replace('\n', "\n  ")
    );
    Failure::new(Kind::NotStable, message)
        .hint("choose another port with --balancer-port, or go without it with --no-balancer")
}
