//! Where the bus is on which systemd is heard.
//!
//! systemd also listens on a socket of its own (`systemd/private`), for `systemctl`. It names itself there in a way that the
//! specification of D-Bus does not have and our library refuses; and it is not for others. So a bus there must be.

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

impl Surroundings {
    /// The folder of a user who is logged in.
    ///
    /// # Errors
    /// Where it is not set.
    pub fn runtime_dir(&self) -> Result<&str, SystemdError> {
        let dir = self.runtime_dir.as_deref().map(|dir| dir.trim_end_matches('/'));
        dir.filter(|dir| !dir.is_empty()).ok_or(SystemdError::NoRuntimeDir)
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

/// The addresses to try, in order: the one that was given, else the one that the environment names, else the usual one. Each of
/// these may be a list, separated by semicolons.
///
/// # Errors
/// A user's instance without the folder in which its bus lies.
pub fn addresses(
    instance: Instance,
    given: Option<&str>,
    around: &Surroundings,
) -> Result<Vec<String>, SystemdError> {
    let list = |text: &str| -> Vec<String> {
        text.split(';').map(str::trim).filter(|address| !address.is_empty()).map(str::to_owned).collect()
    };
    let named = match instance {
        Instance::System => &around.system_bus,
        Instance::User => &around.session_bus,
    };
    let said = [given, named.as_deref()].into_iter().flatten().map(list).find(|list| !list.is_empty());
    match (said, instance) {
        (Some(said), _) => Ok(said),
        (None, Instance::System) => Ok(vec![unix("/run/dbus/system_bus_socket")]),
        (None, Instance::User) => Ok(vec![unix(&format!("{}/bus", around.runtime_dir()?))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_goes_before_the_environment_and_that_before_what_is_usual() {
        let around = Surroundings::default();
        let of = |given, around: &Surroundings| addresses(Instance::System, given, around).unwrap();
        assert_eq!(of(None, &around), ["unix:path=/run/dbus/system_bus_socket"]);
        let around = Surroundings { system_bus: Some("unix:path=/a; tcp:host=b,port=1".into()), ..around };
        assert_eq!(of(None, &around), ["unix:path=/a", "tcp:host=b,port=1"]);
        assert_eq!(of(Some("unix:path=/b"), &around), ["unix:path=/b"]);
        assert_eq!(of(Some(" "), &around)[0], "unix:path=/a");
    }

    #[test]
    fn a_users_bus_lies_in_the_users_folder() {
        let around = Surroundings { runtime_dir: Some("/run/user/7 x/".into()), ..Surroundings::default() };
        let of = |around: &Surroundings| addresses(Instance::User, None, around);
        assert_eq!(of(&around).unwrap(), ["unix:path=/run/user/7%20x/bus"]);
        let around = Surroundings { session_bus: Some("unix:path=/s".into()), ..around };
        assert_eq!(of(&around).unwrap(), ["unix:path=/s"]);
        // The machine's bus is none of the user's.
        let around = Surroundings { system_bus: Some("unix:path=/a".into()), ..Surroundings::default() };
        assert_eq!(of(&around), Err(SystemdError::NoRuntimeDir));
    }
}
