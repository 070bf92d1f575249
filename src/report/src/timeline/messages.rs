//! Messages between members. Arrows would hide the rest, so that the page draws them on demand, from the data made here.

use crate::cuts::{Cuts, Limits, choose, focus, how};
use crate::escape::shorten;
use crate::record::RunRecord;

/// What the page's script must know of messages.
#[derive(Default, serde::Serialize)]
pub(crate) struct Messages {
    /// Names of members.
    members: Vec<String>,
    /// Kinds of messages.
    kinds: Vec<String>,
    /// Sender, receiver and kind by their places above; when it was sent, in microseconds; how long it was on its way, or
    /// -1 where it never arrived; what it carried. Without names of fields, which would be most of the text.
    rows: Vec<(usize, usize, usize, u64, i64, String)>,
    /// How many there were.
    total: usize,
}

impl Messages {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn shown(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn members(&self) -> &[String] {
        &self.members
    }

    pub(crate) fn kinds(&self) -> &[String] {
        &self.kinds
    }
}

/// The place of a name in a list, which grows where it is new.
fn place(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

pub(super) fn choose_messages(record: &RunRecord, limits: Limits, cuts: &mut Cuts) -> Messages {
    let messages = &record.messages;
    let focus = focus(record);
    let chosen = choose(messages.len(), limits.messages, focus, |place| messages[place].sent, |_| false);
    let total = usize::try_from(record.messages_total).unwrap_or(usize::MAX).max(messages.len());
    cuts.note(chosen.len(), total, "messages", how(focus));
    let mut out = Messages { total, ..Messages::default() };
    out.members = record.members.iter().map(|member| shorten(&member.name, 40)).collect();
    for message in chosen.into_iter().map(|place| &messages[place]) {
        let from = place(&mut out.members, &shorten(&message.from, 40));
        let to = place(&mut out.members, &shorten(&message.to, 40));
        let kind = place(&mut out.kinds, &shorten(&message.kind, 40));
        let sent = message.sent / 1_000;
        let way = message
            .delivered
            .map_or(-1, |at| i64::try_from((at / 1_000).saturating_sub(sent)).unwrap_or(i64::MAX));
        out.rows.push((from, to, kind, sent, way, shorten(&message.text, limits.text.min(120))));
    }
    out
}
