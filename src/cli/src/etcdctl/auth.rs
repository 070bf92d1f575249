//! auth, user, role, and how a command says who gives it.

use super::args::{text, value, words};
use super::go::quote;
use super::print::{Format, fields_header};
use super::{Fail, Session, code, error_text, json, protobuf};
use bytes::Bytes;
use clap::ArgMatches;
use seatrial_client::Store;
use seatrial_types::auth::{Access, AuthAnswer, AuthRequest, AuthResponse, Permission, Secret};
use seatrial_types::{Error, KeyRange, Request, Response};
use std::fmt::Write;
use std::io::IsTerminal;

/// Whether an access is of one kind.
type Kind = fn(Access) -> bool;

/// Everything but NUL: the end of "all keys that follow".
const OPEN: &[u8] = b"\0";

impl Session<'_> {
    /// Shows the password given with `--user` and keeps the token for what follows.
    pub(super) async fn log_in(&mut self) -> Result<(), Fail> {
        let Some(user) = self.globals.user.clone() else { return Ok(()) };
        let (name, password) = match (user.split_once(':'), self.globals.password.clone()) {
            (_, Some(password)) => (user, password),
            (Some((name, password)), None) => (name.to_owned(), password.to_owned()),
            (None, None) => {
                let password = self.read_password("Password: ")?;
                (user, password)
            }
        };
        // Who gives no password asks as nobody.
        if password.is_empty() {
            return Ok(());
        }
        let ask = AuthRequest::Authenticate { name, password: Secret::Plain(password) };
        match self.client()?.call(Request::Auth(ask)).await {
            Ok(Response::Auth(AuthResponse { body: AuthAnswer::Token { token, .. }, .. })) => {
                self.token = Some(token);
                Ok(())
            }
            Ok(_) => Err(Fail::odd()),
            // Nobody has to say who they are there.
            Err(error) if error.error == Error::AuthNotEnabled => Ok(()),
            Err(error) => Err(Fail::new(code::BAD_CONNECTION, error_text(&error.error))),
        }
    }

    async fn ask(&self, request: AuthRequest) -> Result<AuthResponse, Fail> {
        match self.call(Request::Auth(request)).await? {
            Response::Auth(response) => Ok(response),
            _ => Err(Fail::odd()),
        }
    }

    /// One line, not shown while it is typed.
    fn ask_password(&mut self, prompt: &str) -> Result<String, Fail> {
        let password = self.read_password(prompt)?;
        if password.is_empty() { Err(Fail::args("empty password")) } else { Ok(password) }
    }

    fn read_password(&mut self, prompt: &str) -> Result<String, Fail> {
        self.out(prompt.as_bytes())?;
        let hidden = Hidden::begin();
        let line = self.read_line();
        drop(hidden);
        self.out(b"\n")?;
        Ok(line.unwrap_or_default().trim_end_matches(['\n', '\r']).to_owned())
    }

    /// A new password: asked for twice, or one line of input where nobody is there to be asked.
    fn new_password(&mut self, matches: &ArgMatches, name: &str) -> Result<String, Fail> {
        if !matches.get_flag("interactive") {
            // As the real one scans it: up to the first white space.
            let line = self.read_line().unwrap_or_default();
            return Ok(line.split_whitespace().next().unwrap_or_default().to_owned());
        }
        let first = self.ask_password(&format!("Password of {name}: "))?;
        let second = self.ask_password(&format!("Type password of {name} again for confirmation: "))?;
        if first == second { Ok(first) } else { Err(Fail::args("given passwords are different")) }
    }

    pub(super) async fn auth_enable(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        if !words(matches).is_empty() {
            return Err(Fail::args("auth enable command does not accept any arguments"));
        }
        loop {
            let answer = self.client()?.call(Request::Auth(AuthRequest::Enable)).await;
            match answer {
                Ok(_) => break,
                Err(error) if error.error == Error::RootRoleNotExist => {
                    let root = || "root".to_owned();
                    self.ask(AuthRequest::RoleAdd { role: root() }).await?;
                    self.ask(AuthRequest::UserGrantRole { user: root(), role: root() }).await?;
                }
                Err(error) => return Err(Fail::new(code::ERROR, error_text(&error.error))),
            }
        }
        self.out(b"Authentication Enabled\n")
    }

    pub(super) async fn auth_disable(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        if !words(matches).is_empty() {
            return Err(Fail::args("auth disable command does not accept any arguments"));
        }
        self.ask(AuthRequest::Disable).await?;
        self.out(b"Authentication Disabled\n")
    }

    pub(super) async fn auth_status(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        if !words(matches).is_empty() {
            return Err(Fail::args("auth status command does not accept any arguments"));
        }
        let response = self.ask(AuthRequest::Status).await?;
        let AuthAnswer::Status { enabled, revision } = response.body else { return Err(Fail::odd()) };
        let simple = format!("Authentication Status: {enabled}\nAuthRevision: {}\n", revision.0);
        let mut fields = fields_header(&response.header);
        let _ = writeln!(fields, "\"Enabled\" : {enabled}\n\"AuthRevision\" : {}", revision.0);
        self.show_answer(simple, Ok(fields), json::auth(&response), &response)
    }

    /// Prints what each format has to say.
    fn show_answer(
        &mut self,
        simple: String,
        fields: Result<String, Fail>,
        json: String,
        response: &AuthResponse,
    ) -> Result<(), Fail> {
        let text = match self.globals.printer.format {
            Format::Simple => simple,
            Format::Fields => fields?,
            Format::Json => json + "\n",
            Format::Table => return Err(unsupported("table")),
            Format::Protobuf => return self.out(&protobuf::auth(response)),
        };
        self.out(text.as_bytes())
    }

    /// Asks for a change and says that it is done.
    async fn change(&mut self, request: AuthRequest, done: String) -> Result<(), Fail> {
        let response = self.ask(request).await?;
        self.show_answer(done + "\n", Ok(fields_header(&response.header)), json::auth(&response), &response)
    }

    pub(super) async fn user_add(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let [user] = one(matches, "user add command requires user name as its argument")?;
        let (name, password) = if matches.get_flag("no-password") {
            (user, Secret::Nothing)
        } else if !value(matches, "new-user-password").is_empty() {
            (user, Secret::Plain(value(matches, "new-user-password").to_owned()))
        } else {
            match user.split_once(':') {
                Some(("", _)) => return Err(Fail::args("empty user name is not allowed")),
                Some((name, password)) => (name.to_owned(), Secret::Plain(password.to_owned())),
                None => {
                    let password = self.new_password(matches, &user)?;
                    (user, Secret::Plain(password))
                }
            }
        };
        let done = format!("User {name} created");
        self.change(AuthRequest::UserAdd { name, password }, done).await
    }

    pub(super) async fn user_delete(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let [name] = one(matches, "user delete command requires user name as its argument")?;
        let done = format!("User {name} deleted");
        self.change(AuthRequest::UserDelete { name }, done).await
    }

    pub(super) async fn user_passwd(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let [name] = one(matches, "user passwd command requires user name as its argument")?;
        let password = Secret::Plain(self.new_password(matches, &name)?);
        self.change(AuthRequest::UserChangePassword { name, password }, "Password updated".to_owned()).await
    }

    pub(super) async fn user_grant_role(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let [user, role] =
            one(matches, "user grant command requires user name and role name as its argument")?;
        let done = format!("Role {role} is granted to user {user}");
        self.change(AuthRequest::UserGrantRole { user, role }, done).await
    }

    pub(super) async fn user_revoke_role(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let [user, role] = one(matches, "user revoke-role requires user name and role name as its argument")?;
        let done = format!("Role {role} is revoked from user {user}");
        self.change(AuthRequest::UserRevokeRole { user, role }, done).await
    }

    pub(super) async fn user_list(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        if !words(matches).is_empty() {
            return Err(Fail::args("user list command requires no arguments"));
        }
        let response = self.ask(AuthRequest::UserList).await?;
        let AuthAnswer::Names(names) = &response.body else { return Err(Fail::odd()) };
        let simple = names.iter().map(|name| format!("{name}\n")).collect();
        self.show_answer(simple, Err(unsupported("fields")), json::auth_names(&response, "users"), &response)
    }

    pub(super) async fn user_get(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let [name] = one(matches, "user get command requires user name as its argument")?;
        let response = self.ask(AuthRequest::UserGet { name: name.clone() }).await?;
        let AuthAnswer::Names(roles) = &response.body else { return Err(Fail::odd()) };
        if matches.get_flag("detail") {
            self.out(format!("User: {name}\n").as_bytes())?;
            for role in roles {
                self.out(b"\n")?;
                self.show_role(role.clone()).await?;
            }
            return Ok(());
        }
        let mut simple = format!("User: {name}\nRoles:");
        for role in roles {
            let _ = write!(simple, " {role}");
        }
        simple.push('\n');
        self.show_answer(simple, Err(unsupported("fields")), json::auth_names(&response, "roles"), &response)
    }

    pub(super) async fn role_add(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let [role] = one(matches, "role add command requires role name as its argument")?;
        let done = format!("Role {role} created");
        self.change(AuthRequest::RoleAdd { role }, done).await
    }

    pub(super) async fn role_delete(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let [role] = one(matches, "role delete command requires role name as its argument")?;
        let done = format!("Role {role} deleted");
        self.change(AuthRequest::RoleDelete { role }, done).await
    }

    pub(super) async fn role_list(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        if !words(matches).is_empty() {
            return Err(Fail::args("role list command requires no arguments"));
        }
        let response = self.ask(AuthRequest::RoleList).await?;
        let AuthAnswer::Names(names) = &response.body else { return Err(Fail::odd()) };
        let simple = names.iter().map(|name| format!("{name}\n")).collect();
        let mut fields = fields_header(&response.header) + "\"Roles\" :";
        for name in names {
            let _ = write!(fields, " {}", quote(name.as_bytes()));
        }
        fields.push('\n');
        self.show_answer(simple, Ok(fields), json::auth_names(&response, "roles"), &response)
    }

    pub(super) async fn role_get(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let [role] = one(matches, "role get command requires role name as its argument")?;
        self.show_role(role).await
    }

    async fn show_role(&mut self, role: String) -> Result<(), Fail> {
        let response = self.ask(AuthRequest::RoleGet { role: role.clone() }).await?;
        let AuthAnswer::Permissions(permissions) = &response.body else { return Err(Fail::odd()) };
        let mut fields = fields_header(&response.header);
        for Permission { access, range } in permissions {
            let access = access_name(*access);
            let (key, end) = (quote(&range.key), quote(&range.end));
            let _ = write!(fields, "\"PermType\" :  {access}\n\"Key\" : {key}\n\"RangeEnd\" : {end}\n");
        }
        let json = json::permissions(&response.header, permissions);
        self.show_answer(role_text(&role, permissions), Ok(fields), json, &response)
    }

    pub(super) async fn role_grant_permission(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let [role, access, keys @ ..] = words.as_slice() else {
            return Err(Fail::args(GRANT_WORDS));
        };
        if keys.is_empty() {
            return Err(Fail::args(GRANT_WORDS));
        }
        let access = match text(access).to_lowercase().as_str() {
            "read" => Access::Read,
            "write" => Access::Write,
            "readwrite" => Access::ReadWrite,
            _ => return Err(Fail::args(format!("invalid permission type: {}", text(access)))),
        };
        let (range, _) = permission_range(matches, keys)?;
        let role = text(role);
        let done = format!("Role {role} updated");
        let permission = Some(Permission { access, range });
        self.change(AuthRequest::RoleGrantPermission { role, permission }, done).await
    }

    pub(super) async fn role_revoke_permission(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let [role, keys @ ..] = words.as_slice() else { return Err(Fail::args(REVOKE_WORDS)) };
        if keys.is_empty() {
            return Err(Fail::args(REVOKE_WORDS));
        }
        let (range, given) = permission_range(matches, keys)?;
        let (role, key) = (text(role), text(&given));
        let done = if range.end.is_empty() {
            format!("Permission of key {key} is revoked from role {role}")
        } else if range.end == OPEN {
            format!("Permission of range [{key}, <open ended> is revoked from role {role}")
        } else {
            format!("Permission of range [{key}, {}) is revoked from role {role}", text(&range.end))
        };
        self.change(AuthRequest::RoleRevokePermission { role, range }, done).await
    }
}

