//! Counting the keys of a range: now, which the index knows, and one revision ago, for which it must be walked.
//!
//! What counts is the ratio of both and how each grows with the number of keys, not the times themselves.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use seatrial_store::{Command, HubOptions, MemBackend, Store};
use seatrial_types::request::{PutRequest, RangeRequest};
use seatrial_types::{KeyRange, LogIndex, Revision, Term};
use std::hint::black_box;
use std::time::Duration;

fn store(keys: u64) -> Store<MemBackend> {
    let mut store = Store::open(MemBackend::new(), HubOptions::default()).expect("memory does not fail");
    // One more, so that there is an older revision to count at.
    for number in 0..=keys {
        let request = PutRequest {
            key: Bytes::from(format!("/registry/pods/{:08x}", number.wrapping_mul(0x9e37_79b1) as u32)),
            ..PutRequest::default()
        };
        store
            .apply(LogIndex(number + 1), Term(1), &Command::Put(request), Duration::ZERO)
            .expect("memory does not fail");
        // Nobody makes the batches durable here: they would only take memory.
        if let Some(batch) = store.seal() {
            store.committed(batch.id).expect("memory does not fail");
        }
    }
    store
}

fn count(c: &mut Criterion) {
    let mut group = c.benchmark_group("count");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for keys in [1_000_u64, 10_000, 100_000, 1_000_000] {
        let store = store(keys);
        let newest = store.revision();
        for (name, revision) in [("now", newest), ("walked", Revision(newest.0 - 1))] {
            let request = RangeRequest {
                range: KeyRange::prefix(Bytes::from_static(b"/registry/pods/")),
                revision,
                count_only: true,
                ..RangeRequest::default()
            };
            let counted = store.range(&request).expect("the revision is there").count;
            assert_eq!(counted, keys as i64 + i64::from(revision == newest));
            group.bench_with_input(BenchmarkId::new(name, keys), &request, |b, request| {
                b.iter(|| black_box(store.range(request)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, count);
criterion_main!(benches);
