//! What one put and one range of a thousand keys cost the state machine, and how both grow with the number of keys.
//!
//! In memory, so that it is the index and the records which are measured and not a disk.

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use seatrial_store::{Command, HubOptions, MemBackend, Store};
use seatrial_types::request::{PutRequest, RangeRequest};
use seatrial_types::{KeyRange, LogIndex, Term};
use std::hint::black_box;
use std::time::Duration;

fn key(number: u64) -> Bytes {
    Bytes::from(format!("/load/{number:012}"))
}

fn put(store: &mut Store<MemBackend>, number: u64) {
    let request = PutRequest { key: key(number), value: vec![b'v'; 256].into(), ..PutRequest::default() };
    let index = LogIndex(store.applied().0 + 1);
    store.apply(index, Term(1), &Command::Put(request), Duration::ZERO).expect("memory does not fail");
    // Nobody makes the batches durable here: they would only take memory.
    if let Some(batch) = store.seal() {
        store.committed(batch.id).expect("memory does not fail");
    }
}

fn store(keys: u64) -> Store<MemBackend> {
    let mut store = Store::open(MemBackend::new(), HubOptions::default()).expect("memory does not fail");
    for number in 0..keys {
        put(&mut store, number);
    }
    store
}

fn keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("keys");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for keys in [10_000_u64, 100_000] {
        let mut store = store(keys);
        let request = RangeRequest {
            range: KeyRange { key: key(keys / 2), end: key(keys / 2 + 1000) },
            ..RangeRequest::default()
        };
        assert_eq!(store.range(&request).expect("the revision is there").kvs.len(), 1000);
        group.bench_with_input(BenchmarkId::new("range of 1000", keys), &request, |b, request| {
            b.iter(|| black_box(store.range(request)));
        });
        group.bench_function(BenchmarkId::new("the same, given away", keys), |b| {
            let reading = store.reading(&request, 100).expect("a thousand keys are more than a hundred");
            b.iter_batched(|| reading.clone(), |reading| black_box(reading.finish()), BatchSize::SmallInput);
        });
        let mut number = 0;
        group.bench_function(BenchmarkId::new("put over another", keys), |b| {
            b.iter(|| {
                number = (number + 7919) % keys;
                put(&mut store, number);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, keys);
criterion_main!(benches);
