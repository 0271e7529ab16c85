//! Listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use ecsr_api::elbv2::enums::PROTOCOL_ENUM;
use ecsr_api::elbv2::{
    CreateListenerInput, CreateListenerOutput, DeleteListenerInput, DeleteListenerOutput,
    DescribeListenersInput, DescribeListenersOutput, Error, ErrorCode, ModifyListenerInput,
    ModifyListenerOutput,
};

use super::check::{self, invalid, unfit};
use super::draft::{self, Draft};
use super::page::{self, Page};
use super::tls::{self, Tls};
use super::{actions, limits, show, tags};
use crate::model::{Arn, Attributes, Kind, Listener, LoadBalancer, Protocol, State, Tags};

pub(super) fn create(
    draft: &mut Draft<'_>,
    request: CreateListenerInput,
) -> Result<CreateListenerOutput, Error> {
    let arn = check::required(request.load_balancer_arn, "loadBalancerArn")?;
    let actions = check::required(request.default_actions, "defaultActions")?;
    let balancer = draft::balancer(&draft.state, &arn)?.clone();
    let port = check::port(request.port.ok_or_else(|| invalid("A listener port must be specified"))?)?;
    let protocol = request.protocol.ok_or_else(|| invalid("A listener protocol must be specified"))?;
    let asked = actions::read(actions)?;
    tls::check_mutual_authentication(request.mutual_authentication.as_ref())?;
    let mut listener = Listener {
        arn: Arn::default(),
        load_balancer: balancer.arn.clone(),
        address: SocketAddr::new(balancer.address, port),
        protocol: protocol_of(&protocol, &balancer)?,
        certificates: Vec::new(),
        ssl_policy: None,
        alpn_policy: None,
        rules: Vec::new(),
        default_action: asked.action,
        default_order: asked.order,
        default_rule: Arn::default(),
        default_rule_tags: Tags::new(),
        attributes: Attributes::new(),
        tags: tags::read(request.tags)?,
    };
    let tls =
        Tls { certificates: request.certificates, policy: request.ssl_policy, alpn: request.alpn_policy };
    tls::set(draft.site, &mut listener, tls)?;
    let mut known = draft.state.listeners.values();
    if let Some(known) = known.find(|known| is_at(known, &balancer.arn, port)) {
        if !is_same(known, &listener) {
            return Err(duplicate(&balancer.arn));
        }
        return Ok(CreateListenerOutput { listeners: Some(vec![show::listener(known)]) });
    }
    limits::check_listeners(&draft.state, &balancer.arn)?;
    listener.arn = draft.listener_arn(&balancer.arn);
    listener.default_rule = draft.rule_arn(&listener.arn);
    let shown = show::listener(&listener);
    put(draft, listener)?;
    Ok(CreateListenerOutput { listeners: Some(vec![shown]) })
}

pub(super) fn describe(
    state: &State,
    request: DescribeListenersInput,
) -> Result<DescribeListenersOutput, Error> {
    let found: Vec<&Arc<Listener>> = match (request.load_balancer_arn, check::filter(request.listener_arns)) {
        (Some(arn), None) => {
            let balancer = draft::balancer(state, &arn)?;
            state.listeners.values().filter(|listener| listener.load_balancer == balancer.arn).collect()
        }
        (None, Some(arns)) => arns.iter().map(|arn| draft::listener(state, arn)).collect::<Result<_, _>>()?,
        (Some(_), Some(_)) => {
            return Err(invalid("You cannot specify both listener ARNs and a load balancer ARN"));
        }
        (None, None) => {
            return Err(invalid("You must specify either listener ARNs or a load balancer ARN"));
        }
    };
    let items = found.into_iter().map(|found| (found.arn.to_string(), show::listener(found)));
    let page = Page { marker: request.marker, size: request.page_size };
    let (listeners, next_marker) = page::cut(page, items.collect())?;
    Ok(DescribeListenersOutput { listeners: Some(listeners), next_marker })
}

