//! What ELBv2 calls the variants of enums.

use super::{
    GroupProtocol, HealthProtocol, HealthReason, HealthState, Kind, Protocol, ProtocolVersion, TargetType,
};

macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal,)* }) => {
        impl $type {
            /// Its name on the wire.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The one of that name on the wire.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

named!(Kind {
    Application = "application",
    Network = "network",
});

named!(Protocol {
    Http = "HTTP",
    Https = "HTTPS",
    Tcp = "TCP",
    Tls = "TLS",
    Udp = "UDP",
    TcpUdp = "TCP_UDP",
});

named!(GroupProtocol {
    Http = "HTTP",
    Https = "HTTPS",
    Tcp = "TCP",
    Tls = "TLS",
    Udp = "UDP",
    TcpUdp = "TCP_UDP",
});

named!(ProtocolVersion {
    Http1 = "HTTP1",
    Http2 = "HTTP2",
    Grpc = "GRPC",
});

named!(TargetType {
    Instance = "instance",
    Ip = "ip",
});

named!(HealthProtocol {
    Http = "HTTP",
    Https = "HTTPS",
    Tcp = "TCP",
});

named!(HealthState {
    Initial = "initial",
    Healthy = "healthy",
    Unhealthy = "unhealthy",
    Unused = "unused",
    Draining = "draining",
    Unavailable = "unavailable",
});

named!(HealthReason {
    RegistrationInProgress = "Elb.RegistrationInProgress",
    InitialHealthChecking = "Elb.InitialHealthChecking",
    ResponseCodeMismatch = "Target.ResponseCodeMismatch",
    Timeout = "Target.Timeout",
    FailedHealthChecks = "Target.FailedHealthChecks",
    NotRegistered = "Target.NotRegistered",
    NotInUse = "Target.NotInUse",
    DeregistrationInProgress = "Target.DeregistrationInProgress",
    HealthCheckDisabled = "Target.HealthCheckDisabled",
});
