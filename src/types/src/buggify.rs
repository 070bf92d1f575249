//! Sites at which a member may do something that is allowed and seldom happens by itself: write a batch of one entry, cut
//! a segment early, answer late (FoundationDB's `BUGGIFY`). They are no faults and no bugs: whoever asks at a site must be
//! right whatever the answer is.
//!
//! Without the feature `buggify`, which the simulator turns on, the question is a constant `false` and the rare branch is
//! compiled away. With it, a run of the simulator arms some of the sites for its own thread, on which all of its members
//! live; a server arms none.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! sites {
    ($($id:ident = $name:literal, $text:literal, $most:literal;)*) => {
        /// The sites; names as in `docs/buggify.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Site {
            $(#[doc = $text] #[serde(rename = $name)] $id,)*
        }

        impl Site {
            /// Every site.
            pub const ALL: &'static [Site] = &[$(Site::$id,)*];
            /// Their names.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Site::$id => $name,)* }
            }

            /// What happens there, in one sentence.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Site::$id => $text,)* }
            }

            /// How often it may be told to at most, in parts per million: more of it, and a run shows nothing else.
            #[must_use]
            pub const fn most_ppm(self) -> u32 {
                match self { $(Site::$id => $most,)* }
            }
        }

        impl FromStr for Site {
            type Err = UnknownSite;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s { $($name => Ok(Site::$id),)* _ => Err(UnknownSite(s.to_owned())) }
            }
        }
    };
}

