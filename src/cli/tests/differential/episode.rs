//! A list of requests at both servers, and where they part.

use crate::explained::explained;
use crate::generate::{self, Now, Step};
use crate::side::Side;
use crate::support::server::Pair;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A wait as long as this is told.
const LONG: Duration = Duration::from_secs(5);

/// After so long it counts that neither side answers.
const SILENCE: Duration = Duration::from_secs(2);

/// etcd brings watches of the past level every 100 ms.
const CATCHING_UP: Duration = Duration::from_millis(130);

/// etcd removes compacted rows in the background, in bounded batches.
const COMPACTING: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Difference {
    /// Which of the requests.
    pub(crate) step: usize,
    what: String,
    theirs: String,
    ours: String,
    before: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.before {
            writeln!(f, "    {step}")?;
        }
        writeln!(f, "  request: {}\n  etcd:    {}\n  ours:    {}", self.what, self.theirs, self.ours)
    }
}

/// What was asked and what came of it, so that nobody takes a thousand refusals for a test.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    asked: BTreeMap<&'static str, u64>,
    refused: BTreeMap<String, u64>,
    explained: BTreeMap<&'static str, u64>,
    events: u64,
}

impl Tally {
    pub(crate) fn requests(&self) -> u64 {
        self.asked.values().sum()
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        *self.asked.entry(name).or_default() += 1;
    }

    /// # Panics
    /// Where too little was tried: then equality says little.
    pub(crate) fn expect_variety(&self) {
        assert!(self.asked.len() >= 15, "kinds of requests: {:?}", self.asked.keys());
        assert!(self.events > 500, "only {} events", self.events);
        let texts = [
            "key is not provided",
            "required revision has been compacted",
            "required revision is a future revision",
            "duplicate key given in txn request",
            "requested lease not found",
            "lease already exists",
            "value is provided",
            "lease is provided",
            "too large lease TTL",
            "key not found",
        ];
        for text in texts {
            assert!(self.refused.keys().any(|error| error.contains(text)), "never refused with {text:?}");
        }
        let refused: u64 = self.refused.values().sum();
        assert!(refused * 2 < self.requests(), "{refused} of {} requests were refused", self.requests());
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.asked {
            writeln!(f, "{count:>9} {name}")?;
        }
        for (text, count) in &self.refused {
            writeln!(f, "{count:>9} refused: {text}")?;
        }
        writeln!(f, "{:>9} events of watches", self.events)?;
        for (reason, count) in &self.explained {
            writeln!(f, "{count:>9} different on purpose: {reason}")?;
        }
        Ok(())
    }
}

struct Episode<'a> {
    theirs: Side,
    ours: Side,
    now: Now,
    /// A watch of the past may still be on its way to the present.
    catching_up: bool,
    /// How long events may be under way.
    delivery: Duration,
    tally: &'a mut Tally,
}

/// Carries out the requests of these numbers, from nothing.
pub(crate) async fn run(
    pair: &Pair,
    seeds: &[u64],
    delivery: Duration,
    tally: &mut Tally,
) -> Result<(), Difference> {
    let (theirs, ours) = tokio::join!(Side::connect(&pair.theirs), Side::connect(&pair.ours));
    let mut episode = Episode { theirs, ours, now: Now::default(), catching_up: false, delivery, tally };
    let mut done = Vec::new();
    let result = async {
        episode.wipe().await.map_err(|parted| (0, "wipe".to_owned(), parted))?;
        for (index, seed) in seeds.iter().enumerate() {
            let step = generate::step(*seed, episode.now);
            let what = format!("{step:?}");
            done.push(what.clone());
            episode.step(step).await.map_err(|parted| (index, what, parted))?;
        }
        let last = seeds.len().saturating_sub(1);
        episode.finish().await.map_err(|parted| (last, "all events in the end".to_owned(), parted))
    };
    result.await.map_err(|(step, what, (theirs, ours))| {
        done.pop();
        let before = done.split_off(done.len().saturating_sub(6));
        Difference { step, what, theirs, ours, before }
    })
}

/// What etcd said and what we said.
type Parted = (String, String);

fn said(side: &Side) -> Vec<crate::watches::Said> {
    side.streams.iter().map(crate::watches::WatchStream::said).collect()
}

