//! A client of FleetLock, as Zincati is one: whatever is no success is asked again.

use seatrial_reboot::{Guards, Lock};
use seatrial_world::{World, timeout};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long one member may take to answer. It gives up by itself after 10 s.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(1);

/// The lock of a group, behind members that serve it.
pub(super) struct FleetLock<W> {
    pub(super) world: W,
    /// As `http://host:port`; the first one that can be reached is asked, and after a failure the next one.
    pub(super) endpoints: Vec<String>,
    /// Which of them comes first.
    pub(super) first: AtomicUsize,
    pub(super) id: String,
    pub(super) group: String,
}

impl<W: World> FleetLock<W> {
    async fn post(&self, path: &str) -> Result<(), String> {
        let group = if self.group.is_empty() { "default" } else { &self.group };
        let body = format!("{{\"client_params\":{{\"id\":\"{}\",\"group\":\"{group}\"}}}}", self.id);
        let mut why = "there is no member".to_owned();
        let first = self.first.load(Ordering::Relaxed) % self.endpoints.len().max(1);
        let (before, from) = self.endpoints.split_at(first);
        for endpoint in from.iter().chain(before) {
            let address = endpoint.trim_start_matches("http://");
            let mut stream = match timeout(&self.world, CONNECT, self.world.connect(address)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    why = error.to_string();
                    continue;
                }
                Err(elapsed) => {
                    why = elapsed.to_string();
                    continue;
                }
            };
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: {address}\r\nfleet-lock-protocol: true\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
            let mut answer = Vec::new();
            let asked = async {
                stream.write_all(request.as_bytes()).await?;
                stream.flush().await?;
                stream.read_to_end(&mut answer).await
            };
            // Who has heard the request may have done it: another is not asked before the next time.
            let judged = match timeout(&self.world, PATIENCE, asked).await {
                Ok(Ok(_)) => return judge(&answer).inspect_err(|why| self.turn_from(why)),
                Ok(Err(error)) => error.to_string(),
                Err(elapsed) => elapsed.to_string(),
            };
            self.turn_from("");
            return Err(judged);
        }
        Err(why)
    }
}

impl<W> FleetLock<W> {
    /// Another member comes first next time: this one may be far behind. Who was refused by the lock is refused by all.
    fn turn_from(&self, why: &str) {
        if !["waiting_turn", "rollout", "quorum_guard", "slots currently locked"]
            .iter()
            .any(|word| why.contains(word))
        {
            self.first.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn judge(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let status = text.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        return Ok(());
    }
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Err(format!("{status}: {}", body.trim()))
}

impl<W: World> Lock for FleetLock<W> {
    async fn lock(&self, own: Guards) -> Result<u64, String> {
        // The server knows nothing of this machine's window.
        own.allow().map_err(|refusal| refusal.to_string())?;
        self.post("/v1/pre-reboot").await.map(|()| 0)
    }

    async fn release(&self, _: Option<u64>) -> Result<(), String> {
        self.post("/v1/steady-state").await
    }

    async fn confirm(&self, _: u64) -> Result<bool, String> {
        // Who holds is told yes again, and whoever lost its slot asks for another: either way it holds one.
        self.post("/v1/pre-reboot").await.map(|()| true)
    }

    async fn changed(&self) {
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_of_200_is_leave_to_reboot() {
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), Ok(()));
        let full = b"HTTP/1.1 500 Internal Server Error\r\n\r\n{\"kind\":\"failed_lock\"}\n";
        assert_eq!(judge(full), Err("500: {\"kind\":\"failed_lock\"}".to_owned()));
        assert!(judge(b"").is_err());
    }
}
