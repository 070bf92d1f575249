//! watch, plain and interactive.

use super::args::{self, list, number, parse, words};
use super::go;
use super::{Fail, Session, code, error_text};
use bytes::Bytes;
use clap::ArgMatches;
use futures::channel::mpsc;
use futures::stream::{self, SelectAll};
use futures::{Stream, StreamExt};
use seatrial_client::{Store, Watching};
use seatrial_types::watch::{WatchCreate, WatchResponse};
use seatrial_types::{Error, KeyRange, Revision};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::pin::Pin;

/// What a watch brings: an answer, or the reason of its end.
type Answers = Pin<Box<dyn Stream<Item = Result<WatchResponse, Error>> + Send>>;

fn create(matches: &ArgMatches, words: &[Vec<u8>]) -> Result<WatchCreate, String> {
    let prefix = matches.get_flag("prefix");
    let Some(key) = words.first() else { return Err("bad number of arguments".into()) };
    let key = Bytes::from(key.clone());
    let range = match (prefix, words.get(1)) {
        (true, Some(_)) => return Err("`range_end` and `--prefix` are mutually exclusive".into()),
        (true, None) => KeyRange::prefix(key),
        (false, end) => KeyRange { key, end: end.cloned().unwrap_or_default().into() },
    };
    let revision = number(matches, "rev").map_err(|fail| fail.text)?;
    Ok(WatchCreate {
        range,
        start_revision: Revision(revision),
        prev_kv: matches.get_flag("prev-kv"),
        ..WatchCreate::default()
    })
}

