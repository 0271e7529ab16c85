//! The header of proxy protocol version 2: who speaks, told to a target before the first byte.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, a connection of the proxy's own.
const LOCAL: u8 = 0x20;
/// Version 2, a connection for somebody else.
const PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// For a connection that no client made: a health check.
pub(super) fn local() -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([LOCAL, 0, 0, 0]);
    header
}

/// For a connection from `client` to `listener`.
pub(super) fn proxied(client: SocketAddr, listener: SocketAddr) -> Vec<u8> {
    let mut addresses = Vec::with_capacity(36);
    let family = match (client.ip().to_canonical(), listener.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(listener)) => {
            addresses.extend(client.octets());
            addresses.extend(listener.octets());
            TCP_OVER_IPV4
        }
        (client, listener) => {
            addresses.extend(mapped(client));
            addresses.extend(mapped(listener));
            TCP_OVER_IPV6
        }
    };
    addresses.extend(client.port().to_be_bytes());
    addresses.extend(listener.port().to_be_bytes());
    let mut header = SIGNATURE.to_vec();
    header.extend([
        PROXY,
        family,
        0,
        u8::try_from(addresses.len()).expect("two addresses with ports have 36 bytes"),
    ]);
    header.extend(addresses);
    header
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_both_ends() {
        let header = proxied("10.1.2.3:4660".parse().unwrap(), "10.0.0.1:80".parse().unwrap());
        assert_eq!(hex::encode(header), "0d0a0d0a000d0a515549540a2111000c0a0102030a00000112340050");
        let header = proxied("[2001:db8::1]:4660".parse().unwrap(), "10.0.0.1:80".parse().unwrap());
        assert_eq!(
            hex::encode(&header[12..]),
            "2121002420010db800000000000000000000000100000000000000000000ffff0a00000112340050"
        );
        assert_eq!(hex::encode(local()), "0d0a0d0a000d0a515549540a20000000");
    }
}
