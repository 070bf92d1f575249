//! Whom a fault hits, and which links a partition cuts.

use crate::chance::Chance;
use crate::fault::Place;
use crate::format::spec::{Shape, Target};
use crate::plan::PlannedFault;
use seatrial_types::MemberId;

/// Who is who when a fault begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Who {
    pub(super) leader: Option<MemberId>,
    /// In what the fault has waited for.
    pub(super) involved: Option<MemberId>,
}

/// Whom a target means.
pub(super) fn whom(target: Target, order: &[MemberId], Who { leader, involved }: Who) -> Vec<MemberId> {
    let mut chosen = match target {
        Target::Involved => vec![involved.unwrap_or(order[0])],
        Target::Leader => vec![leader.unwrap_or(order[0])],
        Target::Follower => order.iter().copied().filter(|member| Some(*member) != leader).take(1).collect(),
        Target::Random => vec![order[0]],
        Target::All => order.to_vec(),
        Target::Majority => order[..order.len() / 2 + 1].to_vec(),
        Target::Minority => order[..(order.len() - 1) / 2].to_vec(),
        Target::Member(number) => vec![MemberId(number)],
    };
    chosen.sort_unstable();
    chosen
}

pub(super) struct Cut {
    pub(super) links: Vec<(Place, Place)>,
    pub(super) targets: Vec<MemberId>,
    pub(super) text: String,
}

/// The links a partition cuts.
pub(super) fn partition(fault: &PlannedFault, who: Who, clients: impl Iterator<Item = u32>) -> Cut {
    let order = &fault.order;
    let minority = ((order.len() - 1) / 2).max(1);
    let led_by = who.leader.unwrap_or(order[0]);
    let alone = |member: MemberId| vec![member];
    let side: Vec<MemberId> = match fault.options.shape {
        Shape::LeaderAlone => alone(led_by),
        Shape::FollowerAlone => {
            alone(*order.iter().find(|member| **member != led_by).expect("more than one member"))
        }
        Shape::LeaderMinority => {
            let others = order.iter().copied().filter(|member| *member != led_by);
            std::iter::once(led_by).chain(others).take(minority).collect()
        }
        Shape::MajorityMinority => order[..minority].to_vec(),
        Shape::OneWay => whom(fault.target, order, who),
        Shape::Bridge | Shape::Ring | Shape::Swizzle => Vec::new(),
    };
    let mut links = Vec::new();
    let mut both = |a: MemberId, b: MemberId| {
        links.push((Place::Member(a), Place::Member(b)));
        links.push((Place::Member(b), Place::Member(a)));
    };
    let rest: Vec<MemberId> = order.iter().copied().filter(|member| !side.contains(member)).collect();
    let mut text = format!("{} | {}", names(&side), names(&rest));
    let mut targets = side.clone();
    match fault.options.shape {
        Shape::LeaderAlone | Shape::FollowerAlone | Shape::LeaderMinority | Shape::MajorityMinority => {
            side.iter().for_each(|a| rest.iter().for_each(|b| both(*a, *b)));
        }
        Shape::OneWay => {
            for a in &side {
                for b in order.iter().filter(|b| *b != a) {
                    let (from, to) = if fault.coin { (a, b) } else { (b, a) };
                    links.push((Place::Member(*from), Place::Member(*to)));
                }
            }
            let verb =
                if fault.coin { "hears the others but is not heard" } else { "is heard but hears nobody" };
            text = format!("{} {verb}", names(&side));
        }
        Shape::Bridge => {
            let (middle, ends) = order.split_first().expect("members");
            let (a, b) = ends.split_at(ends.len() / 2);
            a.iter().for_each(|a| b.iter().for_each(|b| both(*a, *b)));
            text = format!("{} - {middle} - {}", names(a), names(b));
            targets = ends.to_vec();
        }
        Shape::Ring => {
            let n = order.len();
            for i in 0..n {
                for j in i + 1..n {
                    let neighbours = j - i == 1 || (n > 3 && i == 0 && j == n - 1);
                    if !neighbours {
                        both(order[i], order[j]);
                    }
                }
            }
            text = format!("a ring: {}", names(order));
            targets.clone_from(order);
        }
        // Its links are cut and healed one after the other, see [`Swizzle`].
        Shape::Swizzle => {
            let Swizzle { out, back } = Swizzle::of(fault);
            text = format!("cut off one after the other: {}; and back: {}", names(&out), names(&back));
            targets = out;
        }
    }
    if fault.options.clients_split && !side.is_empty() {
        for machine in clients {
            let far = if machine % 2 == 0 { &side } else { &rest };
            for member in far {
                links.push((Place::Client(machine), Place::Member(*member)));
                links.push((Place::Member(*member), Place::Client(machine)));
            }
        }
        text += "; each client sees one side";
    }
    targets.sort_unstable();
    Cut { links, targets, text }
}

