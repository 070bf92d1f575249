//! Paths: absolute, clean, with `/` between their elements.

/// The path in its shortest form: one slash between elements, none at the end, `.` and `..` resolved.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The directory in which a path lies. The root lies in itself.
pub(crate) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        None | Some(("", _)) => "/",
        Some((parent, _)) => parent,
    }
}

/// What all paths below this one begin with.
pub(crate) fn prefix(path: &str) -> String {
    if path == "/" { "/".to_owned() } else { format!("{path}/") }
}

/// Every directory from the root down to the path itself.
pub(crate) fn ways(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
    let whole = (path != "/").then_some(path);
    std::iter::once("/").chain(inner).chain(whole)
}

/// How many elements it has.
pub(crate) fn depth(path: &str) -> usize {
    path.split('/').filter(|element| !element.is_empty()).count()
}

/// Whether who looks at `from` sees nothing of `path` below it: one of the elements between begins with `_`.
#[must_use]
pub fn is_hidden(from: &str, path: &str) -> bool {
    let below = if from == "/" { Some(path) } else { path.strip_prefix(from) };
    below.is_some_and(|below| below.contains("/_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_clean() {
        for (path, want) in
            [("", "/"), ("/", "/"), ("a//b/", "/a/b"), ("/a/../../b/./c", "/b/c"), ("/a b/ü", "/a b/ü")]
        {
            assert_eq!(clean(path), want, "{path}");
        }
    }

    #[test]
    fn the_way_to_a_path_begins_at_the_root_and_ends_at_it() {
        assert_eq!(ways("/a/b").collect::<Vec<_>>(), ["/", "/a", "/a/b"]);
        assert_eq!(ways("/").collect::<Vec<_>>(), ["/"]);
        assert_eq!(parent("/a"), "/");
        assert_eq!(parent("/a/b"), "/a");
    }

    #[test]
    fn what_is_hidden_is_so_from_above_only() {
        assert!(is_hidden("/1", "/1/_a"));
        assert!(is_hidden("/1", "/1/_a/b"));
        assert!(is_hidden("/", "/a/_b"));
        assert!(!is_hidden("/1/_a", "/1/_a/b"));
        assert!(!is_hidden("/1/_a", "/1/_a"));
        assert!(!is_hidden("/1/a/b", "/1/a"));
    }
}
