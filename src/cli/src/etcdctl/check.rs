//! check perf, check datascale: whether a cluster bears a load, and what memory data take.

use super::args::value;
use super::{Fail, Session, code, error_text};
use clap::ArgMatches;
use seatrial_client::{ClientError, Store};
use seatrial_types::request::{CompactRequest, DeleteRangeRequest, PutRequest, RangeRequest};
use seatrial_types::{KeyRange, Request};
use seatrial_world::World;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Loads by size: small, medium, large, very large.
const NAMES: [[&str; 2]; 4] = [["s", "small"], ["m", "medium"], ["l", "large"], ["xl", "xLarge"]];

/// Writes a second, and clients that write.
const PERF: [(u32, usize); 4] = [(150, 50), (1000, 200), (8000, 500), (15_000, 1000)];
const PERF_TIME: Duration = Duration::from_secs(60);

/// Keys, and clients that write them.
const SCALE: [(u32, usize); 4] = [(10_000, 50), (100_000, 200), (1_000_000, 500), (3_000_000, 1000)];

const VALUE_LEN: usize = 1024;

fn load(matches: &ArgMatches) -> Result<usize, Fail> {
    let load = value(matches, "load");
    NAMES
        .iter()
        .position(|names| names.contains(&load))
        .ok_or_else(|| Fail::new(code::BAD_FEATURE, format!("unknown load option {load}")))
}

fn failed(error: ClientError) -> Fail {
    Fail::new(code::ERROR, error_text(&error.error))
}

/// What the writers saw.
#[derive(Clone, Default)]
struct Seen {
    seconds: Vec<f64>,
    errors: BTreeMap<String, u64>,
}

impl Seen {
    fn slowest(&self) -> f64 {
        self.seconds.iter().copied().fold(0.0, f64::max)
    }

    /// Standard deviation.
    fn spread(&self) -> f64 {
        let count = self.seconds.len().max(1) as f64;
        let mean = self.seconds.iter().sum::<f64>() / count;
        let squares = self.seconds.iter().map(|second| (second - mean).powi(2)).sum::<f64>();
        (squares / count).sqrt()
    }
}

impl Session<'_> {
    /// Writes keys numbered from 0 below the prefix, each not before its time, until the numbers or the time end.
    async fn write_load(
        &self,
        prefix: &str,
        clients: usize,
        keys: Option<u32>,
        per_second: Option<u32>,
    ) -> Result<Seen, Fail> {
        let (client, world) = (self.client()?, &self.world);
        let (next, seen) = (RefCell::new(0_u32), RefCell::new(Seen::default()));
        let begun = world.now();
        let writer = || async {
            loop {
                let number = next.replace_with(|number| *number + 1);
                if keys.is_some_and(|keys| number >= keys) {
                    return;
                }
                if let Some(rate) = per_second {
                    let due = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
                    if due >= PERF_TIME {
                        return;
                    }
                    world.sleep((begun + due).saturating_sub(world.now())).await;
                }
                let put = PutRequest {
                    key: format!("{prefix}{number:0256}").into(),
                    value: vec![b'v'; VALUE_LEN].into(),
                    ..PutRequest::default()
                };
                let start = world.now();
                let done = client.put(put).await;
                let took = (world.now() - start).as_secs_f64();
                match done {
                    Ok(_) => seen.borrow_mut().seconds.push(took),
                    Err(error) => {
                        *seen.borrow_mut().errors.entry(error_text(&error.error)).or_default() += 1;
                    }
                }
            }
        };
        futures::future::join_all((0..clients).map(|_| writer())).await;
        Ok(seen.into_inner())
    }

    /// The revision at which nothing lies below the prefix.
    async fn expect_no_keys(&self, prefix: &str) -> Result<(), Fail> {
        let request = RangeRequest {
            range: KeyRange::prefix(prefix.to_owned()),
            limit: 1,
            count_only: true,
            ..RangeRequest::default()
        };
        let answer = self.client()?.range(request).await.map_err(failed)?;
        if answer.count == 0 {
            return Ok(());
        }
        let text = format!("prefix {prefix:?} has keys. Delete with etcdctl del --prefix {prefix} first");
        Err(Fail::new(code::INVALID_INPUT, text))
    }

    /// Deletes what was written, and its history and its room where that is wished.
    async fn clean_up(&mut self, matches: &ArgMatches, prefix: &str) -> Result<(), Fail> {
        let client = self.client()?;
        let request = DeleteRangeRequest {
            range: KeyRange::prefix(prefix.to_owned()),
            ..DeleteRangeRequest::default()
        };
        let deleted = client.delete_range(request).await.map_err(failed)?;
        if matches.get_flag("auto-compact") {
            let revision = deleted.header.revision;
            self.out(format!("Compacting with revision {revision}\n").as_bytes())?;
            client.compact(CompactRequest { revision, physical: true }).await.map_err(failed)?;
            self.out(format!("Compacted with revision {revision}\n").as_bytes())?;
        }
        if matches.get_flag("auto-defrag") {
            for endpoint in self.globals.endpoints.clone() {
                self.out(format!("Defragmenting {endpoint:?}\n").as_bytes())?;
                self.client_of(&endpoint)?.call(Request::Defragment).await.map_err(failed)?;
                self.out(format!("Defragmented {endpoint:?}\n").as_bytes())?;
            }
        }
        Ok(())
    }

    pub(super) async fn check_perf(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let (per_second, clients) = PERF[load(matches)?];
        let prefix = value(matches, "prefix").to_owned();
        self.expect_no_keys(&prefix).await?;
        let begun = self.world.now();
        let seen = self.write_load(&prefix, clients, None, Some(per_second)).await?;
        let elapsed = (self.world.now() - begun).as_secs_f64();
        self.clean_up(matches, &prefix).await?;
        let rate = seen.seconds.len() as f64 / elapsed.max(PERF_TIME.as_secs_f64());
        let (verdict, passed) = verdict(&seen, rate, f64::from(per_second));
        self.out(verdict.as_bytes())?;
        if passed { Ok(()) } else { Err(Fail::silent(code::ERROR)) }
    }

    pub(super) async fn check_datascale(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let (keys, clients) = SCALE[load(matches)?];
        let prefix = value(matches, "prefix").to_owned();
        self.expect_no_keys(&prefix).await?;
        let endpoint = self.globals.endpoints.first().cloned().unwrap_or_default();
        let before = self.memory_bytes(&endpoint).await?;
        self.out(
            format!(
                "Start data scale check for work load [{keys} key-value pairs, {VALUE_LEN} bytes per key-value, \
                 {clients} concurrent clients].\n"
            )
            .as_bytes(),
        )?;
        let seen = self.write_load(&prefix, clients, Some(keys), None).await?;
        self.clean_up(matches, &prefix).await?;
        let after = self.memory_bytes(&endpoint).await?;
        if !seen.errors.is_empty() {
            let mut text = "FAIL: too many errors\n".to_owned();
            for (error, count) in &seen.errors {
                text += &format!("FAIL: ERROR({error}) -> {count}\n");
            }
            self.out(text.as_bytes())?;
            return Err(Fail::silent(code::ERROR));
        }
        let megabytes = (after - before).max(0.0) / f64::from(1 << 20);
        self.out(format!("PASS: Approximate system memory used : {megabytes:.2} MB.\n").as_bytes())
    }

    /// What a server's metrics say that it takes.
    async fn memory_bytes(&self, endpoint: &str) -> Result<f64, Fail> {
        const METRIC: &str = "process_resident_memory_bytes ";
        let address = endpoint.trim_start_matches("http://").trim_start_matches("https://");
        let failed = |why: String| {
            Fail::new(code::ERROR, format!("could not read {METRIC}from http://{address}/metrics ({why})"))
        };
        let asked = async {
            let mut stream = self.world.connect(address).await?;
            let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = tokio::select! {
            biased;
            answer = asked => answer.map_err(|error| failed(error.to_string()))?,
            () = self.world.sleep(self.globals.command_timeout) => return Err(failed("no answer".to_owned())),
        };
        let line = answer.lines().find_map(|line| line.strip_prefix(METRIC));
        line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| failed("not there".to_owned()))
    }
}

