//! A watch stream, read in the background; what it said is kept by watch.

use crate::side::plain;
use futures::channel::mpsc;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use seatrial_proto::etcdserverpb as pb;
use seatrial_wire::Channel;
use seatrial_world_real::RealWorld;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What came for each watch: its creation, its events one by one, its end.
pub(crate) type Said = BTreeMap<i64, Vec<String>>;

pub(crate) struct WatchStream {
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
    heard: Arc<Mutex<Heard>>,
    reading: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    said: Said,
    /// Answers to requests for progress: their revisions.
    progress: Vec<i64>,
    /// Events whose revision is above that of the answer which brought them, and other nonsense.
    wrong: Vec<String>,
}

impl WatchStream {
    pub(crate) fn open(channel: Channel<RealWorld>) -> Self {
        let (requests, outgoing) = mpsc::unbounded();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let ear = heard.clone();
        let reading = tokio::spawn(async move {
            let mut client = WatchClient::new(channel).max_decoding_message_size(64 << 20);
            let mut answers = match client.watch(outgoing).await {
                Ok(answers) => answers.into_inner(),
                Err(status) => {
                    ear.lock().unwrap().wrong.push(format!("the stream was refused: {status}"));
                    return;
                }
            };
            loop {
                match answers.message().await {
                    Ok(Some(answer)) => ear.lock().unwrap().take(answer),
                    Ok(None) => return ear.lock().unwrap().wrong.push("the stream ended".to_owned()),
                    Err(status) => {
                        return ear.lock().unwrap().wrong.push(format!("the stream broke: {status}"));
                    }
                }
            }
        });
        Self { requests, heard, reading }
    }

    pub(crate) fn create(&self, request: pb::WatchCreateRequest) {
        self.send(RequestUnion::CreateRequest(request));
    }

    pub(crate) fn cancel(&self, watch_id: i64) {
        self.send(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id }));
    }

    pub(crate) fn progress(&self) {
        self.send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
    }

    fn send(&self, union: RequestUnion) {
        // A stream that has ended says so among what was heard.
        let _ = self.requests.unbounded_send(pb::WatchRequest { request_union: Some(union) });
    }

    /// How many watches were created or refused so far.
    pub(crate) fn created(&self) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.said.values().flatten().filter(|line| line.starts_with("created")).count()
    }

    pub(crate) fn ended(&self, watch_id: i64) -> bool {
        let heard = self.heard.lock().unwrap();
        heard
            .said
            .get(&watch_id)
            .and_then(|lines| lines.last())
            .is_some_and(|line| line.starts_with("canceled"))
    }

    /// Whether this watch is open, as far as its client knows. Refusals come under the id -1, which is none.
    pub(crate) fn is_open(&self, watch_id: i64) -> bool {
        watch_id >= 0 && self.heard.lock().unwrap().said.contains_key(&watch_id) && !self.ended(watch_id)
    }

    pub(crate) fn said(&self) -> Said {
        self.heard.lock().unwrap().said.clone()
    }

    pub(crate) fn forget(&self, watch_id: i64) {
        // The line of its creation counts further.
        if let Some(lines) = self.heard.lock().unwrap().said.get_mut(&watch_id) {
            lines.retain(|line| line.starts_with("created"));
            lines.push("canceled by its client".to_owned());
        }
    }

    pub(crate) fn progress_heard(&self) -> Vec<i64> {
        self.heard.lock().unwrap().progress.clone()
    }

    pub(crate) fn wrong(&self) -> Vec<String> {
        self.heard.lock().unwrap().wrong.clone()
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Heard {
    fn take(&mut self, mut answer: pb::WatchResponse) {
        let Some(revision) = plain(&mut answer.header) else {
            return self.wrong.push(format!("no header: {answer:?}"));
        };
        if answer.watch_id == -1 && !answer.created && !answer.canceled && answer.events.is_empty() {
            return self.progress.push(revision);
        }
        if answer.events.iter().any(|event| event.kv.as_ref().is_none_or(|kv| kv.mod_revision > revision)) {
            self.wrong.push(format!("events above their header: {answer:?}"));
        }
        let lines = self.said.entry(answer.watch_id).or_default();
        // An answer may carry the last events and the end.
        let (created, canceled) = (answer.created, answer.canceled);
        // Of a watch that was overtaken by compaction, etcd tells neither revision nor reason, and we do.
        let (revision, reason) = match answer.compact_revision {
            0 => (revision, answer.cancel_reason),
            _ => (0, String::new()),
        };
        let end = format!("at {revision}, compacted {}: {}", answer.compact_revision, reason);
        if created {
            lines.push(format!("created, canceled {canceled}, {end}"));
        }
        lines.extend(answer.events.iter().map(|event| format!("{event:?}")));
        // What compaction has ended can be canceled again there, and is answered again.
        let is_over = lines.last().is_some_and(|line| line.starts_with("canceled"));
        if canceled && !created && !is_over {
            lines.push(format!("canceled {end}"));
        }
    }
}
