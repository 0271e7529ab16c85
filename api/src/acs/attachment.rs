//! What the scheduler asks an agent to attach: network interfaces and volumes.
//!
//! The agent acknowledges at once, waits until the device appears (at most `waitTimeoutMs`), and reports
//! `ATTACHED` through the ECS API.

use crate::wire::structures;

structures! {
    /// Scheduler to agent: interfaces of one task.
    pub struct AttachTaskNetworkInterfacesMessage {
        message_id: String,
        cluster_arn: String,
        container_instance_arn: String,
        task_arn: String,
        task_cluster_arn: String,
        generated_at: i64,
        /// Above zero.
        wait_timeout_ms: i64,
        /// At least one.
        elastic_network_interfaces: Vec<ElasticNetworkInterface>,
    }

    /// Scheduler to agent: interfaces of the instance, from which tasks branch off.
    pub struct AttachInstanceNetworkInterfacesMessage {
        message_id: String,
        cluster_arn: String,
        container_instance_arn: String,
        generated_at: i64,
        /// Above zero.
        wait_timeout_ms: i64,
        /// At least one.
        elastic_network_interfaces: Vec<ElasticNetworkInterface>,
    }

    /// Scheduler to agent: tell when this volume is attached.
    pub struct ConfirmAttachmentMessage {
        message_id: String,
        cluster_arn: String,
        container_instance_arn: String,
        task_arn: String,
        task_cluster_arn: String,
        generated_at: i64,
        /// Zero means five minutes.
        wait_timeout_ms: i64,
        attachment: Attachment,
    }

    /// A volume or a service mesh setting that belongs to a task.
    pub struct Attachment {
        attachment_arn: String,
        attachment_type: String,
        attachment_properties: Vec<AttachmentProperty>,
    }

    /// One named value of an [`Attachment`].
    pub struct AttachmentProperty {
        name: String,
        value: String,
    }

    /// A network interface. MAC, `ec2Id`, one address and its gateway are what an agent insists on.
    pub struct ElasticNetworkInterface {
        name: String,
        mac_address: String,
        attachment_arn: String,
        ec2_id: String,
        index: i64,
        /// `default`, `vlan`, `veth` or `tunnel`.
        interface_association_protocol: String,
        interface_vlan_properties: NetworkInterfaceVlanProperties,
        interface_veth_properties: NetworkInterfaceVethProperties,
        interface_tunnel_properties: NetworkInterfaceTunnelProperties,
        ipv4_addresses: Vec<IPv4AddressAssignment>,
        ipv6_addresses: Vec<IPv6AddressAssignment>,
        domain_name: Vec<String>,
        domain_name_servers: Vec<String>,
        private_dns_name: String,
        /// `address/prefix`.
        subnet_gateway_ipv4_address: String,
        /// `address/prefix`.
        subnet_gateway_ipv6_address: String,
    }

    /// How a branch interface hangs off its trunk.
    pub struct NetworkInterfaceVlanProperties {
        vlan_id: String,
        trunk_interface_mac_address: String,
    }

    /// The other end of a virtual Ethernet pair.
    pub struct NetworkInterfaceVethProperties {
        peer_interface: String,
    }

    /// The tunnel that an interface is the end of.
    pub struct NetworkInterfaceTunnelProperties {
        tunnel_id: String,
        interface_ip_address: String,
    }

    /// An IPv4 address of an interface.
    pub struct IPv4AddressAssignment {
        private_address: String,
        primary: bool,
    }

    /// An IPv6 address of an interface.
    pub struct IPv6AddressAssignment {
        address: String,
        primary: bool,
    }
}