/// The key from the environment, where the command line names none.
fn with_environment(
    mut words: Vec<Vec<u8>>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Vec<u8>>, Fail> {
    let variable = |name| environment(name).filter(|value| !value.is_empty());
    let (key, end) = (variable("ETCDCTL_WATCH_KEY"), variable("ETCDCTL_WATCH_RANGE_END"));
    match (key, end) {
        (None, Some(end)) => {
            let end = go::quote(end.as_bytes());
            Err(Fail::args(format!("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end}")))
        }
        (None, None) => Ok(words),
        (Some(_), _) if !words.is_empty() => {
            Err(Fail::args("bad number of arguments (found conflicting environment key)"))
        }
        (Some(key), end) => {
            words.push(key.into_bytes());
            words.extend(end.map(String::into_bytes));
            Ok(words)
        }
    }
}

impl Session<'_> {
    pub(super) async fn watch(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let given = with_environment(words(matches), self.environment)?;
        if matches.get_flag("interactive") {
            return self.watch_interactive().await;
        }
        number(matches, "rev")?;
        let command = list(matches, "exec");
        let create = create(matches, &given).map_err(Fail::args)?;
        let (_asks, mut answers) = self.start(create)?;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => self.show(&answer, &command)?,
                Err(error) => self.err(format!("watch was canceled ({})\n", error_text(&error)).as_bytes()),
            }
        }
        Err(Fail::new(code::INTERRUPTED, "watch is canceled by the server"))
    }

    /// Starts a watch. What is sent into the first half asks for progress.
    fn start(&self, create: WatchCreate) -> Result<(mpsc::UnboundedSender<()>, Answers), Fail> {
        let watcher = self.client()?.watch(create);
        let (asks, wishes) = mpsc::unbounded::<()>();
        let answers = stream::unfold((watcher, wishes), |(mut watcher, mut wishes)| async move {
            loop {
                tokio::select! {
                    biased;
                    Some(()) = wishes.next() => watcher.request_progress(),
                    answer = watcher.next() => match answer? {
                        // The confirmation is nothing to print.
                        Ok(answer) if answer.created && !answer.canceled => {}
                        Ok(answer) => return Some((Ok(answer), (watcher, wishes))),
                        Err(error) => return Some((Err(error.error), (watcher, wishes))),
                    },
                }
            }
        });
        Ok((asks, Box::pin(answers)))
    }

    fn show(&mut self, answer: &WatchResponse, command: &[Vec<u8>]) -> Result<(), Fail> {
        if answer.canceled {
            let why = if answer.compact_revision.0 != 0 {
                Error::Compacted.to_string()
            } else if answer.cancel_reason.is_empty() {
                Error::FutureRevision.to_string()
            } else {
                answer.cancel_reason.clone()
            };
            self.err(format!("watch was canceled ({why})\n").as_bytes());
        } else if answer.events.is_empty() {
            self.out(format!("progress notify: {}\n", answer.header.revision).as_bytes())?;
        }
        self.out(&self.globals.printer.watch(answer)?)?;
        for event in &answer.events {
            self.execute(command, answer, event)?;
        }
        Ok(())
    }

    /// Runs the command for one event, which it finds in its environment.
    fn execute(
        &mut self,
        command: &[Vec<u8>],
        answer: &WatchResponse,
        event: &seatrial_types::Event,
    ) -> Result<(), Fail> {
        let Some((program, arguments)) = command.split_first() else { return Ok(()) };
        let kind = if event.kind == seatrial_types::EventKind::Put { "\"PUT\"" } else { "\"DELETE\"" };
        let run = std::process::Command::new(OsStr::from_bytes(program))
            .args(arguments.iter().map(|argument| OsStr::from_bytes(argument)))
            .env("ETCD_WATCH_REVISION", answer.header.revision.to_string())
            .env("ETCD_WATCH_EVENT_TYPE", kind)
            .env("ETCD_WATCH_KEY", go::quote(&event.kv.key))
            .env("ETCD_WATCH_VALUE", go::quote(&event.kv.value))
            .status();
        let why = match run {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let words: Vec<_> = command.iter().map(|word| go::quote(word)).collect();
        self.err(format!("command [{}] error ({why})\n", words.join(" ")).as_bytes());
        Err(Fail::silent(code::ERROR))
    }

    async fn watch_interactive(&mut self) -> Result<(), Fail> {
        let mut lines = self.input_lines();
        let mut asks: Vec<mpsc::UnboundedSender<()>> = Vec::new();
        let mut answers: SelectAll<Answers> = SelectAll::new();
        loop {
            tokio::select! {
                biased;
                line = lines.recv() => match line {
                    Some(line) => {
                        if let Some((ask, stream)) = self.interactive_line(&line, &asks)? {
                            asks.push(ask);
                            answers.push(stream);
                        }
                    }
                    None => {
                        let text = "Error reading watch request line: EOF";
                        return Err(Fail::new(code::INVALID_INPUT, text));
                    }
                },
                Some(answer) = answers.next() => match answer {
                    Ok(answer) => self.show(&answer, &[])?,
                    Err(error) => {
                        self.err(format!("watch was canceled ({})\n", error_text(&error)).as_bytes());
                    }
                },
            }
        }
    }

    fn interactive_line(
        &mut self,
        line: &str,
        asks: &[mpsc::UnboundedSender<()>],
    ) -> Result<Option<(mpsc::UnboundedSender<()>, Answers)>, Fail> {
        let words = go::words(line).map_err(|error| Fail::new(code::INVALID_INPUT, error))?;
        match words.first().map(Vec::as_slice) {
            None => {
                self.err(format!("Invalid command: {line} (watch and progress supported)\n").as_bytes());
                Ok(None)
            }
            Some(b"watch") => {
                let words: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
                let matches = parse(args::watch(), words).map_err(|fail| Fail::args(fail.text))?;
                let given = with_environment(args::words(&matches), self.environment)?;
                if given.is_empty() {
                    let text = format!("Invalid command {line} (command type or key is not provided)\n");
                    self.err(text.as_bytes());
                    return Ok(None);
                }
                match create(&matches, &given) {
                    Ok(create) => self.start(create).map(Some),
                    Err(why) => {
                        self.err(format!("Invalid command {line} ({why})\n").as_bytes());
                        Ok(None)
                    }
                }
            }
            Some(b"progress") => {
                for ask in asks {
                    let _ = ask.unbounded_send(());
                }
                Ok(None)
            }
            Some(_) => {
                self.err(format!("Invalid command {line} (only support watch)\n").as_bytes());
                Ok(None)
            }
        }
    }
}
