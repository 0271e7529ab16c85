//! What was kept, under the settings of this start: some of it says where things are, which may have changed since.

use std::sync::Arc;

use crate::api::Site;
use crate::model::{Certificate, State, TargetType};

/// Addresses and names as they are now. Only what differs is made anew.
pub(crate) fn settle(state: &mut State, site: &Site) {
    for balancer in state.load_balancers.values_mut() {
        let balancer = Arc::make_mut(balancer);
        balancer.address = balancer.own_address.unwrap_or(site.bind);
        balancer.dns_name.clone_from(&site.dns_name);
    }
    for listener in state.listeners.values_mut() {
        let listener = Arc::make_mut(listener);
        if let Some(balancer) = state.load_balancers.get(&listener.load_balancer) {
            listener.address.set_ip(balancer.address);
        }
        for certificate in &mut listener.certificates {
            let found: Option<Certificate> = site.certificates.at(&certificate.arn);
            if let Some(found) = found {
                *certificate = found;
            }
        }
    }
    let groups = state.target_groups.values_mut();
    for group in groups.filter(|group| group.target_type == TargetType::Instance) {
        for (key, target) in &mut Arc::make_mut(group).targets {
            if let Some(address) = site.instances.get(&*key.id) {
                target.address = *address;
            }
        }
    }
}