/// Members are cut off from all others one after the other, and come back one after the other in another order
/// (FoundationDB's "swizzle-clogging").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Swizzle {
    /// Who goes, in order.
    pub(super) out: Vec<MemberId>,
    /// Who comes back, in order: the same members.
    pub(super) back: Vec<MemberId>,
}

impl Swizzle {
    /// As it was drawn: how many, and in which order they come back, lies in the fault's number, so that a plan tells it.
    pub(super) fn of(fault: &PlannedFault) -> Self {
        let mut chance = Chance::stream(u64::from(fault.place_permille), "swizzle");
        let count = 1 + chance.below(fault.order.len() as u64);
        let out = fault.order[..usize::try_from(count).expect("a few")].to_vec();
        let back = chance.shuffled(&out);
        Self { out, back }
    }

    /// Turns from the first cut to the last heal.
    pub(super) fn turns(&self) -> usize {
        self.out.len() * 2
    }

    /// Who is cut off once so many turns are done.
    pub(super) fn away(&self, turns: usize) -> Vec<MemberId> {
        let gone = &self.out[..turns.min(self.out.len())];
        let back = &self.back[..turns.saturating_sub(self.out.len()).min(self.back.len())];
        gone.iter().copied().filter(|member| !back.contains(member)).collect()
    }
}

pub(super) fn names(members: &[MemberId]) -> String {
    members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::script::usual_fault;
    use crate::format::spec::NemesisKind;

    fn ids(list: &[u64]) -> Vec<MemberId> {
        list.iter().copied().map(MemberId).collect()
    }

    #[test]
    fn targets_are_taken_from_the_drawn_order() {
        let order = ids(&[3, 1, 2, 5, 4]);
        let leader = Who { leader: Some(MemberId(3)), involved: Some(MemberId(5)) };
        let nobody = Who::default();
        assert_eq!(whom(Target::Leader, &order, leader), ids(&[3]));
        assert_eq!(whom(Target::Leader, &order, nobody), ids(&[3]), "nobody leads: the first drawn");
        assert_eq!(whom(Target::Follower, &order, leader), ids(&[1]));
        assert_eq!(whom(Target::Majority, &order, leader), ids(&[1, 2, 3]));
        assert_eq!(whom(Target::Minority, &order, leader), ids(&[1, 3]));
        assert_eq!(whom(Target::Involved, &order, leader), ids(&[5]));
        assert_eq!(whom(Target::Member(4), &order, leader), ids(&[4]));
    }

    #[test]
    fn who_swizzles_goes_one_by_one_and_comes_back_one_by_one() {
        let mut fault = usual_fault(NemesisKind::Partition, 5);
        fault.options.shape = Shape::Swizzle;
        let (mut sizes, mut otherwise) = (std::collections::BTreeSet::new(), 0);
        for number in 0..200 {
            fault.place_permille = number;
            let swizzle = Swizzle::of(&fault);
            assert_eq!(swizzle, Swizzle::of(&fault), "the number says all");
            sizes.insert(swizzle.out.len());
            otherwise += u32::from(swizzle.out != swizzle.back);
            let away: Vec<usize> = (0..=swizzle.turns()).map(|turns| swizzle.away(turns).len()).collect();
            let up = 0..=swizzle.out.len();
            let down = (0..swizzle.out.len()).rev();
            assert_eq!(away, up.chain(down).collect::<Vec<_>>(), "{swizzle:?}");
        }
        assert_eq!(sizes.len(), 5, "from one to all of them");
        assert!(otherwise > 100, "{otherwise} of 200 come back in another order");
    }
}