const GRANT_WORDS: &str =
    "role grant command requires role name, permission type, and key [endkey] as its argument";
const REVOKE_WORDS: &str =
    "role revoke-permission command requires role name and key [endkey] as its argument";

fn unsupported(format: &str) -> Fail {
    Fail::new(code::BAD_FEATURE, format!("{format} not supported as output format"))
}

/// Exactly so many words.
fn one<const N: usize>(matches: &ArgMatches, wrong: &str) -> Result<[String; N], Fail> {
    let words: Vec<String> = words(matches).iter().map(|word| text(word)).collect();
    words.try_into().map_err(|_| Fail::args(wrong))
}

/// The range of a permission, and its key as it was given.
fn permission_range(matches: &ArgMatches, keys: &[Vec<u8>]) -> Result<(KeyRange, Vec<u8>), Fail> {
    let (prefix, from_key) = (matches.get_flag("prefix"), matches.get_flag("from-key"));
    if prefix && from_key {
        return Err(Fail::args("--from-key and --prefix flags are mutually exclusive"));
    }
    let given = keys[0].clone();
    let key = Bytes::from(given.clone());
    let range = match (prefix, from_key, keys.get(1)) {
        (true, _, Some(_)) => return Err(Fail::args("unexpected endkey argument with --prefix flag")),
        (_, true, Some(_)) => return Err(Fail::args("unexpected endkey argument with --from-key flag")),
        (true, _, None) => KeyRange::prefix(key),
        (_, true, None) => {
            let key = if key.is_empty() { Bytes::from_static(OPEN) } else { key };
            KeyRange { key, end: Bytes::from_static(OPEN) }
        }
        (false, false, end) => KeyRange { key, end: end.cloned().unwrap_or_default().into() },
    };
    Ok((range, given))
}

