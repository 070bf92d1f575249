//! From what was said on the command line to units and their files.

use seatrial_fleet::unit::{Requirements, UnitFile, UnitName, UnitOption};
use seatrial_service::Machine;
use std::path::{Path, PathBuf};

/// What the original takes for a unit's type; to anything else it adds `.service`.
const TYPES: [&str; 7] = ["service", "socket", "timer", "path", "device", "mount", "automount"];

/// The name of the unit that is meant by a name or a path.
pub(super) fn name_of(said: &str) -> Result<UnitName, String> {
    let base = Path::new(said).file_name().map_or(said.into(), |name| name.to_string_lossy());
    let has_type = base.rsplit_once('.').is_some_and(|(_, kind)| TYPES.contains(&kind));
    let name = if has_type { base.into_owned() } else { format!("{base}.service") };
    UnitName::parse(&name).map_err(|error| format!("Error: {name}: {error}"))
}

/// Reads a file and says all that is wrong with it before anybody else has to; what has no effect is returned.
pub(super) fn read(path: &Path, name: &UnitName) -> Result<(UnitFile, Vec<String>), String> {
    let wrong = |error: &dyn std::fmt::Display| format!("Error: {}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let file = UnitFile::parse(&text).map_err(|error| wrong(&error))?;
    let warnings = check(name, &file).map_err(|error| wrong(&error))?;
    Ok((file, warnings))
}

fn check(name: &UnitName, file: &UnitFile) -> Result<Vec<String>, String> {
    Requirements::of(name, file).map_err(|error| error.to_string())?;
    let mut warnings = Requirements::warnings(file);
    // A template says what its instances will be.
    let instance = match name.as_str().split_once("@.") {
        Some((prefix, kind)) => format!("{prefix}@instance.{kind}"),
        None => name.to_string(),
    };
    let values: Vec<String> = file.options().iter().map(UnitOption::value_in_one_line).collect();
    let options = file.options().iter().zip(&values);
    let options =
        options.map(|(option, value)| (option.section.as_str(), option.name.as_str(), value.as_str()));
    match seatrial_service::load(&instance, options, &Machine::default()) {
        Ok(loaded) => warnings.extend(loaded.warnings.iter().map(ToString::to_string)),
        // Some machine may have one.
        Err(error) if error.is_fine_for_systemd() => warnings.push(error.to_string()),
        Err(error) => return Err(error.to_string()),
    }
    Ok(warnings)
}

/// The file for a unit on this side: what was named, or for an instance the template beside it.
pub(super) fn find(said: &str, name: &UnitName) -> Option<PathBuf> {
    let named = PathBuf::from(said);
    if named.is_file() {
        return Some(named);
    }
    let beside = |name: &UnitName| named.with_file_name(name.as_str());
    let with_type = beside(name);
    if with_type.is_file() {
        return Some(with_type);
    }
    name.template().map(|template| beside(&template)).filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_type_is_a_service() {
        for (said, name) in [
            ("web", "web.service"),
            ("units/web@1.service", "web@1.service"),
            ("a.b", "a.b.service"),
            ("t.timer", "t.timer"),
        ] {
            assert_eq!(name_of(said).unwrap().as_str(), name);
        }
        assert!(name_of("a b").unwrap_err().starts_with("Error: a b.service: "));
    }

    #[test]
    fn an_instance_finds_the_template_beside_it_and_its_own_file_first() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let said = at("web@1.service").display().to_string();
        let name = name_of(&said).unwrap();
        assert_eq!(find(&said, &name), None);
        std::fs::write(at("web@.service"), "").unwrap();
        assert_eq!(find(&said, &name), Some(at("web@.service")));
        std::fs::write(at("web@1.service"), "").unwrap();
        assert_eq!(find(&said, &name), Some(at("web@1.service")));
    }

    #[test]
    fn what_is_wrong_is_named_with_section_and_option() {
        let check = |text: &str| {
            let name = UnitName::parse("a@.service").unwrap();
            check(&name, &UnitFile::parse(text).unwrap())
        };
        let error = check("[Service]\nExecStart=/bin/true\nRestart=sometimes\n").unwrap_err();
        assert!(error.contains("Restart") && error.contains("sometimes"), "{error}");
        let error = check("[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=maybe\n").unwrap_err();
        assert!(error.contains("Global") && error.contains("maybe"), "{error}");
        let warnings = check("[Service]\nExecStart=/bin/echo %i\n[X-Fleet]\nBogus=1\n").unwrap();
        assert_eq!(warnings, ["unrecognized requirement in [X-Fleet] section: \"Bogus\""]);
        let warnings = check("[Service]\nType=dbus\nBusName=a.b\nExecStart=/bin/true\n").unwrap();
        assert!(warnings[0].contains("there is no D-Bus here"), "{warnings:?}");
        let lines = "[Service]\nExecStart=/bin/sh -c \\\n  'exec sleep 1'\n";
        assert_eq!(check(lines).unwrap(), Vec::<String>::new());
    }
}
