//! Host ports: which ones a container asks for, and how its bindings are told.
//!
//! Docker picks dynamic ports unless the operator named a range; ranges of container ports need contiguous host
//! ports, which Docker cannot promise, so the agent picks those. A picked port may be taken by somebody else before
//! Docker binds it: the caller asks for another choice then.

use ecsr_api::acs::{Container, PortMapping};

use super::Refusal;
use crate::config::parse_port_range;
use crate::engine::{BoundPorts, NetworkBinding};

/// One port mapping with its host side decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortChoice {
    pub(crate) container: u16,
    /// `None` lets Docker choose.
    pub(crate) host: Option<u16>,
    pub(crate) protocol: String,
}

/// Hands out host ports of a range, each time starting after the last one it gave.
#[derive(Debug, Clone)]
pub(crate) struct PortPicker {
    range: (u16, u16),
    next: u16,
}

impl PortPicker {
    pub(crate) fn new(range: (u16, u16)) -> Self {
        PortPicker { range, next: range.0 }
    }

    /// The first of `count` contiguous free ports.
    pub(crate) fn pick(&mut self, count: u16, mut is_free: impl FnMut(u16) -> bool) -> Option<u16> {
        let (first, last) = self.range;
        let total = u32::from(last) - u32::from(first) + 1;
        let mut run = 0;
        let mut port = self.next;
        for _ in 0..total.saturating_add(u32::from(count)) {
            run = if is_free(port) { run + 1 } else { 0 };
            if run == count {
                self.next = if port == last { first } else { port + 1 };
                return Some(port - (count - 1));
            }
            if port == last {
                (port, run) = (first, 0);
            } else {
                port += 1;
            }
        }
        None
    }
}

/// The container port ranges of a container, with their protocols.
pub(crate) fn ranges(container: &Container) -> Vec<((u16, u16), String)> {
    mappings(container)
        .filter_map(|mapping| Some((parse_port_range(range_text(mapping)?)?, protocol(mapping))))
        .collect()
}

/// Whether the container holds host ports that another task may be waiting for by number.
pub(crate) fn are_fixed(container: &Container) -> bool {
    mappings(container).any(|mapping| mapping.host_port.is_some_and(|port| port > 0))
}

/// Decides every mapping of a container. `picker` is used for ranges, and for single dynamic ports only if
/// `docker_chooses` is not the operator's wish.
pub(crate) fn choose(
    container: &Container,
    dynamic: Dynamic<'_>,
    mut is_free: impl FnMut(u16, &str) -> bool,
) -> Result<Vec<PortChoice>, Refusal> {
    let (picker, picks_singles) = match dynamic {
        Dynamic::Docker { ranges } => (ranges, false),
        Dynamic::Agent { range } => (range, true),
    };
    let mut choices = Vec::new();
    for mapping in mappings(container) {
        let protocol = protocol(mapping);
        if !["tcp", "udp"].contains(&protocol.as_str()) {
            return Err(Refusal::Invalid(format!("portMappings has the unknown protocol {protocol:?}")));
        }
        let (first, count) = container_ports(mapping)?;
        let fixed = port(mapping.host_port)?.filter(|port| *port > 0);
        let host = match fixed {
            Some(port) => Some(port),
            None if count > 1 || picks_singles => {
                let picked = picker.pick(count, |port| is_free(port, &protocol));
                Some(picked.ok_or_else(|| {
                    Refusal::Invalid(format!("HostConfigError: no {count} contiguous host ports are free"))
                })?)
            }
            None => None,
        };
        choices.extend((0..count).map(|offset| PortChoice {
            container: first + offset,
            host: host.map(|host| host + offset),
            protocol: protocol.clone(),
        }));
    }
    Ok(choices)
}

/// Who picks dynamic host ports.
#[derive(Debug)]
pub(crate) enum Dynamic<'a> {
    /// Docker, but for port ranges, which come from this picker.
    Docker {
        /// For port ranges.
        ranges: &'a mut PortPicker,
    },
    /// The agent, from the operator's range.
    Agent {
        /// For everything.
        range: &'a mut PortPicker,
    },
}

/// Tells the rows of a port range as one, and leaves IPv6 rows out if asked.
pub(crate) fn fold(
    bindings: Vec<NetworkBinding>,
    ranges: &[((u16, u16), String)],
    ipv6: Ipv6,
) -> Vec<NetworkBinding> {
    let mut folded: Vec<NetworkBinding> = Vec::new();
    for binding in bindings {
        if ipv6 == Ipv6::Excluded && binding.bind_ip.contains(':') {
            continue;
        }
        let BoundPorts::Single { container, host } = binding.ports else {
            folded.push(binding);
            continue;
        };
        let range = ranges.iter().find(|((first, last), protocol)| {
            (*first..=*last).contains(&container) && *protocol == binding.protocol
        });
        let Some((range, _)) = range else {
            folded.push(binding);
            continue;
        };
        let start = host.saturating_sub(container - range.0);
        let ports =
            BoundPorts::Range { container: *range, host: (start, start.saturating_add(range.1 - range.0)) };
        let row = NetworkBinding { ports, ..binding };
        if !folded.contains(&row) {
            folded.push(row);
        }
    }
    folded
}

