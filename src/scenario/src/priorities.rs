//! Random priorities of links, so that orders of messages come up which even delays seldom make: probabilistic concurrency
//! testing (Burckhardt, Kothari, Musuvathi and Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of
//! Finding Bugs", ASPLOS 2010) for messages instead of threads.
//!
//! Each directed link between machines that may have a member has its place in one order, and what passes over it takes a
//! step longer for each place further down. A few times in a run the link at a drawn place falls to the end: those are the
//! change points of the paper, whose number is the depth of the bugs looked for, less one. The paper runs nothing of low
//! priority while anything else can run; a message held back as long as that would look like a cut link, so it is held
//! back for a part of an election timeout at most. Behind the storm all links are equal again.

use crate::chance::Chance;
use crate::fault::{LinkRule, Place};
use seatrial_types::MemberId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One seed in so many has priorities; the others' delays are drawn for each packet alone.
const ONE_IN: u64 = 4;

/// The slowest link is slower than the fastest by an election timeout, divided by one of these.
const PARTS: [u32; 3] = [16, 8, 4];

/// How often a link falls, as drawn.
const CHANGES: [u64; 6] = [0, 1, 2, 3, 5, 8];

/// A directed link between two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    /// Who says something.
    pub from: MemberId,
    /// Who hears it.
    pub to: MemberId,
}

/// A link falls to the end of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fall {
    /// World time.
    pub at: Duration,
    /// Which.
    pub link: Link,
}

/// How soon messages arrive, by the link they take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Priorities {
    /// How much longer it takes over a link than over the one before it in the order.
    pub step: Duration,
    /// Every link between members' machines, the fastest first.
    pub order: Vec<Link>,
    /// In order of time.
    pub falls: Vec<Fall>,
}

impl Priorities {
    /// Draws them, where this seed has any.
    pub(crate) fn draw(
        machines: &[MemberId],
        time: Duration,
        election_timeout: Duration,
        chance: &mut Chance,
    ) -> Option<Self> {
        if !chance.one_in(ONE_IN) || machines.len() < 2 {
            return None;
        }
        // By machine, where all that one of them says is slower than all that another says; or by link.
        let by_machine = chance.one_in(3);
        let senders = chance.shuffled(machines);
        let mut order: Vec<Link> = Vec::new();
        for from in &senders {
            let receivers: Vec<MemberId> = machines.iter().copied().filter(|to| to != from).collect();
            order.extend(chance.shuffled(&receivers).into_iter().map(|to| Link { from: *from, to }));
        }
        if !by_machine {
            order = chance.shuffled(&order);
        }
        let spread = election_timeout / chance.pick(&PARTS);
        let step = spread / u32::try_from(order.len() - 1).expect("a few links");
        let mut falls: Vec<Fall> = (0..chance.pick(&CHANGES))
            .map(|_| Fall { at: chance.between(Duration::ZERO, time), link: chance.pick(&order) })
            .collect();
        falls.retain(|fall| fall.at < time);
        falls.sort_by_key(|fall| fall.at);
        Some(Self { step, order, falls })
    }

    /// The order once so many links have fallen.
    fn after(&self, falls: usize) -> Vec<Link> {
        let mut order = self.order.clone();
        for fall in &self.falls[..falls] {
            order.retain(|link| *link != fall.link);
            order.push(fall.link);
        }
        order
    }

    /// What the links do once so many of them have fallen.
    pub(crate) fn links(&self, falls: usize) -> Vec<(Place, Place, LinkRule)> {
        let order = self.after(falls);
        let slower = (0..).zip(order).filter(|(place, _)| *place > 0);
        slower
            .map(|(place, link)| {
                let rule = LinkRule { extra_latency: self.step * place, ..LinkRule::default() };
                (Place::Member(link.from), Place::Member(link.to), rule)
            })
            .collect()
    }

    /// For a cluster of these machines alone.
    pub(crate) fn among(&mut self, is_there: impl Fn(MemberId) -> bool) {
        let stays = |link: &Link| is_there(link.from) && is_there(link.to);
        self.order.retain(stays);
        self.falls.retain(|fall| stays(&fall.link));
    }

    /// In words.
    #[must_use]
    pub fn told(&self) -> String {
        let order: Vec<String> = self.order.iter().map(ToString::to_string).collect();
        let falls: Vec<String> =
            self.falls.iter().map(|fall| format!("{} at {:?}", fall.link, fall.at)).collect();
        let falls =
            if falls.is_empty() { String::new() } else { format!("; to the end fall {}", falls.join(", ")) };
        format!("{:?} for each place in {}{falls}", self.step, order.join(" "))
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}>{}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SECOND: Duration = Duration::from_secs(1);

    fn drawn(machines: u64, seed: u64) -> Option<Priorities> {
        let machines: Vec<MemberId> = (1..=machines).map(MemberId).collect();
        Priorities::draw(&machines, SECOND * 30, SECOND, &mut Chance::stream(seed, "priorities"))
    }

    #[test]
    fn a_part_of_the_seeds_has_them_and_every_link_has_one_place() {
        let all: Vec<Priorities> = (0..400).filter_map(|seed| drawn(3, seed)).collect();
        assert!((60..140).contains(&all.len()), "{} of 400", all.len());
        for one in &all {
            assert_eq!(one.order.iter().collect::<BTreeSet<_>>().len(), 6, "{one:?}");
            let links = one.links(one.falls.len());
            assert_eq!(links.len(), 5, "the fastest is as fast as ever");
            let most = links.iter().map(|(_, _, rule)| rule.extra_latency).max().unwrap();
            assert!(most > Duration::from_millis(60) && most <= SECOND / 4, "{most:?}");
            assert!(one.falls.iter().all(|fall| fall.at < SECOND * 30));
            assert!(one.falls.is_sorted_by_key(|fall| fall.at));
        }
        let numbers: BTreeSet<usize> = all.iter().map(|one| one.falls.len()).collect();
        assert_eq!(numbers, CHANGES.iter().map(|times| *times as usize).collect());
        let by_machine = |one: &&Priorities| one.order[0].from == one.order[1].from;
        assert!(all.iter().filter(by_machine).count() > all.len() / 3, "some by machine");
        assert_eq!(drawn(1, 1), None, "one machine has no links");
    }

    #[test]
    fn a_link_that_falls_is_the_slowest_and_the_others_keep_their_order() {
        let link = |from, to| Link { from: MemberId(from), to: MemberId(to) };
        let falls = vec![Fall { at: SECOND, link: link(1, 2) }];
        let order = vec![link(1, 2), link(2, 1), link(1, 3)];
        let mut one = Priorities { step: Duration::from_millis(10), order, falls };
        let delay = |falls: usize, from: u64, to: u64| {
            let place = |id| Place::Member(MemberId(id));
            let links = one.links(falls);
            let found = links.iter().find(|(a, b, _)| (*a, *b) == (place(from), place(to)));
            found.map_or(0, |(_, _, rule)| rule.extra_latency.as_millis())
        };
        assert_eq!([delay(0, 1, 2), delay(0, 2, 1), delay(0, 1, 3)], [0, 10, 20]);
        assert_eq!([delay(1, 1, 2), delay(1, 2, 1), delay(1, 1, 3)], [20, 0, 10]);
        assert_eq!(one.told(), "10ms for each place in 1>2 2>1 1>3; to the end fall 1>2 at 1s");
        one.among(|member| member.0 < 3);
        assert_eq!((one.order.len(), one.falls.len()), (2, 1));
    }
}
