//! The planted bugs of the log do what they say. One test: the switches are process-wide.
#![cfg(feature = "mutants")]

mod support;

use seatrial_store::wal::{Record, WAL_DIR, Wal, WalError, WalOptions};
use seatrial_types::planted::{Planted, plant};
use seatrial_types::{ClusterId, LogIndex, MemberId, Term};
use support::FaultDisk;

fn log() -> (FaultDisk, WalOptions) {
    let options = WalOptions { segment_bytes: 4096, ..WalOptions::new(ClusterId(7), MemberId(1)) };
    let disk = FaultDisk::new();
    let (mut wal, _) = Wal::open(disk.clone(), options).unwrap();
    for index in 1..=5 {
        let payload = vec![7; 100].into();
        wal.append(&[Record::Entry { index: LogIndex(index), term: Term(1), payload }]).unwrap();
        wal.sync().unwrap();
    }
    (disk, options)
}

#[test]
fn the_planted_bugs_refuse_a_torn_tail_and_cut_the_middle_in_silence() {
    let flip = |disk: &FaultDisk, from_end: usize| {
        let path = disk.files(WAL_DIR)[0].clone();
        let used = disk.content(&path).iter().rposition(|byte| *byte != 0).unwrap();
        disk.corrupt(&path, |bytes| bytes[used - from_end] ^= 1);
    };
    plant(&[Planted::D01]);
    let (disk, options) = log();
    flip(&disk, 10);
    assert!(matches!(Wal::open(disk, options), Err(WalError::BadRecord { .. })));

    plant(&[Planted::D02]);
    let (disk, options) = log();
    flip(&disk, 500);
    let (_, recovered) = Wal::open(disk, options).unwrap();
    assert!(recovered.last_index() < LogIndex(5));
    assert_eq!((recovered.lost_up_to, recovered.report.len()), (None, 0));
    plant(&[]);
}
