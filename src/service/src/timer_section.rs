//! The `[Timer]` section.

use crate::config::{Base, Elapse, TimerConfig};
use crate::definition::Place;
use crate::error::UnitError;
use crate::name::{UnitName, UnitType};

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    unit: Option<String>,
    elapses: Vec<Elapse>,
}

impl Reader {
    /// Takes one option; false where it is none of ours.
    pub(crate) fn read(&mut self, place: &Place<'_>) -> Result<bool, UnitError> {
        let base = match place.option {
            "Unit" => {
                let unit = place.expanded(place.value)?;
                let name =
                    UnitName::parse(&unit).map_err(|_| place.wrong("it is no unit name", "name a unit"))?;
                if name.kind() == UnitType::Timer {
                    return Err(place.wrong("a timer cannot start a timer", "name a service or a target"));
                }
                self.unit = Some(unit);
                return Ok(true);
            }
            "OnCalendar" => {
                let hint = "use OnActiveSec=, OnBootSec=, OnUnitActiveSec= or OnUnitInactiveSec=";
                return Err(place.not_here("calendar times need systemd and are not run here", hint));
            }
            // The manager starts right after the boot, as far as anybody can tell.
            "OnStartupSec" => Base::Boot,
            option => match Base::parse(option) {
                Some(base) => base,
                None => return Ok(false),
            },
        };
        if place.value.is_empty() {
            // As in systemd, an empty value takes back the times of all kinds.
            self.elapses.clear();
            return Ok(true);
        }
        let after = place.span()?.ok_or_else(|| place.wrong("it would never elapse", "write a time span"))?;
        self.elapses.push(Elapse { base, after });
        Ok(true)
    }

    pub(crate) fn finish(self, name: &UnitName) -> Result<TimerConfig, UnitError> {
        if self.elapses.is_empty() {
            return Err(UnitError::Incomplete {
                unit: name.to_string(),
                reason: "a timer needs a time".to_owned(),
                hint: "write OnActiveSec= or OnUnitActiveSec= into [Timer]".to_owned(),
            });
        }
        if self.elapses.len() > usize::from(u8::MAX) {
            return Err(UnitError::Incomplete {
                unit: name.to_string(),
                reason: "a timer takes at most 255 times".to_owned(),
                hint: "use several timers".to_owned(),
            });
        }
        Ok(TimerConfig {
            unit: self.unit.unwrap_or_else(|| format!("{}.service", name.stem())),
            elapses: self.elapses,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Kind, Machine, load};

    fn read(options: &[(&str, &str)]) -> Result<Kind, String> {
        let options = options.iter().map(|(option, value)| ("Timer", *option, *value));
        load("tick.timer", options, &Machine::default()).map(|l| l.definition.kind).map_err(|e| e.to_string())
    }

    #[test]
    fn a_timer_starts_the_service_of_its_name_unless_told_otherwise() {
        let Ok(Kind::Timer(timer)) = read(&[("OnUnitActiveSec", "5min"), ("OnBootSec", "1s")]) else {
            panic!()
        };
        assert_eq!((timer.unit.as_str(), timer.elapses.len()), ("tick.service", 2));
        let Ok(Kind::Timer(timer)) = read(&[("OnActiveSec", "1"), ("Unit", "other.service")]) else {
            panic!()
        };
        assert_eq!(timer.unit, "other.service");
    }

    #[test]
    fn what_no_timer_can_do_is_refused_with_a_hint() {
        for (options, word) in [
            (&[("OnCalendar", "daily")][..], "calendar"),
            (&[][..], "needs a time"),
            (&[("OnActiveSec", "1"), ("OnBootSec", "")][..], "needs a time"),
            (&[("OnActiveSec", "infinity")][..], "never"),
            (&[("OnActiveSec", "1"), ("Unit", "a.timer")][..], "cannot start a timer"),
        ] {
            let error = read(options).unwrap_err();
            assert!(error.contains(word) && error.contains("\nhint: "), "{error}");
        }
    }
}
