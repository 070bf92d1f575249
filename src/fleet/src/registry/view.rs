//! The registry of the original (`/_coreos.com/fleet/` in the v2 keys) kept in step with ours, as one function from both
//! sides to what is to be written on each.
//!
//! For units the two sides are merged over a third: what both had when they last agreed ([`Base`]). What has changed in the
//! v2 keys since is an order of an old client and is taken over; everything else there is written as ours says. The base
//! lies in our store and is written *before* the v2 keys: whoever leads next then tells what a leader wrote that died half
//! way from what a client ordered.

use super::records::LeaderRecord;
use super::v2::{self, PREFIX};
use super::write::Write;
use crate::model::{Cluster, JobState, Unit};
use crate::unit::{MachineId, UnitFile, UnitName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How long what has a time to live in the original lives after the last write. It is written anew when half of it is over.
pub const TTL_SECONDS: u64 = 60;

/// A file of the v2 keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Its value.
    pub value: String,
    /// Its `modifiedIndex`.
    pub index: u64,
    /// What is left of its time.
    pub ttl_seconds: Option<u64>,
}

/// The v2 keys below [`PREFIX`], by their whole paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct View {
    /// Files.
    pub files: BTreeMap<String, Seen>,
    /// Directories with nothing in them.
    pub empty: BTreeSet<String>,
    /// How far the v2 store was.
    pub index: u64,
}

/// What a client orders of a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Order {
    /// The hash of its file, in hexadecimal digits.
    pub hash: String,
    /// What it is meant to be.
    pub desired: JobState,
}

/// What the v2 keys say of a unit where no client has changed it there: what both sides last agreed on and, while a leader
/// writes, what it writes. `None` is that there is no such unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Base {
    /// One of these.
    #[serde(rename = "oneOf")]
    pub one_of: BTreeSet<Option<Order>>,
}

impl Base {
    fn of(orders: impl IntoIterator<Item = Option<Order>>) -> Self {
        Self { one_of: orders.into_iter().collect() }
    }

    /// Of a unit that neither side knows; such a base is not kept.
    #[must_use]
    pub fn nothing() -> Self {
        Self::of([None])
    }

    /// Whether this is what no client has changed. File and state lie in two keys: a leader that died between them leaves
    /// one of what it found and one of what it wrote, or a file without a state.
    fn allows(&self, order: &Option<Order>) -> bool {
        let Some(order) = order else { return self.one_of.contains(&None) };
        let mut known = self.one_of.iter().flatten();
        let is_without_state = order.desired == JobState::Inactive && self.one_of.contains(&None);
        known.clone().any(|known| known.hash == order.hash)
            && (is_without_state || known.any(|known| known.desired == order.desired))
    }
}

/// Everything that a pass looks at.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// Ours.
    pub cluster: &'a Cluster,
    /// Who leads.
    pub leader: &'a LeaderRecord,
    /// By unit; [`Base::nothing`] where there is none. As of the same revision as the cluster.
    pub bases: &'a BTreeMap<UnitName, Base>,
    /// The original's.
    pub view: &'a View,
}

/// A change of the v2 keys. It holds only where nobody has changed the key since it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ViewWrite {
    /// Write a file.
    Put {
        /// Where.
        path: String,
        /// What.
        value: String,
        /// Its time to live.
        ttl_seconds: Option<u64>,
        /// The index it has; `None`: it is not there.
        prev: Option<u64>,
    },
    /// Delete a file.
    Delete {
        /// Which.
        path: String,
        /// The index it has.
        prev: u64,
    },
    /// Delete a directory if it is empty.
    DeleteEmpty {
        /// Which.
        path: String,
    },
}

/// An old client's order, taken over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    /// Of which unit.
    pub name: UnitName,
    /// What comes of it.
    pub write: Write,
    /// What both sides then agree on; to be written in the same transaction.
    pub base: Base,
}

/// What a pass comes to, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pass {
    /// For our store.
    pub taken: Vec<Taken>,
    /// For our store too, before anything is written to the v2 keys.
    pub bases: BTreeMap<UnitName, Base>,
    /// For the v2 keys.
    pub writes: Vec<ViewWrite>,
}

/// What the v2 keys say of a unit; `Err` where that cannot be read.
type Theirs = Result<Option<(Order, UnitFile)>, ()>;

fn path(rest: &str) -> String {
    format!("{PREFIX}/{rest}")
}

fn value<'a>(view: &'a View, rest: &str) -> Option<&'a str> {
    view.files.get(&path(rest)).map(|seen| seen.value.as_str())
}

fn theirs(name: &UnitName, view: &View, is_known: bool) -> Theirs {
    let Some(object) = value(view, &format!("job/{name}/object")) else { return Ok(None) };
    let hash = v2::job_hash(object).map_err(drop)?;
    let raw = value(view, &format!("unit/{hash}")).ok_or(())?;
    let (_, file) = v2::read_file(&hash.to_string(), raw).map_err(drop)?;
    let desired = match value(view, &format!("job/{name}/target-state")) {
        // What a known unit was before is known; a new one begins as one of which nothing is said.
        Some(state) => match state.parse() {
            Ok(state) => state,
            Err(_) if is_known => return Err(()),
            Err(_) => JobState::Inactive,
        },
        None => JobState::Inactive,
    };
    // A template itself runs nowhere, whatever the original lets its clients write.
    let desired = if name.is_template() { JobState::Inactive } else { desired };
    Ok(Some((Order { hash: file.hash().to_string(), desired }, file)))
}

fn ours(unit: &Unit) -> Order {
    Order { hash: unit.hash.to_string(), desired: unit.desired }
}

