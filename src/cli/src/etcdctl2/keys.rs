//! The commands on files and directories.

use super::flags::Given;
use super::print::list;
use super::{Fail, Session};
use seatrial_types::v2::V2Compare;
use seatrial_wire::{V2ClientError, V2Delete, V2Get, V2Put, V2Told, v2_key};
use std::io::Read;

fn key(given: &Given) -> Result<String, Fail> {
    given.rest.first().cloned().ok_or_else(|| Fail::args("key required"))
}

fn ttl(given: &Given) -> Option<u64> {
    // What lives no time at all lives for ever, as in the real one.
    u64::try_from(given.number("ttl")).ok().filter(|ttl| *ttl > 0)
}

fn index(given: &Given, name: &str) -> u64 {
    // Go turns a negative number into a very large one, which matches nothing either.
    given.number(name).cast_unsigned()
}

fn told(answer: Result<V2Told, V2ClientError>) -> Result<V2Told, Fail> {
    answer.map_err(|error| Fail::server(&error))
}

impl Session<'_> {
    fn key_and_value(&mut self, given: &Given) -> Result<(String, String), Fail> {
        let key = key(given)?;
        if let Some(value) = given.rest.get(1) {
            return Ok((key, value.clone()));
        }
        let mut bytes = Vec::new();
        let _ = self.input.read_to_end(&mut bytes);
        if bytes.is_empty() {
            return Err(Fail::args("value required"));
        }
        Ok((key, String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(super) async fn mk(&mut self, given: &Given) -> Result<(), Fail> {
        let (key, value) = self.key_and_value(given)?;
        let client = self.client().await?;
        let answer = if given.switch("in-order") {
            client.create_in_order(&key, &value, ttl(given)).await
        } else {
            client.create(&key, &value, ttl(given)).await
        };
        self.print(&told(answer)?)
    }

    pub(super) async fn mkdir(&mut self, given: &Given) -> Result<(), Fail> {
        self.put_dir(given, Some(false)).await
    }

    pub(super) async fn setdir(&mut self, given: &Given) -> Result<(), Fail> {
        self.put_dir(given, None).await
    }

    pub(super) async fn updatedir(&mut self, given: &Given) -> Result<(), Fail> {
        self.put_dir(given, Some(true)).await
    }

    async fn put_dir(&mut self, given: &Given, prev_exist: Option<bool>) -> Result<(), Fail> {
        let key = key(given)?;
        let how = V2Put { dir: true, ttl_seconds: ttl(given), prev_exist, ..V2Put::default() };
        let answer = self.client().await?.set(&key, "", &how).await;
        self.print_dir(&told(answer)?)
    }

    pub(super) async fn set(&mut self, given: &Given) -> Result<(), Fail> {
        let (key, value) = self.key_and_value(given)?;
        let prev = V2Compare {
            value: given.text("swap-with-value").to_owned(),
            index: index(given, "swap-with-index"),
        };
        let how = V2Put { ttl_seconds: ttl(given), prev, ..V2Put::default() };
        let answer = self.client().await?.set(&key, &value, &how).await;
        self.print(&told(answer)?)
    }

    pub(super) async fn update(&mut self, given: &Given) -> Result<(), Fail> {
        let (key, value) = self.key_and_value(given)?;
        let answer = self.client().await?.update(&key, &value, ttl(given)).await;
        self.print(&told(answer)?)
    }

    pub(super) async fn rm(&mut self, given: &Given) -> Result<(), Fail> {
        let prev =
            V2Compare { value: given.text("with-value").to_owned(), index: index(given, "with-index") };
        let how = V2Delete { dir: given.switch("dir"), recursive: given.switch("recursive"), prev };
        self.delete(given, &how).await
    }

    pub(super) async fn rmdir(&mut self, given: &Given) -> Result<(), Fail> {
        self.delete(given, &V2Delete { dir: true, ..V2Delete::default() }).await
    }

    async fn delete(&mut self, given: &Given, how: &V2Delete) -> Result<(), Fail> {
        let key = key(given)?;
        let told = told(self.client().await?.delete(&key, how).await)?;
        if told.event.node.dir { self.print_dir(&told) } else { self.print(&told) }
    }

    pub(super) async fn get(&mut self, given: &Given) -> Result<(), Fail> {
        let key = key(given)?;
        let how = V2Get { recursive: false, sorted: given.switch("sort"), quorum: given.switch("quorum") };
        let told = told(self.client().await?.get(&key, how).await)?;
        if told.event.node.dir {
            return Err(Fail::plain(format!("{}: is a directory", v2_key(&told.event.node.path))));
        }
        self.print(&told)
    }

    pub(super) async fn ls(&mut self, given: &Given) -> Result<(), Fail> {
        let key = given.rest.first().map_or("/", String::as_str);
        let how = V2Get {
            recursive: given.switch("recursive"),
            sorted: given.switch("sort"),
            quorum: given.switch("quorum"),
        };
        let told = told(self.client().await?.get(key, how).await)?;
        if self.output() != "simple" {
            return self.print(&told);
        }
        let node = &told.event.node;
        let mut text = if node.dir { String::new() } else { format!("{}\n", v2_key(&node.path)) };
        list(node, given.switch("p"), &mut text);
        self.say(&text)
    }
}
