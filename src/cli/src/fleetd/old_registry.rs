//! The original's registry in the store's v2 keys, over HTTP.

use seatrial_fleet::registry::v2::PREFIX;
use seatrial_fleet::registry::view::{Seen, View, ViewWrite};
use seatrial_fleet::run::{OldRegistry, ViewError};
use seatrial_types::v2::{V2Code, V2Compare, V2Node};
use seatrial_wire::{V2Client, V2ClientError, V2Delete, V2Get, V2Put, v2_key};
use seatrial_world::World;

pub(super) struct V2Registry<W: World>(pub(super) V2Client<W>);

impl<W: World> Clone for V2Registry<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

fn problem(error: &V2ClientError) -> ViewError {
    ViewError(error.to_string())
}

fn is(error: &V2ClientError, codes: &[V2Code]) -> bool {
    matches!(error, V2ClientError::Refused(refused) if codes.contains(&refused.code))
}

/// Files and empty directories of a listing, whatever their depth.
fn gather(node: &V2Node, view: &mut View) {
    let path = v2_key(&node.path).to_owned();
    match (&node.value, node.dir) {
        (_, true) if node.nodes.is_empty() => {
            view.empty.insert(path);
        }
        (_, true) => node.nodes.iter().for_each(|node| gather(node, view)),
        (value, false) => {
            let ttl_seconds = node.ttl_seconds.map(|left| u64::try_from(left).unwrap_or_default());
            let value = value.as_deref().unwrap_or_default().to_owned();
            view.files.insert(path, Seen { value, index: node.modified, ttl_seconds });
        }
    }
}

impl<W: World> OldRegistry for V2Registry<W> {
    async fn read(&self) -> Result<View, ViewError> {
        let how = V2Get { recursive: true, sorted: true, quorum: true };
        match self.0.get(PREFIX, how).await {
            Ok(told) => {
                let mut view = View { index: told.index, ..View::default() };
                gather(&told.event.node, &mut view);
                Ok(view)
            }
            Err(V2ClientError::Refused(refused)) if refused.code == V2Code::KeyNotFound => {
                Ok(View { index: refused.index, ..View::default() })
            }
            Err(error) => Err(problem(&error)),
        }
    }

    async fn write(&self, write: &ViewWrite) -> Result<bool, ViewError> {
        let same = |index: u64| V2Compare { index, ..V2Compare::default() };
        let done = match write {
            ViewWrite::Put { path, value, ttl_seconds, prev } => {
                let how = match prev {
                    Some(index) => {
                        V2Put { prev: same(*index), ttl_seconds: *ttl_seconds, ..V2Put::default() }
                    }
                    None => V2Put { prev_exist: Some(false), ttl_seconds: *ttl_seconds, ..V2Put::default() },
                };
                self.0.set(path, value, &how).await
            }
            ViewWrite::Delete { path, prev } => self.0.compare_and_delete(path, same(*prev)).await,
            ViewWrite::DeleteEmpty { path } => {
                self.0.delete(path, &V2Delete { dir: true, ..V2Delete::default() }).await
            }
        };
        // Each of these says that somebody was faster.
        let races =
            [V2Code::KeyNotFound, V2Code::CompareFailed, V2Code::KeyExists, V2Code::DirectoryNotEmpty];
        match done {
            Ok(_) => Ok(true),
            Err(error) if is(&error, &races) => Ok(false),
            Err(error) => Err(problem(&error)),
        }
    }

    async fn changed(&self, after: u64) -> Result<(), ViewError> {
        match self.0.watch(PREFIX, true, after + 1).await {
            Ok(_) => Ok(()),
            Err(error) if is(&error, &[V2Code::EventIndexCleared]) => Ok(()),
            Err(error) => Err(problem(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_becomes_files_with_index_and_time_and_directories_that_are_empty() {
        let node = |path: &str, value: Option<&str>, nodes: Vec<V2Node>| V2Node {
            path: format!("/1{PREFIX}{path}"),
            dir: value.is_none(),
            value: value.map(Into::into),
            nodes,
            modified: 7,
            ttl_seconds: value.map(|_| 5),
            ..V2Node::default()
        };
        let job = node("/job", None, vec![node("/job/a", None, vec![]), node("/job/b", Some("x"), vec![])]);
        let mut view = View::default();
        gather(&node("", None, vec![job]), &mut view);
        assert_eq!(view.empty, [format!("{PREFIX}/job/a")].into());
        let seen = Seen { value: "x".into(), index: 7, ttl_seconds: Some(5) };
        assert_eq!(view.files, [(format!("{PREFIX}/job/b"), seen)].into());
    }
}
