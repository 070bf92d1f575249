//! Rule 5: what those are told who form a cluster through a discovery directory.

use super::{Wrong, who};
use crate::clients::JOIN_SIZE;
use crate::record::RunLog;
use crate::record::v2::{V2Asked, V2Heard, V2Record};
use crate::theatre::Registered;
use std::collections::BTreeMap;

pub(super) fn check(log: &RunLog) -> Result<(), Wrong> {
    let mut clusters: BTreeMap<u32, (&Registered, &V2Record)> = BTreeMap::new();
    for record in &log.v2 {
        let V2Asked::Join { token, id } = &record.asked else { continue };
        let wrong = |what: String| {
            let sentence = format!("client {}, which is {id} of token {token}, {what}", record.client);
            Err((sentence, Some(record.seen.ret), None))
        };
        let (cluster, is_in) = match &record.heard {
            V2Heard::Joined(cluster) => (cluster, true),
            V2Heard::Full(cluster) => (cluster, false),
            // The size was there before it looked: it had written it itself, or found it.
            V2Heard::Failed(why) => return wrong(format!("was refused: {why}")),
            _ => continue,
        };
        let ids: Vec<&str> = cluster.iter().map(|(id, _)| id.as_str()).collect();
        if ids.len() != JOIN_SIZE as usize {
            return wrong(format!("was told of a cluster of {ids:?}, where {JOIN_SIZE} were asked for"));
        }
        if ids.contains(&id.as_str()) != is_in {
            let is = if is_in { "in" } else { "not in" };
            return wrong(format!("was told that it is {is} the cluster of {ids:?}"));
        }
        let (first, before) = clusters.entry(*token).or_insert((cluster, record));
        if *first != cluster {
            return wrong(format!(
                "was told of a cluster of {cluster:?}, but {} of one of {first:?}",
                who(before)
            ));
        }
    }
    Ok(())
}
