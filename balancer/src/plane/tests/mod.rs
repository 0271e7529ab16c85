//! The plane seen from outside: real clients and targets on loopback, and a state that changes between them.

mod draining;
mod health;
mod http;
mod network;
mod secure;
mod world;
