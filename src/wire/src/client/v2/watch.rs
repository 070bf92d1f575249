//! Waiting for changes.

use super::answer::{V2Told, cluster, event, index, refusal};
use super::client::{Question, V2Client};
use super::error::{V2ClientError, V2Failure};
use super::keys::pairs;
use super::line::Begun;
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use seatrial_world::World;

/// One who waits for changes, one after the other, and misses none as long as the members remember them.
pub struct V2Watcher<W: World> {
    client: V2Client<W>,
    key: String,
    recursive: bool,
    /// The first index that counts; 0: from now on.
    since: u64,
}

impl<W: World> V2Client<W> {
    /// Waits at a key, and with `recursive` at all below, for changes from the index `since` on (0: from now on).
    #[must_use]
    pub fn watcher(&self, key: &str, recursive: bool, since: u64) -> V2Watcher<W> {
        V2Watcher { client: self.clone(), key: key.to_owned(), recursive, since }
    }

    /// Waits for one change. There is no limit of time.
    ///
    /// # Errors
    /// [`V2ClientError::Refused`] with `EventIndexCleared` where the members have forgotten the index.
    pub async fn watch(&self, key: &str, recursive: bool, since: u64) -> Result<V2Told, V2ClientError> {
        self.watcher(key, recursive, since).next().await
    }

    /// Every change in one answer that goes on; it ends with the member, or where its reader is too slow.
    ///
    /// # Errors
    /// As [`V2Client::watch`].
    pub async fn stream(&self, key: &str, recursive: bool, since: u64) -> Result<V2Stream, V2ClientError> {
        let mut query = waiting(recursive, since);
        query.push(("stream", "true".to_owned()));
        let question = Question::get(format!("{}?{}", self.target(key), pairs(query)));
        let bytes_max = self.shared.options.response_bytes_max;
        let (begun, _) = self.begin(&question).await?;
        let Begun { response, sender } = begun;
        let status = response.status();
        let (head, body) = response.into_parts();
        let (index, cluster) = (index(&head.headers), cluster(&head.headers));
        let mut stream =
            V2Stream { _sender: sender, body, bytes: BytesMut::new(), bytes_max, index, cluster };
        if !status.is_success() {
            let text = stream.line().await?.unwrap_or_default();
            return Err(refusal(&text));
        }
        Ok(stream)
    }
}

fn waiting(recursive: bool, since: u64) -> Vec<(&'static str, String)> {
    vec![("recursive", recursive.to_string()), ("wait", "true".to_owned()), ("waitIndex", since.to_string())]
}

impl<W: World> V2Watcher<W> {
    /// The next change. There is no limit of time.
    ///
    /// # Errors
    /// As [`V2Client::watch`]. After an error it goes on where it was.
    pub async fn next(&mut self) -> Result<V2Told, V2ClientError> {
        loop {
            let query = pairs(waiting(self.recursive, self.since));
            let question = Question::get(format!("{}?{query}", self.client.target(&self.key)));
            let (begun, line) = self.client.begin(&question).await?;
            let Begun { response, sender } = begun;
            let status = response.status();
            let (head, body) = response.into_parts();
            let bytes_max = self.client.shared.options.response_bytes_max;
            let (index, cluster) = (index(&head.headers), cluster(&head.headers));
            let mut stream =
                V2Stream { _sender: sender, body, bytes: BytesMut::new(), bytes_max, index, cluster };
            let text = stream.line().await?;
            if !status.is_success() {
                return Err(refusal(&text.unwrap_or_default()));
            }
            let Some(text) = text else {
                // It ended without a word: the member stops, or has cut who waits. What happened meanwhile is asked for.
                if self.since == 0 {
                    self.since = stream.index + 1;
                }
                continue;
            };
            let V2Stream { _sender: sender, index, cluster, .. } = stream;
            line.keep(sender);
            let event = event(&text)?;
            self.since = event.index() + 1;
            return Ok(V2Told { event, index, cluster });
        }
    }
}

/// An answer that goes on.
pub struct V2Stream {
    /// The connection lasts as long as this.
    _sender: hyper::client::conn::http1::SendRequest<http_body_util::Full<bytes::Bytes>>,
    body: Incoming,
    bytes: BytesMut,
    bytes_max: usize,
    index: u64,
    cluster: String,
}

impl V2Stream {
    /// How far the key space was when the waiting began.
    #[must_use]
    pub fn began(&self) -> u64 {
        self.index
    }

    /// The next change; `None` at the end.
    ///
    /// # Errors
    /// Where the connection broke, or says what is none of this API.
    pub async fn next(&mut self) -> Result<Option<V2Told>, V2ClientError> {
        match self.line().await? {
            None => Ok(None),
            Some(text) => {
                let (event, index, cluster) = (event(&text)?, self.index, self.cluster.clone());
                Ok(Some(V2Told { event, index, cluster }))
            }
        }
    }

    /// The next line, or the rest.
    async fn line(&mut self) -> Result<Option<BytesMut>, V2ClientError> {
        loop {
            if let Some(at) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line = self.bytes.split_to(at + 1);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(line));
            }
            let Some(frame) = self.body.frame().await else {
                let rest = self.bytes.split();
                return Ok((!rest.is_empty()).then_some(rest));
            };
            let frame = frame.map_err(|error| V2ClientError::Unreachable {
                failures: vec![V2Failure::Lost(error.to_string())],
                ambiguous: false,
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if self.bytes.len() + data.len() > self.bytes_max {
                return Err(V2ClientError::Odd {
                    why: format!("a change of more than {} bytes", self.bytes_max),
                });
            }
            self.bytes.extend_from_slice(&data);
        }
    }
}
