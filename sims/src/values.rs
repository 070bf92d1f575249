//! Damage that no checksum shows: a value in a member's store is another, and so is the checksum of its row.

use crate::member::Roster;
use seatrial_node::RedbOptions;
use seatrial_scenario::observation::Observation;
use seatrial_store::{Backend, Commit, RedbBackend, Table, View};
use seatrial_types::{MemberId, Revision};
use seatrial_world::{Disk, World};
use seatrial_world_sim::SimWorld;
use std::ops::Bound;

/// What is done to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A value becomes another.
    Damage,
    /// And is again what it was.
    Repair,
}

/// Keys whose values may be damaged; nobody reads them.
const BAIT: &[u8] = b"bait/";
/// What a row begins with: its checksum, its kind, two revisions and a lease; then the length of the key, and the key.
const KEY_LENGTH_AT: usize = 4 + 1 + 8 + 8 + 8;

/// Does what is planned for this member's store, which no process has open. What was done, where anything was.
pub(crate) fn operate(
    world: &SimWorld,
    folder: &str,
    redb: &RedbOptions,
    roster: &Roster,
    member: MemberId,
) -> Option<Observation> {
    let operation = roster.operation(member)?;
    operate_on(world.disk(folder).ok()?, redb, operation)
}

/// Does it to the store on a disk, which no process has open. What was done, where anything was.
pub fn operate_on<D: Disk>(disk: D, redb: &RedbOptions, operation: Operation) -> Option<Observation> {
    // A store that cannot be opened is the member's to report.
    let (mut backend, mut committer) = RedbBackend::open(disk, redb.clone()).ok()?;
    let rows = backend.scan(Table::Kv, Bound::Unbounded, Bound::Unbounded, usize::MAX).ok()?;
    let (row, value) = rows.iter().find(|(_, value)| key_of(value).starts_with(BAIT))?;
    let mut other = value.to_vec();
    // The last byte of the row is one of the value; turned twice it is what it was.
    *other.last_mut()? ^= 1;
    let crc = crc32c::crc32c_append(crc32c::crc32c(row), &other[4..]);
    other[..4].copy_from_slice(&crc.to_le_bytes());
    backend.put(Table::Kv, row.clone(), other.into());
    committer.commit(&backend.seal()?).ok()?;
    Some(match operation {
        Operation::Damage => {
            let main = row[..8].try_into().expect("a row is named by its revision");
            Observation::Damaged { revision: Revision(i64::from_be_bytes(main)) }
        }
        Operation::Repair => Observation::Repaired,
    })
}

fn key_of(row: &[u8]) -> &[u8] {
    let Some(length) = row.get(KEY_LENGTH_AT..KEY_LENGTH_AT + 4) else { return &[] };
    let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
    row.get(KEY_LENGTH_AT + 4..KEY_LENGTH_AT + 4 + length).unwrap_or_default()
}
