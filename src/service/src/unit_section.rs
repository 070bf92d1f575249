//! The `[Unit]` section.

use crate::config::UnitConfig;
use crate::definition::Place;
use crate::error::{UnitError, Warning};
use crate::name::UnitName;

/// Takes one option; false where it is none of ours.
pub(crate) fn read(
    unit: &mut UnitConfig,
    place: &Place<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<bool, UnitError> {
    let list = match place.option {
        "Description" => {
            unit.description = place.expanded(place.value)?;
            return Ok(true);
        }
        "Documentation" => {
            if place.value.is_empty() {
                unit.documentation.clear();
            }
            unit.documentation.extend(place.value.split_whitespace().map(str::to_owned));
            return Ok(true);
        }
        "SourcePath" => return Ok(true),
        "Requires" => &mut unit.requires,
        "Requisite" => &mut unit.requisite,
        "Wants" => &mut unit.wants,
        "BindsTo" | "BindTo" => &mut unit.binds_to,
        "PartOf" => &mut unit.part_of,
        "Conflicts" => &mut unit.conflicts,
        "Before" => &mut unit.before,
        "After" => &mut unit.after,
        _ => return Ok(false),
    };
    // As in systemd, an empty assignment takes no dependency back.
    for word in place.value.split_whitespace() {
        let word = place.expanded(word)?;
        match UnitName::parse(&word) {
            Ok(_) if list.contains(&word) => {}
            Ok(_) => list.push(word),
            Err(_) => warnings.push(Warning::Skipped {
                option: place.option.to_owned(),
                value: word,
                reason: "it is no unit name".to_owned(),
            }),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use crate::{Machine, Warning, load};

    #[test]
    fn dependencies_are_kept_in_order_and_once() {
        let options = [
            ("Unit", "Description", "the %i web"),
            ("Unit", "After", "db.service net.target"),
            ("Unit", "After", "db.service cache@%i.service"),
            ("Unit", "Wants", "no-suffix db.service"),
            ("X-Fleet", "Conflicts", "web@*.service"),
            ("Install", "WantedBy", "multi-user.target"),
            ("Service", "ExecStart", "/bin/true"),
        ];
        let loaded = load("web@1.service", options, &Machine::default()).unwrap();
        let unit = loaded.definition.unit;
        assert_eq!(unit.description, "the 1 web");
        assert_eq!(unit.after, ["db.service", "net.target", "cache@1.service"]);
        assert_eq!(unit.wants, ["db.service"]);
        assert!(matches!(&loaded.warnings[..], [Warning::Skipped { value, .. }] if value == "no-suffix"));
    }
}
