//! The files of the workspace, read once.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders at the root which hold what a build or a run made.
const MADE: [&str; 3] = ["runs", ".git", ".seatrial"];

/// Endings of files that are text by our making; others (images, archives) are not looked at.
const TEXT: [&str; 12] =
    ["rs", "toml", "md", "txt", "proto", "html", "css", "js", "json", "yml", "yaml", "sh"];

/// One text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative to the root, with `/` between parts.
    pub path: String,
    /// The whole of it.
    pub text: String,
}

/// Every text file of the workspace, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// In the order of their paths.
    pub files: Vec<File>,
}

impl Tree {
    /// Reads the workspace this crate belongs to.
    ///
    /// # Errors
    /// What the system says, with the path; a file that is not UTF-8.
    pub fn read() -> Result<Self> {
        Self::read_at(&root())
    }

    /// Reads the workspace at `root`.
    ///
    /// # Errors
    /// As [`Tree::read`].
    pub fn read_at(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                let relative = relative(root, &path);
                // In a worktree of git `.git` is a file.
                let made = MADE.contains(&relative.as_str());
                if path.is_dir() {
                    if !made && !relative.starts_with("target") && !path.is_symlink() {
                        folders.push(path);
                    }
                } else if !made && is_text(&path) {
                    let text =
                        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                    files.push(File { path: relative, text });
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// The text of one file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }
}

/// The folder of the workspace.
///
/// # Panics
/// Never where this crate lies two folders below the root.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("xtask lies in src/xtask").to_path_buf()
}

fn relative(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn is_text(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    // Without an ending: LICENSE, .gitignore, the programs in .ci.
    ending.is_none_or(|ending| TEXT.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_holds_this_file_and_nothing_a_build_made() {
        let tree = Tree::read().unwrap();
        assert!(tree.text("src/xtask/src/tree.rs").is_some());
        assert!(tree.text("Cargo.toml").is_some());
        assert!(!tree.files.iter().any(|file| file.path.starts_with("target")));
    }
}
