//! As much of DNS as it takes to ask for SRV records (RFC 1035, RFC 2782): bytes in, values out.

/// Longest name, in its text form.
const NAME_MAX: usize = 253;

/// A name in a message may refer to an earlier place so often.
const JUMPS_MAX: usize = 16;

/// Most records that are read of one answer.
const RECORDS_MAX: usize = 256;

const SRV: u16 = 33;
const IN: u16 = 1;

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    /// The lowest is asked first.
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) target: String,
    pub(super) port: u16,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It did not fit; it is to be asked for over a stream.
    Truncated,
    /// There is no such name.
    NoSuchName,
    Found(Vec<Service>),
}

/// A question for the SRV records of a name.
pub(super) fn question(id: u16, name: &str) -> Result<Vec<u8>, String> {
    let name = name.trim_end_matches('.');
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(format!("{name:?} is no name of a domain"));
    }
    let mut bytes = Vec::new();
    // Recursion is desired; one question.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.split('.') {
        let length =
            u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length) && label.is_ascii());
        bytes.push(length.ok_or_else(|| format!("{name:?} is no name of a domain"))?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&SRV.to_be_bytes());
    bytes.extend_from_slice(&IN.to_be_bytes());
    Ok(bytes)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    /// A name, which may go on at an earlier place.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut at = self.at;
        let mut behind = None;
        for _ in 0..JUMPS_MAX {
            loop {
                let length = *self.bytes.get(at)?;
                match length {
                    0 => {
                        self.at = behind.unwrap_or(at + 1);
                        return Some(name);
                    }
                    1..=63 => {
                        let label = self.bytes.get(at + 1..at + 1 + usize::from(length))?;
                        let label = std::str::from_utf8(label).ok().filter(|label| label.is_ascii())?;
                        if !name.is_empty() {
                            name.push('.');
                        }
                        name.push_str(label);
                        if name.len() > NAME_MAX {
                            return None;
                        }
                        at += 1 + usize::from(length);
                    }
                    0xc0.. => {
                        let low = *self.bytes.get(at + 1)?;
                        behind.get_or_insert(at + 2);
                        at = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                        break;
                    }
                    _ => return None,
                }
            }
        }
        None
    }
}

/// What an answer to the question with this number says; `None` where it is none.
pub(super) fn reply(id: u16, bytes: &[u8]) -> Option<Reply> {
    let mut reader = Reader { bytes, at: 0 };
    let (number, flags, questions, answers) = (reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    let is_answer = flags & 0x8000 != 0;
    if number != id || !is_answer || questions > 1 {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Reply::Truncated);
    }
    match flags & 0xf {
        0 => {}
        3 => return Some(Reply::NoSuchName),
        _ => return None,
    }
    for _ in 0..questions {
        reader.name()?;
        reader.skip(4)?;
    }
    let mut found = Vec::new();
    for _ in 0..usize::from(answers).min(RECORDS_MAX) {
        reader.name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        reader.skip(4)?;
        let length = usize::from(reader.u16()?);
        let end = reader.at.checked_add(length).filter(|end| *end <= bytes.len())?;
        if (kind, class) == (SRV, IN) {
            let (priority, weight, port) = (reader.u16()?, reader.u16()?, reader.u16()?);
            let target = reader.name()?;
            if reader.at != end {
                return None;
            }
            // The root as a target says that there is no such service (RFC 2782).
            if !target.is_empty() {
                found.push(Service { priority, weight, target, port });
            }
        }
        reader.at = end;
    }
    found.sort();
    Some(Reply::Found(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with these records, whose names refer to the question's.
    fn answer(id: u16, name: &str, services: &[(u16, &str)]) -> Vec<u8> {
        let mut bytes = question(id, name).unwrap();
        bytes[2..4].copy_from_slice(&0x8180_u16.to_be_bytes());
        bytes[7] = u8::try_from(services.len()).unwrap();
        for (port, label) in services {
            bytes.extend_from_slice(&[0xc0, 12]);
            bytes.extend_from_slice(&[0, 33, 0, 1, 0, 0, 0, 60]);
            let length = u16::try_from(6 + 1 + label.len() + 2).unwrap();
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&[0, 1, 0, 2]);
            bytes.extend_from_slice(&port.to_be_bytes());
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label.as_bytes());
            bytes.extend_from_slice(&[0xc0, 12]);
        }
        bytes
    }

    #[test]
    fn records_are_read_though_their_names_refer_to_others() {
        let bytes = answer(7, "a.example", &[(2380, "m1"), (2381, "m2")]);
        let Some(Reply::Found(found)) = reply(7, &bytes) else { panic!("{:?}", reply(7, &bytes)) };
        let places: Vec<_> = found.iter().map(|service| (service.target.as_str(), service.port)).collect();
        assert_eq!(places, [("m1.a.example", 2380), ("m2.a.example", 2381)]);
        assert_eq!(reply(8, &bytes), None, "of another question");
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_go_in_circles() {
        let whole = answer(7, "a.example", &[(1, "m1"), (2, "m2")]);
        for at in 0..whole.len() {
            assert!(!matches!(reply(7, &whole[..at]), Some(Reply::Found(found)) if found.len() == 2));
            for value in [0, 1, 12, 63, 64, 0xbf, 0xc0, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = reply(7, &bytes);
            }
        }
        // A name that refers to itself.
        let mut circle = whole[..12].to_vec();
        circle[7] = 0;
        circle.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1]);
        assert_eq!(reply(7, &circle), None);
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_told_apart() {
        let mut bytes = answer(7, "a.example", &[]);
        bytes[2] |= 2;
        assert_eq!(reply(7, &bytes), Some(Reply::Truncated));
        let mut bytes = answer(7, "a.example", &[]);
        bytes[3] |= 3;
        assert_eq!(reply(7, &bytes), Some(Reply::NoSuchName));
        assert!(question(1, "").is_err());
        assert!(question(1, &"a".repeat(64)).is_err());
        assert!(question(1, "a..b").is_err());
    }
}
