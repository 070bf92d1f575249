//! Command lines: prefixes, words, several in one value, and the variables in them (systemd.service(5)).

use crate::environment::Environment;
use crate::error::Warning;
use crate::name::UnitName;
use crate::specifier::{Machine, expand};
use crate::words::{Words, split};

/// One command, specifiers replaced and variables not yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Command {
    /// The program: an absolute path, or a plain name to be looked for.
    pub program: String,
    /// What the program sees as its own name (`@`), where that differs.
    pub argv0: Option<String>,
    /// The arguments behind the program.
    pub arguments: Vec<String>,
    /// `-`: a failure counts as success.
    pub ignore_failure: bool,
    /// `+` and `!`: as the manager's own user, not as `User=`.
    pub privileged: bool,
    /// `:`: variables are left as they stand.
    pub literal: bool,
}

impl Command {
    /// The whole argument vector, variables replaced. The first is what the program sees as its name.
    #[must_use]
    pub fn argv(&self, environment: &Environment) -> Vec<String> {
        let name = self.argv0.as_ref().unwrap_or(&self.program);
        let mut argv = vec![name.clone()];
        for argument in &self.arguments {
            if self.literal {
                argv.push(argument.clone());
            } else {
                substitute(argument, environment, &mut argv);
            }
        }
        argv
    }
}

/// `$NAME` alone becomes words, `${NAME}` anywhere its value, `$$` a dollar sign.
fn substitute(argument: &str, environment: &Environment, argv: &mut Vec<String>) {
    let value = |name: &str| environment.get(name).map_or("", String::as_str);
    let whole = argument.strip_prefix('$').filter(|name| crate::environment::is_name(name));
    if let Some(name) = whole {
        // A value whose quotes do not match is split at spaces, for there is nobody to tell.
        match split(value(name)) {
            Ok((words, _)) => argv.extend(words),
            Err(_) => argv.extend(value(name).split_whitespace().map(str::to_owned)),
        }
        return;
    }
    let mut out = String::new();
    let mut rest = argument;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let braced = behind.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        if let Some(behind) = behind.strip_prefix('$') {
            out.push('$');
            rest = behind;
        } else if let Some((name, behind)) = braced {
            out.push_str(value(name));
            rest = behind;
        } else {
            out.push('$');
            rest = behind;
        }
    }
    out.push_str(rest);
    argv.push(out);
}