/// What there is to do with one unit.
enum Merged {
    /// Its v2 keys are to say what ours say; with this base.
    Push(Base),
    /// Ours is to be what an old client ordered.
    Take(Write, Base),
    /// A client may be in the middle of something: look again later.
    Leave,
}

fn merge(name: &UnitName, ours: Option<Order>, theirs: Theirs, base: &Base, is_new: bool) -> Merged {
    let Ok(theirs) = theirs else {
        return match ours {
            None if *base == Base::nothing() => Merged::Leave,
            ours => Merged::Push(Base::of(base.one_of.iter().cloned().chain([ours]))),
        };
    };
    let (order, file) = theirs.unzip();
    let is_untouched = base.allows(&order);
    // A view that was never complete has lost nothing, and a unit that was changed here meanwhile is not taken away there.
    let is_no_removal = order.is_none() && (is_new || !base.allows(&ours));
    if order == ours || is_untouched || is_no_removal {
        return Merged::Push(Base::of([order, ours]));
    }
    let write = match (&order, file) {
        (Some(order), Some(file)) if ours.as_ref().is_none_or(|ours| ours.hash != order.hash) => {
            Write::PutUnit { name: name.clone(), file, desired: Some(order.desired) }
        }
        (Some(order), _) => Write::SetDesired { name: name.clone(), desired: order.desired },
        (None, _) => Write::Destroy { name: name.clone() },
    };
    Merged::Take(write, Base::of([order]))
}

/// The unit whose job a key belongs to.
fn job_of(path: &str) -> Option<UnitName> {
    let (name, _) = path.strip_prefix(PREFIX)?.strip_prefix("/job/")?.split_once('/')?;
    UnitName::parse(name).ok()
}

/// Whether a key that we would not write is to go: what clients would take for a unit, a machine or a state. A unit's file
/// stays, as in the original: a client writes it before the unit that refers to it.
fn is_left_over(path: &str) -> bool {
    let Some(rest) = path.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('/')) else { return false };
    match rest.split('/').collect::<Vec<_>>().as_slice() {
        ["job", name, "object" | "target-state" | "target" | "job-state"] => UnitName::parse(name).is_ok(),
        ["machines", id, "object"] | ["machines", id, "metadata", _] => MachineId::parse(id).is_ok(),
        ["state", _] | ["states", _, _] => true,
        _ => false,
    }
}

fn is_left_over_directory(path: &str) -> bool {
    let Some(rest) = path.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('/')) else { return false };
    matches!(
        rest.split('/').collect::<Vec<_>>().as_slice(),
        ["job" | "states" | "machines", _] | ["machines", _, "metadata"]
    )
}

/// Files of units first, for jobs refer to them; the sign that the view is whole last.
fn rank(path: &str) -> u8 {
    match path.strip_prefix(PREFIX) {
        Some(rest) if rest.starts_with("/unit/") => 0,
        Some("/engine/version") => 2,
        _ => 1,
    }
}

/// What is to be written where, so that both sides agree. Same sides, same answer.
#[must_use]
pub fn reconcile(sides: &Sides<'_>) -> Pass {
    let Sides { cluster, leader, bases, view } = *sides;
    let mut pass = Pass::default();
    let is_new = !view.files.contains_key(&path("engine/version"));
    let in_view = view.files.keys().filter_map(|path| job_of(path));
    let names: BTreeSet<UnitName> =
        in_view.chain(cluster.units.keys().chain(bases.keys()).cloned()).collect();
    let mut passed_over = BTreeSet::new();
    let nothing = Base::nothing();
    for name in names {
        let known = bases.get(&name).unwrap_or(&nothing);
        let ours = cluster.units.get(&name).map(ours);
        let is_known = ours.is_some() || *known != nothing;
        match merge(&name, ours, theirs(&name, view, is_known), known, is_new) {
            Merged::Push(base) => {
                if base != *known {
                    pass.bases.insert(name, base);
                }
            }
            Merged::Take(write, base) => {
                passed_over.insert(name.clone());
                pass.taken.push(Taken { name, write, base });
            }
            Merged::Leave => {
                passed_over.insert(name);
            }
        }
    }
    let is_passed_over = |path: &str| job_of(path).is_some_and(|name| passed_over.contains(&name));
    let wanted = v2::encode(cluster, Some(leader));
    for (path, node) in wanted.iter().filter(|(path, _)| !is_passed_over(path)) {
        let seen = view.files.get(path);
        let is_fine = seen.is_some_and(|seen| {
            let is_in_time = match seen.ttl_seconds {
                Some(left) => node.has_ttl && left >= TTL_SECONDS / 2,
                None => !node.has_ttl,
            };
            seen.value == node.value && is_in_time
        });
        if !is_fine {
            pass.writes.push(ViewWrite::Put {
                path: path.clone(),
                value: node.value.clone(),
                ttl_seconds: node.has_ttl.then_some(TTL_SECONDS),
                prev: seen.map(|seen| seen.index),
            });
        }
    }
    pass.writes.sort_by_key(|write| match write {
        ViewWrite::Put { path, .. } => rank(path),
        ViewWrite::Delete { .. } | ViewWrite::DeleteEmpty { .. } => 1,
    });
    for (path, seen) in &view.files {
        if !wanted.contains_key(path) && is_left_over(path) && !is_passed_over(path) {
            pass.writes.push(ViewWrite::Delete { path: path.clone(), prev: seen.index });
        }
    }
    let is_wanted = |dir: &str| {
        let below = format!("{dir}/");
        wanted.range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below))
    };
    for path in view.empty.iter().filter(|path| is_left_over_directory(path) && !is_wanted(path)) {
        pass.writes.push(ViewWrite::DeleteEmpty { path: path.clone() });
    }
    pass
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
