//! completion: the script that completes our commands in a shell.

use super::{Fail, args, code};
use clap_complete::Shell;

pub(super) fn script(shell: &str) -> Result<Vec<u8>, Fail> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        "powershell" => Shell::PowerShell,
        other => return Err(Fail::new(code::ERROR, format!("no completion for {other}"))),
    };
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut args::root(), "etcdctl", &mut out);
    Ok(out)
}