fn access_name(access: Access) -> &'static str {
    match access {
        Access::Read => "READ",
        Access::Write => "WRITE",
        Access::ReadWrite => "READWRITE",
    }
}

fn role_text(role: &str, permissions: &[Permission]) -> String {
    let mut out = format!("Role {role}\n");
    let kinds = [("KV Read", Access::reads as Kind), ("KV Write", Access::writes)];
    for (title, has) in kinds {
        let _ = writeln!(out, "{title}:");
        for permission in permissions.iter().filter(|permission| has(permission.access)) {
            let range = &permission.range;
            let (key, end) = (text(&range.key), text(&range.end));
            let _ = if range.end.is_empty() {
                writeln!(out, "\t{key}")
            } else if range.end == OPEN {
                writeln!(out, "\t[{key}, <open ended>")
            } else if !key.is_empty() && KeyRange::prefix(range.key.clone()).end == range.end {
                writeln!(out, "\t[{key}, {end}) (prefix {key})")
            } else {
                writeln!(out, "\t[{key}, {end})")
            };
        }
    }
    out
}

/// While this lives, the terminal shows nothing of what is typed. Without a terminal it does nothing.
pub(crate) struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    pub(crate) fn begin() -> Self {
        let input = std::io::stdin();
        if !input.is_terminal() {
            return Self(None);
        }
        let Ok(before) = rustix::termios::tcgetattr(&input) else { return Self(None) };
        let mut quiet = before.clone();
        quiet.local_modes.remove(rustix::termios::LocalModes::ECHO);
        let set = rustix::termios::tcsetattr(&input, rustix::termios::OptionalActions::Now, &quiet);
        Self(set.is_ok().then_some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let input = std::io::stdin();
            let _ = rustix::termios::tcsetattr(&input, rustix::termios::OptionalActions::Now, before);
        }
    }
}
