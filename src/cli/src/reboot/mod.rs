//! The reboot lock on the command line: its flags of the server, locksmith's control program, and the agent of a machine.

mod agent;
mod ctl;
mod ctl_flags;
mod machine;
mod seen;
mod serving;
mod store;

pub(crate) use agent::{AgentArgs, run as run_agent};
pub(crate) use ctl::run as run_ctl;
pub(crate) use seen::{look, tell};
pub(crate) use serving::ServingArgs;
