//! defrag and downgrade.

use super::args::{text, value, words};
use super::{Fail, Session, code, error_text};
use clap::ArgMatches;
use seatrial_types::request::{DowngradeAction, DowngradeRequest};
use seatrial_types::{Request, Response};

impl Session<'_> {
    /// Each member for itself: what one of them cannot do the next may.
    pub(super) async fn defrag(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let data_dir = value(matches, "data-dir");
        if !data_dir.is_empty() {
            // A thread of its own: what works on folders makes a runtime, which must not end within another.
            let folder = data_dir.to_owned();
            let done = std::thread::spawn(move || crate::etcdutl::defrag(&folder)).join();
            let done = done.unwrap_or_else(|_| Err("it ended with a panic".to_owned()));
            return done.map_err(|why| {
                Fail::new(code::ERROR, format!("Failed to defragment etcd data[{data_dir}] ({why})"))
            });
        }
        let mut failed = false;
        for endpoint in self.endpoints(matches).await? {
            let client = self.client_of(&endpoint)?;
            match client.call_within(Request::Defragment, self.globals.command_timeout).await {
                Ok(Response::Defragment(_)) => {
                    let done = format!("Finished defragmenting etcd member[{endpoint}]\n");
                    self.out(done.as_bytes())?;
                }
                Ok(_) => return Err(Fail::odd()),
                Err(error) => {
                    failed = true;
                    let why = error_text(&error.error);
                    let said = format!("Failed to defragment etcd member[{endpoint}] ({why})\n");
                    self.err(said.as_bytes());
                }
            }
        }
        if failed { Err(Fail::silent(code::ERROR)) } else { Ok(()) }
    }

    pub(super) async fn downgrade(
        &mut self,
        action: DowngradeAction,
        matches: &ArgMatches,
    ) -> Result<(), Fail> {
        let words = words(matches);
        let version = match (action, words.as_slice()) {
            (DowngradeAction::Cancel, _) => String::new(),
            (_, []) => return Err(Fail::args("TARGET_VERSION not provided")),
            (_, [version]) if version.is_empty() => return Err(Fail::args("target version not provided")),
            (_, [version]) => text(version),
            (_, _) => return Err(Fail::args("too many arguments")),
        };
        let answer = self.call(Request::Downgrade(DowngradeRequest { action, version })).await?;
        let Response::Downgrade(answer) = answer else { return Err(Fail::odd()) };
        self.out(&self.globals.printer.downgrade(action, &answer)?)
    }
}
