//! Where systemd is heard.

use crate::SystemdError;

/// Which systemd: the machine's, or the one of a user who is logged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Instance {
    /// The machine's, as root.
    #[default]
    System,
    /// Our own user's.
    User,
}

/// What the environment says, as values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Surroundings {
    /// `DBUS_SYSTEM_BUS_ADDRESS`.
    pub system_bus: Option<String>,
    /// `DBUS_SESSION_BUS_ADDRESS`.
    pub session_bus: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<String>,
}

/// A place where systemd may be heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// An address as D-Bus writes it: `unix:path=/run/dbus/system_bus_socket`.
    pub address: String,
    /// systemd itself listens there, and no bus in between: its socket `systemd/private`, on which nobody says hello.
    pub is_direct: bool,
}

impl Place {
    /// A place by its address; systemd's own socket is known by its name.
    #[must_use]
    pub fn at(address: &str) -> Self {
        let is_direct = address.split(',').next().is_some_and(|first| first.ends_with("/systemd/private"));
        Self { address: address.to_owned(), is_direct }
    }
}

/// A path as it stands in an address of D-Bus: all but a few characters are escaped.
fn unix(path: &str) -> String {
    let mut address = String::from("unix:path=");
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(&byte) {
            address.push(char::from(byte));
        } else {
            address.push_str(&format!("%{byte:02x}"));
        }
    }
    address
}

/// The places to try, in order: the bus, then systemd's own socket, for where no bus runs. Only the one that was given, where
/// one was; a list in it is separated by semicolons, as in D-Bus's own variables.
///
/// # Errors
/// A user's instance without the folder in which it lies.
pub fn places(
    instance: Instance,
    given: Option<&str>,
    around: &Surroundings,
) -> Result<Vec<Place>, SystemdError> {
    let list = |text: &str| -> Vec<Place> {
        text.split(';').map(str::trim).filter(|address| !address.is_empty()).map(Place::at).collect()
    };
    if let Some(given) = given.map(list).filter(|given| !given.is_empty()) {
        return Ok(given);
    }
    let set = |value: &Option<String>| value.as_deref().map(list).filter(|places| !places.is_empty());
    let (bus, own) = match instance {
        Instance::System => {
            let usual = || vec![Place::at("unix:path=/run/dbus/system_bus_socket")];
            (set(&around.system_bus).unwrap_or_else(usual), unix("/run/systemd/private"))
        }
        Instance::User => {
            let dir = around.runtime_dir.as_deref().filter(|dir| !dir.is_empty());
            let dir = dir.ok_or(SystemdError::NoRuntimeDir)?.trim_end_matches('/');
            let usual = || vec![Place::at(&unix(&format!("{dir}/bus")))];
            (set(&around.session_bus).unwrap_or_else(usual), unix(&format!("{dir}/systemd/private")))
        }
    };
    Ok(bus.into_iter().chain([Place::at(&own)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(instance: Instance, given: Option<&str>, around: &Surroundings) -> Vec<String> {
        let places = places(instance, given, around).unwrap();
        let told = places
            .into_iter()
            .map(|place| format!("{}{}", if place.is_direct { "direct " } else { "" }, place.address));
        told.collect()
    }

    #[test]
    fn the_bus_is_asked_first_and_systemd_itself_where_there_is_none() {
        let around = Surroundings::default();
        assert_eq!(
            told(Instance::System, None, &around),
            ["unix:path=/run/dbus/system_bus_socket", "direct unix:path=/run/systemd/private"]
        );
        let around = Surroundings { system_bus: Some("unix:path=/a;tcp:host=b,port=1".into()), ..around };
        assert_eq!(
            told(Instance::System, None, &around),
            ["unix:path=/a", "tcp:host=b,port=1", "direct unix:path=/run/systemd/private"]
        );
    }

    #[test]
    fn a_users_systemd_lies_in_the_users_folder() {
        let around = Surroundings { runtime_dir: Some("/run/user/7 x".into()), ..Surroundings::default() };
        assert_eq!(
            told(Instance::User, None, &around),
            ["unix:path=/run/user/7%20x/bus", "direct unix:path=/run/user/7%20x/systemd/private"]
        );
        let none = places(Instance::User, None, &Surroundings::default());
        assert_eq!(none, Err(SystemdError::NoRuntimeDir));
    }

    #[test]
    fn what_was_given_is_all_that_is_asked() {
        let around = Surroundings { system_bus: Some("unix:path=/a".into()), ..Surroundings::default() };
        assert_eq!(told(Instance::System, Some("unix:path=/b"), &around), ["unix:path=/b"]);
        assert_eq!(
            told(Instance::User, Some("unix:path=/t/systemd/private,guid=1"), &around),
            ["direct unix:path=/t/systemd/private,guid=1"]
        );
        assert_eq!(told(Instance::System, Some(" "), &around)[0], "unix:path=/a");
    }
}