pub(super) fn modify(
    draft: &mut Draft<'_>,
    request: ModifyListenerInput,
) -> Result<ModifyListenerOutput, Error> {
    let arn = check::required(request.listener_arn, "listenerArn")?;
    tls::check_mutual_authentication(request.mutual_authentication.as_ref())?;
    let mut listener = (**draft::listener(&draft.state, &arn)?).clone();
    let balancer = draft::balancer(&draft.state, &listener.load_balancer)?.clone();
    if let Some(port) = request.port {
        let port = check::port(port)?;
        let mut others = draft.state.listeners.values().filter(|other| *other.arn != *arn);
        if others.any(|other| is_at(other, &balancer.arn, port)) {
            return Err(duplicate(&balancer.arn));
        }
        listener.address.set_port(port);
    }
    if let Some(protocol) = request.protocol {
        listener.protocol = protocol_of(&protocol, &balancer)?;
    }
    if let Some(actions) = request.default_actions {
        let asked = actions::read(actions)?;
        (listener.default_action, listener.default_order) = (asked.action, asked.order);
    }
    let tls =
        Tls { certificates: request.certificates, policy: request.ssl_policy, alpn: request.alpn_policy };
    tls::set(draft.site, &mut listener, tls)?;
    let shown = show::listener(&listener);
    put(draft, listener)?;
    Ok(ModifyListenerOutput { listeners: Some(vec![shown]) })
}

pub(super) fn delete(
    draft: &mut Draft<'_>,
    request: DeleteListenerInput,
) -> Result<DeleteListenerOutput, Error> {
    let arn = check::required(request.listener_arn, "listenerArn")?;
    draft::listener(&draft.state, &arn)?;
    draft.state.listeners.remove(&*arn);
    Ok(DeleteListenerOutput {})
}

/// Makes a listener what its load balancer has, if it can do what it says.
pub(super) fn put(draft: &mut Draft<'_>, listener: Listener) -> Result<(), Error> {
    let balancer = draft::balancer(&draft.state, &listener.load_balancer)?;
    actions::check(&draft.state, balancer, &listener)?;
    limits::check_listener(&draft.state, &listener)?;
    if let Some(other) = draft.state.listeners.values().find(|other| is_in_the_way(other, &listener)) {
        let message =
            format!("cannot listen on {}: load balancer {} does", listener.address, other.load_balancer);
        return Err(unfit(message));
    }
    draft.state.listeners.insert(listener.arn.clone(), Arc::new(listener));
    Ok(())
}

fn protocol_of(name: &str, balancer: &LoadBalancer) -> Result<Protocol, Error> {
    check::one_of(name, "protocol", PROTOCOL_ENUM)?;
    let is_http = |protocol| matches!(protocol, Protocol::Http | Protocol::Https);
    let protocol = Protocol::from_name(name);
    let fits = protocol.filter(|protocol| is_http(*protocol) == (balancer.kind == Kind::Application));
    fits.ok_or_else(|| {
        let kind = balancer.kind.name();
        let message =
            format!("Listener protocol '{name}' is not supported with load balancers of type '{kind}'");
        Error::new(ErrorCode::UnsupportedProtocol, message)
    })
}

fn is_at(listener: &Listener, balancer: &Arn, port: u16) -> bool {
    listener.load_balancer == *balancer && listener.address.port() == port
}

/// Whether two listeners would need the same socket.
fn is_in_the_way(other: &Listener, listener: &Listener) -> bool {
    let (tcp, udp) = (other.protocol.is_tcp(), other.protocol.is_udp());
    let shares = tcp && listener.protocol.is_tcp() || udp && listener.protocol.is_udp();
    other.arn != listener.arn && other.address == listener.address && shares
}

fn is_same(known: &Listener, asked: &Listener) -> bool {
    known.protocol == asked.protocol
        && known.certificates.first() == asked.certificates.first()
        && known.ssl_policy == asked.ssl_policy
        && known.alpn_policy == asked.alpn_policy
        && known.default_action == asked.default_action
}

fn duplicate(balancer: &Arn) -> Error {
    let message = format!("A listener already exists on this port for this load balancer '{balancer}'");
    Error::new(ErrorCode::DuplicateListener, message)
}
