//! Who has registered for a new cluster, and what that means for one of them: the same for etcd's discovery by v2 keys and
//! by v3 keys.

/// Who has registered, the earliest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roster {
    /// Numbers and what was registered under them.
    pub entries: Vec<(String, String)>,
}

/// Where one who registers stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not registered yet, and there is room.
    Absent,
    /// Registered; so many are still missing.
    Waiting(usize),
    /// The members, this one among them.
    Complete(Roster),
    /// The members, without this one.
    Late(Roster),
}

impl Roster {
    /// What was registered, as `name=url` parts.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        let parts = self.entries.iter().flat_map(|(_, value)| value.split([',', '&']));
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// The names of all, for people.
    #[must_use]
    pub fn names(&self) -> String {
        let name = |(id, value): &(String, String)| value.split('=').next().unwrap_or(id).to_owned();
        self.entries.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// What stands under a number.
    #[must_use]
    pub fn registered(&self, id: &str) -> Option<&str> {
        self.entries.iter().find(|(registered, _)| registered == id).map(|(_, value)| value.as_str())
    }

    /// What it means for `id` where `size` members are wanted.
    #[must_use]
    pub fn standing(mut self, id: &str, size: usize) -> Standing {
        let place = self.entries.iter().position(|(registered, _)| registered == id);
        let count = self.entries.len();
        self.entries.truncate(size);
        match place {
            Some(place) if place >= size => Standing::Late(self),
            Some(_) if count >= size => Standing::Complete(self),
            Some(_) => Standing::Waiting(size - count),
            None if count >= size => Standing::Late(self),
            None => Standing::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(ids: &[&str]) -> Roster {
        Roster { entries: ids.iter().map(|id| ((*id).to_owned(), format!("m{id}=http://h:{id}"))).collect() }
    }

    #[test]
    fn the_first_to_register_are_the_members() {
        for (ids, id, want) in [
            (&["1"][..], "2", Standing::Absent),
            (&["1", "2"], "2", Standing::Waiting(1)),
            (&["1", "2", "3"], "3", Standing::Complete(roster(&["1", "2", "3"]))),
            (&["1", "2", "3", "4"], "1", Standing::Complete(roster(&["1", "2", "3"]))),
            (&["1", "2", "3", "4"], "4", Standing::Late(roster(&["1", "2", "3"]))),
            (&["1", "2", "3"], "4", Standing::Late(roster(&["1", "2", "3"]))),
        ] {
            assert_eq!(roster(ids).standing(id, 3), want, "{ids:?} {id}");
        }
        assert_eq!(roster(&["1", "2"]).names(), "m1, m2");
    }
}