/// What is said of it in the end, and whether all is well.
fn verdict(seen: &Seen, rate: f64, wanted: f64) -> (String, bool) {
    let (slowest, spread) = (seen.slowest(), seen.spread());
    let mut text = String::new();
    let mut passed = seen.errors.is_empty();
    if !passed {
        text += "FAIL: too many errors\n";
        for (error, count) in &seen.errors {
            text += &format!("FAIL: ERROR({error}) -> {count}\n");
        }
    }
    let whole = rate.round() as u64;
    let mut line = |good: bool, yes: String, no: String| {
        passed &= good;
        text += &if good { yes } else { no };
    };
    line(
        rate / wanted > 0.9,
        format!("PASS: Throughput is {whole} writes/s\n"),
        format!("FAIL: Throughput too low: {whole} writes/s\n"),
    );
    line(
        slowest <= 0.5,
        format!("PASS: Slowest request took {slowest:.6}s\n"),
        format!("Slowest request took too long: {slowest:.6}s\n"),
    );
    line(
        spread <= 0.1,
        format!("PASS: Stddev is {spread:.6}s\n"),
        format!("Stddev too high: {spread:.6}s\n"),
    );
    text += if passed { "PASS\n" } else { "FAIL\n" };
    (text, passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_what_is_wrong() {
        let good = Seen { seconds: vec![0.01, 0.03], errors: BTreeMap::new() };
        let text = "PASS: Throughput is 150 writes/s\nPASS: Slowest request took 0.030000s\nPASS: Stddev is 0.010000s\nPASS\n";
        assert_eq!(verdict(&good, 149.9, 150.0), (text.to_owned(), true));
        let slow = Seen { seconds: vec![0.0, 1.0], errors: BTreeMap::from([("e".to_owned(), 2)]) };
        let text = "FAIL: too many errors\nFAIL: ERROR(e) -> 2\nFAIL: Throughput too low: 100 writes/s\n\
                    Slowest request took too long: 1.000000s\nStddev too high: 0.500000s\nFAIL\n";
        assert_eq!(verdict(&slow, 100.0, 150.0), (text.to_owned(), false));
        // One of them is enough, whichever it is.
        let refused = Seen { errors: BTreeMap::from([("e".to_owned(), 1)]), ..good.clone() };
        let late = Seen { seconds: [vec![0.01; 100], vec![0.6]].concat(), ..good.clone() };
        let uneven = Seen { seconds: vec![0.0, 0.3], ..good.clone() };
        for (seen, rate, why) in [
            (&refused, 150.0, "too many errors"),
            (&good, 135.0, "Throughput too low"),
            (&late, 150.0, "took too long"),
            (&uneven, 150.0, "Stddev too high"),
        ] {
            let (text, passed) = verdict(seen, rate, 150.0);
            assert!(text.contains(why) && text.ends_with("FAIL\n") && !passed, "{why}: {text}");
            let bad = ["FAIL: too", "too low", "too long", "too high"];
            assert_eq!(bad.iter().filter(|bad| text.contains(**bad)).count(), 1, "{text}");
        }
    }
}
