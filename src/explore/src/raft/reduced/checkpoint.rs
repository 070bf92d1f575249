//! A walk that is kept, to be gone on with later.
//!
//! Kept are the worlds, as numbers of their parts, and of the parts only what was worked out in which order: to work it out again gives
//! the same parts the same numbers. So no value of a core is ever written down, and a checkpoint that was made by another build of the
//! core is noticed.

use super::growth::Row;
use super::parts::{Missing, Parts};
use super::walk::{Broken, Search, Size, Walk, each_size};
use super::{Bounds, Reductions};
use std::io::{self, Read, Write};

const MAGIC: u32 = u32::from_le_bytes(*b"stx1");

/// Why a walk cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It could not be read.
    #[error("the checkpoint cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is no checkpoint of a walk\nhint: name a file that --checkpoint has written")]
    NoCheckpoint,
    /// What was worked out does not come out again.
    #[error(
        "the checkpoint was made by another build: {what} is {there} there and {here} here\nhint: begin anew, for what was seen \
         tells nothing of this build"
    )]
    OtherBuild {
        /// What differs.
        what: &'static str,
        /// As it was written.
        there: u64,
        /// As it is now.
        here: u64,
    },
}

impl Walk {
    /// Writes down how far it has come.
    pub fn save(&self, file: &mut dyn Write) -> io::Result<()> {
        each_size!(&self.0, search => search.save(file))
    }

    /// Goes on where [`Self::save`] was.
    pub fn resume(file: &mut dyn Read) -> Result<Self, ResumeError> {
        if number(file)? != MAGIC {
            return Err(ResumeError::NoCheckpoint);
        }
        let [members, terms, entries, crashes] = number(file)?.to_le_bytes();
        let [beats, reads, symmetry, order] = number(file)?.to_le_bytes();
        let bounds = Bounds { members, terms, entries, crashes, beats, reads };
        let cuts = Reductions { symmetry: symmetry != 0, order: order != 0 };
        Ok(Self(match members {
            2 => Size::Two(Box::new(Search::restore(bounds, cuts, file)?)),
            3 => Size::Three(Box::new(Search::restore(bounds, cuts, file)?)),
            4 => Size::Four(Box::new(Search::restore(bounds, cuts, file)?)),
            _ => return Err(ResumeError::NoCheckpoint),
        }))
    }

    /// How large the world is.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        each_size!(&self.0, search => search.parts.bounds)
    }
}

impl<const N: usize> Search<N> {
    fn save(&self, file: &mut dyn Write) -> io::Result<()> {
        let (bounds, cuts) = (self.parts.bounds, self.parts.cuts);
        let Bounds { members, terms, entries, crashes, beats, reads } = bounds;
        put(file, MAGIC)?;
        put(file, u32::from_le_bytes([members, terms, entries, crashes]))?;
        put(file, u32::from_le_bytes([beats, reads, cuts.symmetry.into(), cuts.order.into()]))?;
        put_long(file, self.level_end as u64)?;
        put_long(file, self.done as u64)?;
        put_long(file, self.steps as u64)?;
        put_long(file, self.rows.len() as u64)?;
        for count in self.rows.iter().flat_map(|row| row.counts) {
            put(file, count)?;
        }
        // What was wrong is met again by the step that led there.
        put_long(file, self.parts.log.len() as u64)?;
        for missing in &self.parts.log {
            for part in written(*missing) {
                put(file, part)?;
            }
        }
        put_long(file, digest(&self.parts))?;
        put_long(file, self.states.len() as u64)?;
        for (state, from) in self.states.iter().zip(&self.from) {
            for part in state {
                put(file, *part)?;
            }
            put(file, *from)?;
        }
        let broken =
            self.broken.map_or([u32::MAX; 2], |broken| [broken.from, broken.state.unwrap_or(u32::MAX)]);
        put(file, broken[0])?;
        put(file, broken[1])
    }

    fn restore(bounds: Bounds, cuts: Reductions, file: &mut dyn Read) -> Result<Self, ResumeError> {
        let mut search = Self::new(bounds, cuts);
        let begun = search.parts.log.len();
        search.level_end = count(file)?;
        search.done = count(file)?;
        search.steps = count(file)?;
        for _ in 0..count(file)? {
            let mut row = Row { counts: [0; 7] };
            for count in &mut row.counts {
                *count = number(file)?;
            }
            search.rows.push(row);
        }
        for at in 0..count(file)? {
            let missing = read(file)?;
            if at >= begun {
                search.parts.fill(missing);
            } else if search.parts.log[at] != missing {
                let (there, here) = (written(missing), written(search.parts.log[at]));
                let (there, here) = (there[0].into(), here[0].into());
                return Err(ResumeError::OtherBuild { what: "the first need", there, here });
            }
        }
        let (there, here) = (long(file)?, digest(&search.parts));
        if there != here {
            return Err(ResumeError::OtherBuild { what: "the digest of all parts", there, here });
        }
        let (worlds, begun) = (count(file)?, search.states.len());
        for at in 0..worlds {
            let mut state = [0; N];
            for part in &mut state {
                *part = number(file)?;
            }
            let from = number(file)?;
            if at >= begun {
                search.meet(state, from);
            }
        }
        let here = search.states.len() as u64;
        if worlds as u64 != here {
            return Err(ResumeError::OtherBuild { what: "the number of worlds", there: worlds as u64, here });
        }
        let (from, state) = (number(file)?, number(file)?);
        let state = (state != u32::MAX).then_some(state);
        search.broken = (from != u32::MAX).then_some(Broken { from, state });
        Ok(search)
    }
}

/// The values of all nodes and letters, in order.
fn digest(parts: &Parts) -> u64 {
    let nodes = parts.nodes.iter().map(crate::check::fingerprint);
    let letters = parts.letters.iter().map(crate::check::fingerprint);
    nodes.chain(letters).fold(0, |digest, hash| super::table::mix(digest ^ hash))
}

fn written(missing: Missing) -> [u32; 3] {
    match missing {
        Missing::Own(one, two) => [0, one, two],
        Missing::Pair(one, two) => [1, one, two],
        Missing::Renamed(one, two) => [2, one, two],
        Missing::RestRenamed(one, two) => [3, one, two],
        Missing::After(one, two) => [4, one, two],
        Missing::Judged(one, two) => [5, one, two],
    }
}

fn read(file: &mut dyn Read) -> Result<Missing, ResumeError> {
    let (what, one, two) = (number(file)?, number(file)?, number(file)?);
    Ok(match what {
        0 => Missing::Own(one, two),
        1 => Missing::Pair(one, two),
        2 => Missing::Renamed(one, two),
        3 => Missing::RestRenamed(one, two),
        4 => Missing::After(one, two),
        5 => Missing::Judged(one, two),
        _ => return Err(ResumeError::NoCheckpoint),
    })
}

fn put(file: &mut dyn Write, number: u32) -> io::Result<()> {
    file.write_all(&number.to_le_bytes())
}

fn put_long(file: &mut dyn Write, number: u64) -> io::Result<()> {
    file.write_all(&number.to_le_bytes())
}

fn number(file: &mut dyn Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn long(file: &mut dyn Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn count(file: &mut dyn Read) -> Result<usize, ResumeError> {
    usize::try_from(long(file)?).map_err(|_| ResumeError::NoCheckpoint)
}
