//! Messages without their schema, as lines of field numbers and values: enough to compare them.

use std::fmt::Write;

/// A message and those inside it. The header's numbers of cluster, member and term are left out.
pub(crate) fn show(message: &[u8]) -> String {
    // Several messages may follow each other; as fields they are one.
    let mut out = String::new();
    match (header(message), fields(message)) {
        // Of leases the real one prints nothing but the header.
        (Some(revision), _) => _ = writeln!(out, "header at {revision}"),
        (None, Some(fields)) => write(&mut out, "", &fields),
        (None, None) => _ = writeln!(out, "no message: {message:?}"),
    }
    out
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(value)
            }
            _ => return None,
        };
        fields.push((tag >> 3, value));
    }
    Some(fields)
}

fn write(out: &mut String, path: &str, message: &[(u64, Value<'_>)]) {
    for (number, value) in message {
        match value {
            Value::Number(value) => _ = writeln!(out, "{path}{number}: {value}"),
            Value::Bytes(bytes) => match (header(bytes), fields(bytes)) {
                (Some(revision), _) => _ = writeln!(out, "{path}{number}: header at {revision}"),
                // Text that could be a message is shown as one, which tells it apart as well.
                (None, Some(inner)) if inner.len() > 1 => write(out, &format!("{path}{number}."), &inner),
                _ => _ = writeln!(out, "{path}{number}: {:?}", String::from_utf8_lossy(bytes)),
            },
        }
    }
}

/// The revision, where this is a header: numbers of cluster and member come first in it.
fn header(bytes: &[u8]) -> Option<u64> {
    let fields = fields(bytes)?;
    match fields.as_slice() {
        [
            (1, Value::Number(0x1_0000..)),
            (2, Value::Number(0x1_0000..)),
            (3, Value::Number(revision)),
            ..,
        ] => Some(*revision),
        [(1, Value::Number(0x1_0000..)), (2, Value::Number(0x1_0000..)), (4, Value::Number(_))] => Some(0),
        _ => None,
    }
}