/// Whether bindings to IPv6 addresses are made and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ipv6 {
    /// Neither.
    Excluded,
    /// Both.
    Included,
}

fn mappings(container: &Container) -> impl Iterator<Item = &PortMapping> {
    container.port_mappings.iter().flatten()
}

fn range_text(mapping: &PortMapping) -> Option<&str> {
    mapping.container_port_range.as_deref().filter(|text| !text.is_empty())
}

fn protocol(mapping: &PortMapping) -> String {
    let protocol = mapping.protocol.as_deref().unwrap_or_default();
    if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_ascii_lowercase() }
}

fn port(value: Option<i32>) -> Result<Option<u16>, Refusal> {
    value
        .map(|port| {
            u16::try_from(port).map_err(|_| Refusal::Invalid(format!("portMappings has the port {port}")))
        })
        .transpose()
}

/// The first container port of a mapping and how many follow from it.
fn container_ports(mapping: &PortMapping) -> Result<(u16, u16), Refusal> {
    if let Some(text) = range_text(mapping) {
        let (first, last) = parse_port_range(text)
            .ok_or_else(|| Refusal::Invalid(format!("portMappings has the containerPortRange {text:?}")))?;
        return Ok((first, last - first + 1));
    }
    match port(mapping.container_port)? {
        Some(port) if port > 0 => Ok((port, 1)),
        _ => Err(Refusal::Invalid("portMappings has no containerPort".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picking_goes_round_and_skips_what_is_taken() {
        let mut picker = PortPicker::new((10, 14));
        let free = |taken: &'static [u16]| move |port: u16| !taken.contains(&port);
        assert_eq!(picker.pick(1, free(&[])), Some(10));
        assert_eq!(picker.pick(2, free(&[11])), Some(12));
        assert_eq!(picker.pick(1, free(&[14])), Some(10), "round the end");
        assert_eq!(picker.pick(3, free(&[12])), None);
        assert_eq!(
            picker.pick(5, free(&[])),
            Some(10),
            "the whole range, though the next port is not its first"
        );
    }

    fn container(json: &str) -> Container {
        serde_json::from_str(&format!(r#"{{"name":"a","portMappings":{json}}}"#)).unwrap()
    }

    fn chosen(json: &str) -> Result<Vec<(u16, Option<u16>)>, Refusal> {
        let mut picker = PortPicker::new((100, 110));
        let choices =
            choose(&container(json), Dynamic::Docker { ranges: &mut picker }, |port, _| port != 101)?;
        Ok(choices.iter().map(|choice| (choice.container, choice.host)).collect())
    }

    #[test]
    fn docker_picks_single_ports_and_the_agent_picks_ranges() {
        assert_eq!(chosen(r#"[{"containerPort":80}]"#), Ok(vec![(80, None)]));
        assert_eq!(chosen(r#"[{"containerPort":80,"hostPort":0}]"#), Ok(vec![(80, None)]));
        assert_eq!(chosen(r#"[{"containerPort":80,"hostPort":8080}]"#), Ok(vec![(80, Some(8080))]));
        assert_eq!(
            chosen(r#"[{"containerPortRange":"80-82"}]"#),
            Ok(vec![(80, Some(102)), (81, Some(103)), (82, Some(104))])
        );
        for wrong in [r#"[{"containerPort":70000}]"#, r"[{}]", r#"[{"containerPort":1,"protocol":"sctp"}]"#] {
            assert!(chosen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_is_told_as_one_row() {
        let single = |container, host, bind_ip: &str| NetworkBinding {
            bind_ip: bind_ip.to_owned(),
            ports: BoundPorts::Single { container, host },
            protocol: "tcp".to_owned(),
        };
        let bindings = vec![
            single(22, 2022, "0.0.0.0"),
            single(22, 2022, "::"),
            single(80, 102, "0.0.0.0"),
            single(81, 103, "0.0.0.0"),
        ];
        let told = fold(bindings, &[((80, 81), "tcp".to_owned())], Ipv6::Excluded);
        let ports: Vec<BoundPorts> = told.into_iter().map(|binding| binding.ports).collect();
        assert_eq!(
            ports,
            [
                BoundPorts::Single { container: 22, host: 2022 },
                BoundPorts::Range { container: (80, 81), host: (102, 103) },
            ]
        );
    }
}