/// The commands of one value.
///
/// # Errors
/// What is wrong and what to try, in words.
pub(crate) fn parse(
    option: &str,
    value: &str,
    name: &UnitName,
    machine: &Machine,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Command>, (String, String)> {
    let mut words = Words::new(value);
    let mut commands = Vec::new();
    while !words.rest().is_empty() {
        if words.take(";") {
            // Nothing between two separators is nothing.
            continue;
        }
        commands.push(one(&mut words, name, machine)?);
    }
    warnings.extend(
        words
            .unknown_escapes
            .into_iter()
            .map(|escape| Warning::UnknownEscape { option: option.to_owned(), escape }),
    );
    Ok(commands)
}

fn one(words: &mut Words<'_>, name: &UnitName, machine: &Machine) -> Result<Command, (String, String)> {
    let quote = |text: String| (text, "see systemd.syntax(7) on quoting".to_owned());
    let percent = |text: String| (text, "write `%%` for a percent sign".to_owned());
    let mut command = Command {
        program: String::new(),
        argv0: None,
        arguments: Vec::new(),
        ignore_failure: false,
        privileged: false,
        literal: false,
    };
    let mut renamed = false;
    let mut exclamations = 0;
    loop {
        if words.take_prefix('-') && !command.ignore_failure {
            command.ignore_failure = true;
        } else if words.take_prefix('@') && !renamed {
            renamed = true;
        } else if words.take_prefix(':') && !command.literal {
            command.literal = true;
        } else if words.take_prefix('+') && !command.privileged {
            command.privileged = true;
        } else if words.take_prefix('!') && exclamations < 2 {
            exclamations += 1;
            command.privileged = true;
        } else {
            break;
        }
    }
    if exclamations == 2 {
        let hint = "use `+` or `!` where the command needs the manager's user".to_owned();
        return Err((
            "the prefix `!!` needs ambient capabilities, which are not handled here".to_owned(),
            hint,
        ));
    }
    let program = words.next().map_err(|error| quote(error.text()))?;
    let program = program.filter(|program| !program.is_empty()).ok_or_else(|| {
        ("there is a prefix and no program".to_owned(), "write the program behind its prefixes".to_owned())
    })?;
    command.program = expand(&program, name, machine).map_err(percent)?;
    if command.program.contains('/') && !command.program.starts_with('/') {
        let hint = "write the whole path from `/`, or a plain name".to_owned();
        return Err((
            format!("the program `{}` is neither an absolute path nor a plain name", command.program),
            hint,
        ));
    }
    if command.program.ends_with('/') || command.program.chars().any(char::is_control) {
        let hint = "name an executable file".to_owned();
        return Err((format!("`{}` can be no program", command.program), hint));
    }
    loop {
        if words.take(";") {
            break;
        }
        if words.take("\\;") {
            command.arguments.push(";".to_owned());
            continue;
        }
        match words.next().map_err(|error| quote(error.text()))? {
            Some(word) => command.arguments.push(expand(&word, name, machine).map_err(percent)?),
            None => break,
        }
    }
    if renamed {
        if command.arguments.is_empty() {
            let hint = "write the name behind the program".to_owned();
            return Err(("the prefix `@` is there and no name to give to the program".to_owned(), hint));
        }
        command.argv0 = Some(command.arguments.remove(0));
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Result<Vec<Command>, (String, String)> {
        let name = UnitName::parse("web@1.service").unwrap();
        parse("ExecStart", value, &name, &Machine::default(), &mut Vec::new())
    }

    fn run(value: &str, environment: &[(&str, &str)]) -> Vec<Vec<String>> {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        read(value).unwrap().iter().map(|command| command.argv(&environment)).collect()
    }

    #[test]
    fn the_examples_of_the_manual_give_what_it_says() {
        let environment = [("ONE", "one"), ("TWO", "two two")];
        assert_eq!(run("echo $ONE $TWO ${TWO}", &environment), [["echo", "one", "two", "two", "two two"]]);
        let environment = [("ONE", "'one'"), ("TWO", "'two two' too"), ("THREE", "")];
        assert_eq!(
            run("/bin/echo ${ONE} ${TWO} ${THREE}", &environment),
            [["/bin/echo", "'one'", "'two two' too", ""]]
        );
        assert_eq!(run("/bin/echo $ONE $TWO $THREE", &environment), [["/bin/echo", "one", "two two", "too"]]);
        assert_eq!(run("echo one ; echo \"two two\"", &[]), [["echo", "one"], ["echo", "two two"]]);
        assert_eq!(run(r"echo / >/dev/null & \;  ls", &[]), [["echo", "/", ">/dev/null", "&", ";", "ls"]]);
    }

    #[test]
    fn dollar_signs_are_those_of_systemd_not_of_a_shell() {
        let environment = [("A", "x y")];
        for (text, expected) in [
            ("p $$A", vec!["p", "$A"]),
            ("p a$A", vec!["p", "a$A"]),
            ("p a${A}b", vec!["p", "ax yb"]),
            ("p ${A", vec!["p", "${A"]),
            ("p $NONE", vec!["p"]),
            ("p ${NONE}", vec!["p", ""]),
            ("p $", vec!["p", "$"]),
            (":p $A ${A} $$", vec!["p", "$A", "${A}", "$$"]),
        ] {
            assert_eq!(run(text, &environment), [expected], "{text}");
        }
    }

    #[test]
    fn prefixes_are_taken_in_any_order() {
        let command = &read("-@:/bin/sh -sh -c %i").unwrap()[0];
        assert!(command.ignore_failure && command.literal && !command.privileged);
        assert_eq!((command.program.as_str(), command.argv0.as_deref()), ("/bin/sh", Some("-sh")));
        assert_eq!(command.arguments, ["-c", "1"]);
        assert!(read("+/bin/true").unwrap()[0].privileged && read("!/bin/true").unwrap()[0].privileged);
    }

    #[test]
    fn what_makes_no_command_is_refused_with_a_hint() {
        for (value, word) in [
            ("!!/bin/true", "`!!`"),
            ("-", "no program"),
            ("@/bin/sh", "`@`"),
            ("./run.sh", "absolute"),
            ("/bin/echo \"a", "quote"),
            ("/bin/echo %Z", "%Z"),
            ("/bin/", "no program"),
        ] {
            let (reason, hint) = read(value).unwrap_err();
            assert!(reason.contains(word), "{value}: {reason}");
            assert!(!hint.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_refused(value in "[ -~]{0,40}") {
            if let Ok(commands) = read(&value) {
                for command in commands {
                    prop_assert!(!command.argv(&Environment::new()).is_empty());
                }
            }
        }
    }
}
