//! What a user notices of ecsr on a real Docker engine: a real scheduler, a real agent, real containers of a
//! busybox image that never comes from a registry. One binary, because linking is what tests cost most.

mod absence;
mod balancer;
mod cleanup;
mod container;
mod crash;
mod dependency;
mod deployment;
mod ending;
mod health;
mod hosts;
mod ports;
mod refusal;
mod service;
mod storage;
mod up;
