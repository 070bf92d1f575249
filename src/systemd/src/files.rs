//! The folder of the fleet's unit files, as it lies on the disk.
//!
//! A unit's file is what its name says; all else is below `.fleetd`: a file for each unit that was started, and one that says by
//! which systemd. It is to outlive this process, not the machine: nothing is synced.

use crate::SystemdError;
use rustix::fs::{FlockOperation, flock};
use seatrial_fleet::unit::{UnitFile, UnitName};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const OWN: &str = ".fleetd";

/// The folder. Nobody else has it as long as this is there.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    _lock: File,
}

fn error<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> SystemdError + 'a {
    move |error| SystemdError::File { what, path: path.display().to_string(), problem: error.to_string() }
}

fn remove(path: &Path) -> Result<(), SystemdError> {
    match std::fs::remove_file(path) {
        Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(()),
        done => done.map_err(error("cannot remove", path)),
    }
}

/// How many units were started and not stopped by whoever has, or had, this folder.
#[must_use]
pub fn started_in(root: &Path) -> usize {
    std::fs::read_dir(root.join(OWN).join("started")).map_or(0, Iterator::count)
}

impl Files {
    /// Opens the folder, and makes it where it is missing.
    pub(crate) fn open(root: &Path) -> Result<Self, SystemdError> {
        let root = std::path::absolute(root).map_err(error("cannot find", root))?;
        let started = root.join(OWN).join("started");
        std::fs::create_dir_all(&started).map_err(error("cannot make", &started))?;
        let path = root.join(OWN).join("lock");
        let lock = File::create(&path).map_err(error("cannot open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(SystemdError::Taken { path: path.display().to_string() })
            }
            Err(errno) => Err(error("cannot lock", &path)(errno.into())),
        }
    }

    /// Where a unit's file lies.
    pub(crate) fn path(&self, name: &UnitName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn started(&self, name: &UnitName) -> PathBuf {
        self.root.join(OWN).join("started").join(name.as_str())
    }

    /// Whether `path`, where systemd has found a unit, is another file than ours: of the unit, or of its template. One that is
    /// not there any more is nobody's.
    pub(crate) fn is_foreign(&self, name: &UnitName, path: &Path) -> bool {
        let Ok(real) = std::fs::canonicalize(path) else { return false };
        let is_real = |ours: &UnitName| std::fs::canonicalize(self.path(ours)).is_ok_and(|ours| ours == real);
        !is_real(name) && !name.template().is_some_and(|template| is_real(&template))
    }

    /// The names of the units that lie there.
    pub(crate) fn names(&self) -> Result<Vec<UnitName>, SystemdError> {
        let listed = std::fs::read_dir(&self.root).map_err(error("cannot list", &self.root))?;
        let mut names = Vec::new();
        for entry in listed {
            let entry = entry.map_err(error("cannot list", &self.root))?;
            let name = entry.file_name();
            match UnitName::parse(&name.to_string_lossy()) {
                Ok(name) if crate::plan::check_name(&name).is_ok() => names.push(name),
                _ if name == OWN => {}
                _ => {
                    tracing::debug!(name = %name.to_string_lossy(), "a file that is no unit was passed over")
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// A unit's file; nothing where there is none, or none that can be read.
    pub(crate) fn read(&self, name: &UnitName) -> Option<UnitFile> {
        let text = std::fs::read_to_string(self.path(name)).ok()?;
        match UnitFile::parse(&text) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::error!(unit = %name, %error, "the file of a unit cannot be read");
                None
            }
        }
    }

    fn put(&self, path: &Path, text: &str) -> Result<(), SystemdError> {
        let new = self.root.join(OWN).join("new");
        std::fs::write(&new, text).map_err(error("cannot write", &new))?;
        std::fs::rename(&new, path).map_err(error("cannot write", path))
    }

    pub(crate) fn write(&self, name: &UnitName, text: &str) -> Result<(), SystemdError> {
        self.put(&self.path(name), text)
    }

    pub(crate) fn remove(&self, name: &UnitName) -> Result<(), SystemdError> {
        remove(&self.path(name))
    }

    pub(crate) fn is_started(&self, name: &UnitName) -> bool {
        self.started(name).exists()
    }

    pub(crate) fn note_started(&self, name: &UnitName) -> Result<(), SystemdError> {
        self.put(&self.started(name), "")
    }

    pub(crate) fn note_stopped(&self, name: &UnitName) -> Result<(), SystemdError> {
        remove(&self.started(name))
    }

    /// By which systemd the files were linked, as noted.
    pub(crate) fn epoch(&self) -> Option<String> {
        std::fs::read_to_string(self.root.join(OWN).join("epoch")).ok()
    }

    pub(crate) fn note_epoch(&self, epoch: &str) -> Result<(), SystemdError> {
        self.put(&self.root.join(OWN).join("epoch"), epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    #[test]
    fn what_is_written_and_noted_is_found_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let unit = name("a@x\\x2dy.service");
        let files = Files::open(dir.path()).unwrap();
        assert_eq!((files.names().unwrap(), files.epoch()), (vec![], None));
        files.write(&unit, "[Unit]\nDescription=A\n").unwrap();
        files.note_started(&unit).unwrap();
        files.note_epoch("1").unwrap();
        drop(files);
        let files = Files::open(dir.path()).unwrap();
        assert_eq!(files.names().unwrap(), [name("a@x\\x2dy.service")]);
        assert_eq!(files.read(&unit).unwrap().description(), "A");
        assert!(files.is_started(&unit));
        assert_eq!((started_in(dir.path()), started_in(Path::new("/no"))), (1, 0));
        assert_eq!(files.epoch().as_deref(), Some("1"));
        files.note_stopped(&unit).unwrap();
        files.remove(&unit).unwrap();
        assert!(!files.is_started(&unit) && files.names().unwrap().is_empty());
        // What is gone may go again.
        files.note_stopped(&unit).unwrap();
        files.remove(&unit).unwrap();
    }

    #[test]
    fn two_cannot_have_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Files::open(dir.path()).unwrap();
        let error = Files::open(dir.path()).unwrap_err();
        assert!(matches!(error, SystemdError::Taken { .. }), "{error}");
    }

    #[test]
    fn what_is_no_unit_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        for stranger in ["README", "a.exe", ".a.service.swp", "a.device"] {
            std::fs::write(dir.path().join(stranger), "").unwrap();
        }
        files.write(&name("a.service"), "no unit file").unwrap();
        assert_eq!(files.names().unwrap(), [name("a.service")]);
        assert_eq!(files.read(&name("a.service")), None);
    }

    #[test]
    fn a_unit_is_ours_by_its_path_by_a_link_to_it_or_by_its_template() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(&dir.path().join("units")).unwrap();
        let (unit, template) = (name("a@1.service"), name("a@.service"));
        files.write(&unit, "").unwrap();
        files.write(&template, "").unwrap();
        let (link, other) = (dir.path().join("link"), dir.path().join("a@1.service"));
        std::os::unix::fs::symlink(files.path(&unit), &link).unwrap();
        std::fs::write(&other, "").unwrap();
        for ours in [files.path(&unit), files.path(&template), link.clone(), "/no/a@1.service".into()] {
            assert!(!files.is_foreign(&unit, &ours), "{}", ours.display());
        }
        assert!(files.is_foreign(&unit, &other) && files.is_foreign(&template, &link));
        // What has lost its file is not the machine's, for all that systemd may remember.
        files.remove(&unit).unwrap();
        assert!(!files.is_foreign(&unit, &link));
    }
}
