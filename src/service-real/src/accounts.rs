//! Users and groups by name, from the system's own files. Directories of users elsewhere (LDAP and the like) are not asked.

use seatrial_service::SpawnFailure;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
    pub(crate) shell: String,
}

/// systemd's statuses for a user or group that is not there.
const USER: u8 = 217;
const GROUP: u8 = 216;

pub(crate) fn user(wanted: &str) -> Result<Account, SpawnFailure> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    find_user(&text, wanted).ok_or_else(|| SpawnFailure {
        status: Some(USER),
        text: format!("there is no user {wanted} in /etc/passwd"),
    })
}

pub(crate) fn group(wanted: &str) -> Result<u32, SpawnFailure> {
    let text = std::fs::read_to_string("/etc/group").unwrap_or_default();
    find_group(&text, wanted).ok_or_else(|| SpawnFailure {
        status: Some(GROUP),
        text: format!("there is no group {wanted} in /etc/group"),
    })
}

fn find_user(text: &str, wanted: &str) -> Option<Account> {
    let accounts = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(Account { name: name.to_owned(), uid, gid, home: home.to_owned(), shell: shell.to_owned() })
    });
    let number = wanted.parse::<u32>().ok();
    let found = accounts.into_iter().find(|account| account.name == wanted || Some(account.uid) == number);
    // A number needs no entry, as in systemd; it then has its own group, and no home.
    found.or_else(|| {
        number.map(|uid| Account {
            name: wanted.to_owned(),
            uid,
            gid: uid,
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
        })
    })
}

fn find_group(text: &str, wanted: &str) -> Option<u32> {
    if let Ok(number) = wanted.parse() {
        return Some(number);
    }
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == wanted).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/home/r:/bin/sh\nbad line\nweb:x:7:8:,,:/srv:/bin/false\n";
        let web = find_user(passwd, "web").unwrap();
        assert_eq!((web.uid, web.gid, web.home.as_str()), (7, 8, "/srv"));
        assert_eq!(find_user(passwd, "7").unwrap().name, "web");
        assert_eq!(find_user(passwd, "99").unwrap().gid, 99);
        assert_eq!(find_user(passwd, "nobody"), None);
        assert_eq!(find_group("a:x:1:\nweb:x:8:a,b\n", "web"), Some(8));
        assert_eq!(find_group("a:x:1:\n", "12"), Some(12));
        assert_eq!(find_group("a:x:1:\n", "b"), None);
    }
}
