//! Time zones by name, from the database that comes with the program.

use crate::error::RebootError;
use crate::wall::Wall;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::hash::{Hash, Hasher};

/// A time zone. The machine's own files are not asked, so that every machine and every simulation agrees.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Zone {
    /// Universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// The zone with this name, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// [`RebootError::Window`] where there is none.
    pub fn named(name: &str) -> Result<Self, RebootError> {
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Self::utc());
        }
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| RebootError::Window {
            given: name.to_owned(),
            why: "no time zone has this name".to_owned(),
            hint: "names are those of the IANA database, such as UTC or Europe/Berlin",
        })?;
        Ok(Self { name: name.to_owned(), zone })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a clock on the wall shows at this moment.
    pub(super) fn civil(&self, at: Wall) -> DateTime {
        let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
        let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        self.zone.to_datetime(at)
    }

    /// The moment at which a clock on the wall shows this. What it skips is as much later as it skips; of what it shows twice
    /// it is the first.
    pub(super) fn moment(&self, civil: DateTime) -> Option<Wall> {
        let at = self.zone.to_ambiguous_timestamp(civil).compatible().ok()?;
        u64::try_from(at.as_second()).ok().map(Wall)
    }
}
