//! Many watchers of one key, which is written at a steady pace: how long until each has heard of it.

use crate::asks;
use crate::connection::Event;
use crate::drive::Line;
use crate::load::{Load, Seen, Spent};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use prost::Message;
use seatrial_proto::etcdserverpb::watch_request::RequestUnion;
use seatrial_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What is written and watched.
const KEY: &[u8] = b"/load/watched";
/// The watchers must be there within.
const CREATION_MAX: Duration = Duration::from_secs(30);
/// What has not come so long after the last write is missing.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
struct Heard {
    created: usize,
    /// When each write was asked for; its number is its place.
    written: Vec<Instant>,
    /// Each event: which write, and how long after it was asked for.
    events: Vec<(usize, Duration)>,
    error: Option<String>,
}

pub(crate) async fn measure(load: &Load) -> Result<(Seen, Spent)> {
    let heard = Rc::new(RefCell::new(Heard::default()));
    let spread = load.spread();
    let mut streams = 0..load.case.streams;
    let mut running = Vec::new();
    for (endpoint, count) in spread {
        let watchers = streams
            .by_ref()
            .take(count)
            .map(|stream| {
                let (each, more) =
                    (load.case.clients / load.case.streams, load.case.clients % load.case.streams);
                each + usize::from(stream < more)
            })
            .collect();
        let heard = Rc::clone(&heard);
        running.push(tokio::task::spawn_local(async move {
            if let Err(error) = watch(&endpoint, watchers, &heard).await {
                heard.borrow_mut().error.get_or_insert_with(|| format!("{error:#}"));
            }
        }));
    }
    let result = observed(load, &heard).await;
    for task in running {
        task.abort();
    }
    result
}

async fn observed(load: &Load, heard: &Rc<RefCell<Heard>>) -> Result<(Seen, Spent)> {
    let asked = Instant::now();
    loop {
        let (created, error) = {
            let heard = heard.borrow();
            (heard.created, heard.error.clone())
        };
        if let Some(error) = error {
            bail!("{}: {error}", load.case);
        }
        if created == load.case.clients {
            break;
        }
        ensure!(asked.elapsed() < CREATION_MAX, "{}: only {created} watchers after 30 s", load.case);
        tokio::time::sleep(POLL).await;
    }
    let begin = Instant::now() + load.warm_up;
    let end = begin + load.time;
    let writer = tokio::task::spawn_local(write(
        load.endpoints[0].clone(),
        Duration::from_secs_f64(1.0 / load.watched_puts_per_second),
        load.shape.value_bytes,
        end,
        Rc::clone(heard),
    ));
    let spent = load.spend(begin, end).await?;
    writer.await?.context("writing the watched key")?;
    let counted = |heard: &Heard| heard.written.iter().position(|written| *written >= begin);
    let from = counted(&heard.borrow()).unwrap_or(usize::MAX);
    let wanted = heard.borrow().written.len().saturating_sub(from) * load.case.clients;
    let arrived = |heard: &Heard| heard.events.iter().filter(|(number, _)| *number >= from).count();
    let patience = Instant::now();
    while arrived(&heard.borrow()) < wanted && patience.elapsed() < PATIENCE {
        tokio::time::sleep(POLL).await;
    }
    let mut heard = heard.borrow_mut();
    let events = std::mem::take(&mut heard.events);
    let latencies: Vec<Duration> =
        events.into_iter().filter(|(number, _)| *number >= from).map(|(_, latency)| latency).collect();
    let errors = wanted.saturating_sub(latencies.len()) as u64;
    Ok((Seen { latencies, errors, error: heard.error.take() }, spent))
}

/// One connection with so many watchers on each of its streams.
async fn watch(endpoint: &str, watchers: Vec<usize>, heard: &RefCell<Heard>) -> Result<()> {
    let mut line = Line::connect(endpoint).await?;
    let create = WatchCreateRequest { key: Bytes::from_static(KEY), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }.encode_to_vec();
    for watchers in watchers {
        let stream = line.connection.open(asks::WATCH);
        for _ in 0..watchers {
            line.connection.message(stream, &create);
        }
    }
    let mut broken = None;
    loop {
        line.turn(|event| match event {
            Event::Message { body, .. } => match WatchResponse::decode(body) {
                Ok(response) => heard.borrow_mut().take(&response),
                Err(error) => broken = Some(error.to_string()),
            },
            Event::End { .. } => broken = Some("the server has ended a watch stream".to_owned()),
        })
        .await?;
        ensure!(broken.is_none(), "{endpoint}: {}", broken.unwrap_or_default());
    }
}

impl Heard {
    fn take(&mut self, response: &WatchResponse) {
        let now = Instant::now();
        self.created += usize::from(response.created);
        for event in &response.events {
            let value = event.kv.as_ref().map(|kv| &kv.value);
            let number = value.and_then(|value| value.first_chunk::<8>()).map(|n| u64::from_be_bytes(*n));
            let written = number.and_then(|number| self.written.get(number as usize));
            if let (Some(number), Some(written)) = (number, written) {
                self.events.push((number as usize, now - *written));
            }
        }
    }
}

/// Writes at a steady pace whatever the answers take: a slow server must not slow its own yardstick.
async fn write(
    endpoint: String,
    pace: Duration,
    value_bytes: usize,
    end: Instant,
    heard: Rc<RefCell<Heard>>,
) -> Result<()> {
    let mut line = Line::connect(&endpoint).await?;
    let mut due = Instant::now();
    let mut open = 0_usize;
    let mut refused = false;
    while due < end || open > 0 {
        let waits = tokio::time::sleep_until(due.into());
        tokio::select! {
            biased;
            () = waits, if due < end => {
                let number = heard.borrow().written.len() as u64;
                let mut value = number.to_be_bytes().to_vec();
                value.resize(value_bytes.max(8), b'w');
                let request =
                    PutRequest { key: Bytes::from_static(KEY), value: value.into(), ..PutRequest::default() };
                heard.borrow_mut().written.push(Instant::now());
                line.connection.ask(asks::PUT, &request.encode_to_vec());
                line.write()?;
                open += 1;
                due += pace;
            }
            turned = line.turn(|event| {
                if let Event::End { ok, .. } = event {
                    open -= 1;
                    refused |= !ok;
                }
            }) => turned?,
        }
        ensure!(!refused, "{endpoint} has refused a put");
    }
    Ok(())
}
