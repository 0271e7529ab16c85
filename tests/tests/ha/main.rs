//! What a user notices of three schedulers on three etcds when one of them fails: nothing is lost that was
//! acknowledged, nothing is obeyed that a deposed leader says, and soon everything goes on.

mod faults;
mod together;