sites! {
    AppendOne = "append-one", "a leader sends one entry in an append, though more are there", 500_000;
    ChunkSmall = "chunk-small", "a piece of a snapshot has 64 bytes at most", 200_000;
    TimerSoonest = "timer-soonest", "a timer that is drawn from a range takes the range's beginning", 500_000;
    BatchOne = "batch-one", "a member carries out what one input led to before it takes the next", 500_000;
    LoopStalls = "loop-stalls", "a member does nothing for up to 20 ms", 20_000;
    AnswerLate = "answer-late", "an answer leaves up to 50 ms late", 100_000;
    ProposalRefused = "proposal-refused", "a write is refused with \"too many requests\", and is certainly not done", 20_000;
    ForwardLost = "forward-lost", "a request for the leader is not sent; it is sent again after a while", 100_000;
    ReadAway = "read-away", "a short range is read as a long one is, beside the member's loop", 500_000;
    ReadPageSmall = "read-page-small", "a long range is read key by key", 500_000;
    WatchWindowOne = "watch-window-one", "a new watch stream may be sent one answer until it asks for more", 500_000;
    WatchStepSmall = "watch-step-small", "watchers that are behind are served from two rows at a time", 500_000;
    CompactionSmall = "compaction-small", "old versions are removed key by key", 800_000;
    CommitEach = "commit-each", "the backend is written as soon as anything was applied", 300_000;
    CommitSkipped = "commit-skipped", "the backend is not written though it is time to; the log holds more meanwhile", 800_000;
    CommitLate = "commit-late", "the backend is written up to 100 ms late", 200_000;
    LogCutClose = "log-cut-close", "the log is cut right behind what the backend holds; who lags gets a snapshot", 300_000;
    LogWriteOne = "log-write-one", "what waits to be written into the log is written and synced one by one", 500_000;
    SyncLate = "sync-late", "between a write of the log and its sync lie up to 20 ms", 100_000;
    DurableLate = "durable-late", "a member hears up to 20 ms late that its log is durable", 100_000;
    SegmentRolled = "segment-rolled", "the log goes on in a new segment though the old one has room", 50_000;
    LeaseNotedEarly = "lease-noted-early", "what is left of a lease is noted after a tenth of the time", 500_000;
    FrameOne = "frame-one", "messages for a peer are written one by one", 500_000;
    PeerHangsUp = "peer-hangs-up", "a connection to a peer is given up after a write, and made anew", 2_000;
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is not that of a site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no site called {0:?}")]
pub struct UnknownSite(pub String);

#[cfg(feature = "buggify")]
mod armed {
    use super::Site;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A site's own dice: what is drawn at one leaves the others' numbers as they were.
    struct Dice {
        ppm: u32,
        state: u64,
    }

    impl Dice {
        /// `SplitMix64`.
        fn roll(&mut self) -> u64 {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = self.state;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        }

        /// Evenly from `0..n`.
        fn below(&mut self, n: u64) -> u64 {
            u64::try_from((u128::from(self.roll()) * u128::from(n)) >> 64).expect("a product's upper half")
        }
    }

    struct Armed {
        sites: BTreeMap<Site, Dice>,
        told: Rc<dyn Fn(Site)>,
    }

    /// Spares a server, in which nothing is ever armed, the look into the thread's own.
    static EVER: AtomicBool = AtomicBool::new(false);

    thread_local! {
        static NOW: RefCell<Option<Armed>> = const { RefCell::new(None) };
    }

    /// From now on these sites are told to, on this thread, each with its probability in parts per million. `told` hears
    /// of each time.
    pub fn arm(seed: u64, sites: &[(Site, u32)], told: impl Fn(Site) + 'static) {
        EVER.store(true, Ordering::Relaxed);
        let dice = |site: Site, ppm| {
            // FNV-1a of the name: a site that is added later leaves the others' numbers as they were.
            let name = site
                .name()
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
            Dice { ppm, state: seed ^ name }
        };
        let sites = sites.iter().map(|(site, ppm)| (*site, dice(*site, *ppm))).collect();
        NOW.replace(Some(Armed { sites, told: Rc::new(told) }));
    }

    /// From now on no site is told to, on this thread.
    pub fn disarm() {
        NOW.replace(None);
    }

    /// A number from `1..=most` where the site is told to.
    #[must_use]
    pub fn amount(site: Site, most: u64) -> Option<u64> {
        if !EVER.load(Ordering::Relaxed) {
            return None;
        }
        let (drawn, told) = NOW.with_borrow_mut(|now| {
            let armed = now.as_mut()?;
            let dice = armed.sites.get_mut(&site)?;
            let is_hit = dice.below(1_000_000) < u64::from(dice.ppm);
            is_hit.then(|| (1 + dice.below(most), armed.told.clone()))
        })?;
        told(site);
        Some(drawn)
    }

    /// Whether the site is told to.
    #[must_use]
    pub fn hits(site: Site) -> bool {
        amount(site, 1).is_some()
    }
}

#[cfg(feature = "buggify")]
pub use armed::{amount, arm, disarm, hits};

/// Whether the site is told to: never, in a build without the feature `buggify`.
#[cfg(not(feature = "buggify"))]
#[inline(always)]
#[must_use]
pub const fn hits(_site: Site) -> bool {
    false
}

/// A number from `1..=most` where the site is told to: never, in a build without the feature `buggify`.
#[cfg(not(feature = "buggify"))]
#[inline(always)]
#[must_use]
pub const fn amount(_site: Site, _most: u64) -> Option<u64> {
    None
}

// Whoever builds a server without the simulator has this proved by the compiler.
#[cfg(not(feature = "buggify"))]
const _: () = {
    let mut at = 0;
    while at < Site::ALL.len() {
        assert!(!hits(Site::ALL[at]) && amount(Site::ALL[at], 1).is_none());
        at += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_read_by_its_name_and_is_never_certain() {
        for (site, name) in Site::ALL.iter().zip(Site::NAMES) {
            assert_eq!(name.parse(), Ok(*site));
            assert!((1..1_000_000).contains(&site.most_ppm()), "{site} would be all that a run shows");
        }
        assert_eq!("late".parse::<Site>(), Err(UnknownSite("late".to_owned())));
    }

    #[cfg(feature = "buggify")]
    #[test]
    fn sites_are_told_to_on_the_thread_that_armed_them_alike_for_a_seed_and_each_by_itself() {
        use std::cell::Cell;
        use std::rc::Rc;
        let draw = |seed, sites: &[(Site, u32)]| {
            let times = Rc::new(Cell::new(0));
            let counted = times.clone();
            arm(seed, sites, move |_| counted.set(counted.get() + 1));
            let drawn: Vec<Option<u64>> = (0..200)
                .map(|_| {
                    let _ = hits(Site::BatchOne);
                    amount(Site::SyncLate, 20)
                })
                .collect();
            disarm();
            assert!(!hits(Site::SyncLate), "disarmed");
            (drawn, times.get())
        };
        let both = [(Site::BatchOne, 500_000), (Site::SyncLate, 300_000)];
        let (drawn, times) = draw(1, &both);
        let hit = drawn.iter().flatten().count();
        assert!((30..90).contains(&hit), "{hit} of 200 at 30 %");
        assert!(times > hit + 60, "each time is told: {times}");
        assert!(drawn.iter().flatten().all(|at| (1..=20).contains(at)));
        assert_eq!(draw(1, &both), (drawn.clone(), times));
        assert_ne!(draw(2, &both).0, drawn);
        assert_eq!(draw(1, &both[1..]).0, drawn, "one site left out leaves the other as it was");
        arm(1, &both, |_| {});
        #[allow(clippy::disallowed_methods, reason = "another thread is what is tested")]
        let elsewhere = std::thread::spawn(|| (0..200).any(|_| hits(Site::BatchOne))).join().unwrap();
        disarm();
        assert!(!elsewhere, "another run, on a thread of its own, arms for itself");
    }
}
