//! Writes every key once, so that reads find something and first writes are not counted as updates.

use crate::asks::{self, Shape};
use crate::channel;
use crate::drive::{Script, drive};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use prost::Message;
use seatrial_proto::etcdserverpb::TxnRequest;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// Keys of one transaction: no more than etcd takes in one.
const KEYS_MAX: u64 = 100;
/// Bytes of values in one transaction, well below what a server takes.
const BYTES_MAX: usize = 512 << 10;
/// Transactions under way on each connection.
const WRITERS: usize = 8;

struct Filling {
    next: Rc<Cell<u64>>,
    keys: u64,
    keys_each: u64,
    value: Bytes,
    body: Vec<u8>,
    refused: bool,
}

impl Script for Filling {
    fn next(&mut self, _: usize) -> Option<(usize, &[u8])> {
        let from = self.next.get();
        if from >= self.keys || self.refused {
            return None;
        }
        let to = (from + self.keys_each).min(self.keys);
        self.next.set(to);
        let puts = (from..to).map(|number| asks::operation(asks::put(number, self.value.clone())));
        let request = TxnRequest { success: puts.collect(), ..TxnRequest::default() };
        self.body.clear();
        request.encode(&mut self.body).expect("memory takes everything");
        Some((asks::TXN, &self.body))
    }

    fn answered(&mut self, _: usize, _: Instant, _: Instant, ok: bool) {
        self.refused |= !ok;
    }
}

/// Writes all keys of a shape.
///
/// # Errors
/// No connection, or a server that refuses.
pub fn fill(endpoints: &[String], shape: &Shape) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        ensure!(!endpoints.is_empty(), "no endpoint was given");
        let fits = (BYTES_MAX / shape.value_bytes.max(1)) as u64;
        let next = Rc::new(Cell::new(0));
        let mut writing = Vec::new();
        for endpoint in endpoints {
            let endpoint = endpoint.clone();
            let mut filling = Filling {
                next: Rc::clone(&next),
                keys: shape.keys,
                keys_each: fits.clamp(1, KEYS_MAX),
                value: Bytes::from(vec![b'0'; shape.value_bytes]),
                body: Vec::new(),
                refused: false,
            };
            writing.push(tokio::task::spawn_local(async move {
                drive(&endpoint, WRITERS, false, &mut filling).await?;
                if filling.refused {
                    // Asked in a way that hears the reason.
                    channel::put(&endpoint, 0, filling.value).await?;
                }
                ensure!(!filling.refused, "{endpoint} has refused a transaction of puts");
                Ok(())
            }));
        }
        for task in writing {
            task.await?.context("filling the store")?;
        }
        Ok(())
    })
}