impl Episode<'_> {
    async fn wipe(&mut self) -> Result<(), Parted> {
        let (theirs, ours) = tokio::join!(self.theirs.wipe(), self.ours.wipe());
        match (theirs, ours) {
            (Ok(theirs), Ok(ours)) if theirs == ours => {
                self.now = Now { revision: theirs, compacted: theirs };
                Ok(())
            }
            (theirs, ours) => Err((format!("{theirs:?}"), format!("{ours:?}"))),
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), Parted> {
        *self.tally.asked.entry(step.name()).or_default() += 1;
        match step {
            Step::Watch(stream, request) => self.watch(stream, request).await,
            Step::WatchCancel(stream, id) => self.cancel(stream, id).await,
            Step::WatchProgress(stream) => self.progress(stream).await,
            Step::WatchCheck => self.compare_watches().await,
            step => {
                if let Step::Compact(_) = step {
                    // A watch that is still behind would be cut off by it, or not.
                    self.settle().await?;
                }
                self.call(step).await
            }
        }
    }

    async fn call(&mut self, step: Step) -> Result<(), Parted> {
        let asked = std::time::Instant::now();
        let (theirs, ours) = loop {
            let both = tokio::join!(self.theirs.call(step.clone()), self.ours.call(step.clone()));
            // Where no key is alive, etcd's sum has what a compaction on its way has not removed yet.
            let early = matches!(step, Step::HashKv(_)) && both.0.text != both.1.text;
            if !early || asked.elapsed() > COMPACTING {
                break both;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        if theirs.text != ours.text {
            match explained(&step, &theirs.text, &ours.text) {
                Some(reason) => *self.tally.explained.entry(reason).or_default() += 1,
                None => return Err((theirs.text, ours.text)),
            }
        }
        match theirs.revision {
            Some(revision) => {
                // Answers about the past say the present, all but failed ones; none goes back.
                self.now.revision = self.now.revision.max(revision);
                if let Step::Compact(request) = step {
                    self.now.compacted = request.revision;
                }
            }
            None if theirs.text.contains("Response {") => {}
            None => *self.tally.refused.entry(theirs.text).or_default() += 1,
        }
        Ok(())
    }

    async fn watch(
        &mut self,
        stream: usize,
        request: seatrial_proto::etcdserverpb::WatchCreateRequest,
    ) -> Result<(), Parted> {
        self.catching_up |= request.start_revision > 0 && request.start_revision <= self.now.revision;
        let sides = [&self.theirs.streams[stream], &self.ours.streams[stream]];
        let before = sides.map(crate::watches::WatchStream::created);
        for side in sides {
            side.create(request.clone());
        }
        self.wait(|episode| {
            [&episode.theirs, &episode.ours].map(|side| side.streams[stream].created())
                == [before[0] + 1, before[1] + 1]
        })
        .await;
        self.compare_watches().await
    }

    async fn cancel(&mut self, stream: usize, id: i64) -> Result<(), Parted> {
        self.compare_watches().await?;
        let sides = [&self.theirs.streams[stream], &self.ours.streams[stream]];
        let open = sides[0].is_open(id);
        for side in sides {
            side.cancel(id);
        }
        if !open {
            // Then nothing is to come, which the next comparison sees.
            return Ok(());
        }
        self.wait(|episode| {
            [&episode.theirs, &episode.ours].iter().all(|side| side.streams[stream].ended(id))
        })
        .await;
        // Events that were under way to one side may have been overtaken by the end; all others are equal.
        let [mut theirs, mut ours] = [&self.theirs, &self.ours]
            .map(|side| side.streams[stream].said().remove(&id).unwrap_or_default());
        let ends = (theirs.pop(), ours.pop());
        let common = theirs.len().min(ours.len());
        if ends.0 != ends.1 || theirs[..common] != ours[..common] {
            theirs.extend(ends.0);
            ours.extend(ends.1);
            return Err((theirs.join("\n           "), ours.join("\n           ")));
        }
        self.tally.events += common as u64;
        for side in [&self.theirs, &self.ours] {
            side.streams[stream].forget(id);
        }
        Ok(())
    }

    async fn progress(&mut self, stream: usize) -> Result<(), Parted> {
        self.settle().await?;
        let sides = [&self.theirs.streams[stream], &self.ours.streams[stream]];
        let before = sides.map(|side| side.progress_heard().len());
        for side in sides {
            side.progress();
        }
        let heard = |episode: &Self| {
            [&episode.theirs, &episode.ours].map(|side| side.streams[stream].progress_heard())
        };
        // Where neither says anything, as for streams without watches, there is nothing to wait for.
        let asked = std::time::Instant::now();
        self.wait(|episode| {
            let answered =
                heard(episode).iter().zip(before).filter(|(heard, before)| heard.len() > *before).count();
            answered == 2 || (answered == 0 && asked.elapsed() > SILENCE)
        })
        .await;
        let [theirs, ours] = heard(self);
        if theirs[before[0]..] == ours[before[1]..] {
            return Ok(());
        }
        Err((format!("progress {:?}", &theirs[before[0]..]), format!("progress {:?}", &ours[before[1]..])))
    }

    /// All watches are level, and both sides have said the same.
    async fn settle(&mut self) -> Result<(), Parted> {
        if std::mem::take(&mut self.catching_up) {
            tokio::time::sleep(CATCHING_UP).await;
        }
        self.compare_watches().await
    }

    async fn finish(&mut self) -> Result<(), Parted> {
        // What nobody has delivered yet comes now, and so does what nobody should have delivered.
        tokio::time::sleep(2 * CATCHING_UP).await;
        self.compare_watches().await?;
        // And all that either holds, with all its history, is the same.
        self.call(Step::HashKv(seatrial_proto::etcdserverpb::HashKvRequest { revision: 0 })).await?;
        let said = self.theirs.streams.iter().flat_map(|stream| stream.said().into_values());
        self.tally.events += said.flatten().filter(|line| line.starts_with("Event")).count() as u64;
        Ok(())
    }

    async fn compare_watches(&self) -> Result<(), Parted> {
        // One look decides: more may be said between two, on one side first.
        if self.wait(|episode| episode.parted().is_ok()).await {
            return Ok(());
        }
        let Err((theirs, ours)) = self.parted() else { return Ok(()) };
        // Whoever reads of it wants to know who it was that said nothing.
        let silent: Vec<usize> = (0..self.theirs.streams.len())
            .filter(|stream| self.theirs.streams[*stream].said() != self.ours.streams[*stream].said())
            .collect();
        let mut told = [theirs, ours];
        for (side, told) in [&self.theirs, &self.ours].into_iter().zip(&mut told) {
            for stream in &silent {
                let before = side.streams[*stream].progress_heard().len();
                side.streams[*stream].progress();
                tokio::time::sleep(Duration::from_millis(500)).await;
                let heard = side.streams[*stream].progress_heard().len() - before;
                *told += &format!("\n           stream {stream} answered {heard} of 1 request for progress");
            }
            *told += &side.watch_metrics().await;
        }
        if self.parted().is_ok() {
            told[0] += "\n           and a little later both had said the same";
        }
        let [theirs, ours] = told;
        Err((theirs, ours))
    }

    /// What has been said on the watches so far is the same, or it is not.
    fn parted(&self) -> Result<(), Parted> {
        let (theirs, ours) = (said(&self.theirs), said(&self.ours));
        for (stream, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
            for id in theirs.keys().chain(ours.keys()) {
                let (theirs, ours) = (theirs.get(id), ours.get(id));
                if theirs != ours {
                    let part = |lines: Option<&Vec<String>>| {
                        let lines = lines.cloned().unwrap_or_default();
                        format!("stream {stream}, watch {id}:\n           {}", lines.join("\n           "))
                    };
                    return Err((part(theirs), part(ours)));
                }
            }
        }
        let wrong = |side: &Side| -> Vec<String> {
            side.streams.iter().flat_map(crate::watches::WatchStream::wrong).collect()
        };
        let (theirs, ours) = (wrong(&self.theirs), wrong(&self.ours));
        if theirs.is_empty() && ours.is_empty() { Ok(()) } else { Err((theirs.join("; "), ours.join("; "))) }
    }

    /// Waits until it holds; not for ever. Whether it did.
    async fn wait(&self, holds: impl Fn(&Self) -> bool) -> bool {
        // Only time in which this process itself got to run: a machine that stood still delivers nothing.
        let mut waited = Duration::ZERO;
        let begun = std::time::Instant::now();
        let mut pause = Duration::from_micros(200);
        let mut held = holds(self);
        while !held && waited < self.delivery {
            tokio::time::sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(20));
            held = holds(self);
        }
        if begun.elapsed() > LONG {
            eprintln!("waited {} s, of which {} s asleep", begun.elapsed().as_secs(), waited.as_secs());
        }
        held
    }
}
