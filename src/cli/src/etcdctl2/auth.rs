//! Users, roles, and whether they count.

use super::flags::Given;
use super::{Fail, Session};
use seatrial_wire::{V2Client, V2ClientError, V2Paths, V2Permissions, V2Role, V2UserOrder};
use seatrial_world_real::RealWorld;

fn said(error: &V2ClientError) -> Fail {
    Fail::plain(error.to_string())
}

fn one<'a>(given: &'a Given, else_say: &str) -> Result<&'a str, Fail> {
    match given.rest.as_slice() {
        [one] => Ok(one),
        _ => Err(Fail::plain(else_say)),
    }
}

fn none(given: &Given) -> Result<(), Fail> {
    if given.rest.is_empty() { Ok(()) } else { Err(Fail::plain("No arguments accepted")) }
}

const USERNAME: &str = "Please provide a username";
const ROLE: &str = "Please provide a role name";

/// What a role may read or write from now on, or no longer.
fn paths(given: &Given) -> Result<V2Permissions, Fail> {
    let path = given.text("path");
    if path.is_empty() {
        return Err(Fail::plain("No path specified; please use `--path`"));
    }
    let [read, write, both] = ["read", "write", "readwrite"].map(|name| given.switch(name));
    if u8::from(read) + u8::from(write) + u8::from(both) != 1 {
        return Err(Fail::plain("Please specify exactly one of --read, --write or --readwrite"));
    }
    let when = |wanted: bool| wanted.then(|| vec![path.to_owned()]);
    Ok(V2Permissions { kv: V2Paths { read: when(read || both), write: when(write || both) } })
}

fn printed(paths: Option<&Vec<String>>) -> String {
    paths.into_iter().flatten().map(|path| format!("\t{path}\n")).collect()
}

impl Session<'_> {
    async fn auth_client(&mut self) -> Result<V2Client<RealWorld>, Fail> {
        self.client().await
    }

    pub(super) async fn user_add(&mut self, given: &Given) -> Result<(), Fail> {
        let said_name = one(given, USERNAME)?.to_owned();
        let client = self.auth_client().await?;
        let (user, password) = match said_name.split_once(':') {
            Some((user, password)) => (user.to_owned(), password.to_owned()),
            None => {
                let password = self.new_password()?;
                (said_name, password)
            }
        };
        let password = Some(password).filter(|password| !password.is_empty());
        let order = V2UserOrder { user: user.clone(), password, ..V2UserOrder::default() };
        client.user_put(&order).await.map_err(|error| said(&error))?;
        self.say(&format!("User {user} created\n"))
    }

    fn new_password(&mut self) -> Result<String, Fail> {
        self.say("New password: ")?;
        let password = self.password();
        self.say("\n")?;
        Ok(password)
    }

    pub(super) async fn user_get(&mut self, given: &Given) -> Result<(), Fail> {
        let name = one(given, USERNAME)?.to_owned();
        let user = self.auth_client().await?.user(&name).await.map_err(|error| said(&error))?;
        let roles: Vec<String> = user.roles.unwrap_or_default().into_iter().map(|role| role.role).collect();
        let roles = if roles.is_empty() { String::new() } else { format!(" {}", roles.join(" ")) };
        self.say(&format!("User: {}\nRoles: {roles}\n", user.user))
    }

    pub(super) async fn user_list(&mut self, given: &Given) -> Result<(), Fail> {
        none(given)?;
        let users = self.auth_client().await?.users().await.map_err(|error| said(&error))?;
        self.say(&users.iter().map(|user| format!("{user}\n")).collect::<String>())
    }

    pub(super) async fn user_remove(&mut self, given: &Given) -> Result<(), Fail> {
        let name = one(given, USERNAME)?.to_owned();
        self.auth_client().await?.user_remove(&name).await.map_err(|error| said(&error))?;
        self.say(&format!("User {name} removed\n"))
    }

    pub(super) async fn user_grant(&mut self, given: &Given, grant: bool) -> Result<(), Fail> {
        let user = one(given, USERNAME)?.to_owned();
        if given.text("roles").is_empty() {
            return Err(Fail::plain("No roles specified; please use `--roles`"));
        }
        // One role, though commas be in its name: so does the real one.
        let roles = Some(vec![given.text("roles").to_owned()]);
        let (grant, revoke) = if grant { (roles, None) } else { (None, roles) };
        let order = V2UserOrder { user: user.clone(), grant, revoke, ..V2UserOrder::default() };
        self.auth_client().await?.user_put(&order).await.map_err(|error| said(&error))?;
        self.say(&format!("User {user} updated\n"))
    }

    pub(super) async fn user_passwd(&mut self, given: &Given) -> Result<(), Fail> {
        let user = one(given, USERNAME)?.to_owned();
        let client = self.auth_client().await?;
        let password = Some(self.new_password()?);
        let order = V2UserOrder { user, password, ..V2UserOrder::default() };
        client.user_put(&order).await.map_err(|error| said(&error))?;
        self.say("Password updated\n")
    }

    pub(super) async fn role_add(&mut self, given: &Given) -> Result<(), Fail> {
        let role = one(given, ROLE)?.to_owned();
        let client = self.auth_client().await?;
        if client.role(&role).await.is_ok() {
            return Err(Fail::plain(format!("Role {role} already exists")));
        }
        let order = V2Role { role: role.clone(), ..V2Role::default() };
        client.role_put(&order).await.map_err(|error| said(&error))?;
        self.say(&format!("Role {role} created\n"))
    }

    pub(super) async fn role_get(&mut self, given: &Given) -> Result<(), Fail> {
        let name = one(given, ROLE)?.to_owned();
        let role = self.auth_client().await?.role(&name).await.map_err(|error| said(&error))?;
        let V2Paths { read, write } = &role.permissions.kv;
        let (read, write) = (printed(read.as_ref()), printed(write.as_ref()));
        self.say(&format!("Role: {}\nKV Read:\n{read}KV Write:\n{write}", role.role))
    }

    pub(super) async fn role_list(&mut self, given: &Given) -> Result<(), Fail> {
        none(given)?;
        let roles = self.auth_client().await?.roles().await.map_err(|error| match error {
            // The real one does not read why.
            V2ClientError::Status { status, .. } => Fail::plain(format!("unexpected status code {status}")),
            error => said(&error),
        })?;
        self.say(&roles.iter().map(|role| format!("{role}\n")).collect::<String>())
    }

    pub(super) async fn role_remove(&mut self, given: &Given) -> Result<(), Fail> {
        let name = one(given, ROLE)?.to_owned();
        self.auth_client().await?.role_remove(&name).await.map_err(|error| said(&error))?;
        self.say(&format!("Role {name} removed\n"))
    }

    pub(super) async fn role_grant(&mut self, given: &Given, grant: bool) -> Result<(), Fail> {
        let role = one(given, ROLE)?.to_owned();
        let paths = Some(paths(given)?);
        let client = self.auth_client().await?;
        // So that one that is missing is named.
        client.role(&role).await.map_err(|error| said(&error))?;
        let (grant, revoke) = if grant { (paths, None) } else { (None, paths) };
        let order = V2Role { role: role.clone(), grant, revoke, ..V2Role::default() };
        client.role_put(&order).await.map_err(|error| said(&error))?;
        self.say(&format!("Role {role} updated\n"))
    }

    pub(super) async fn auth_switch(&mut self, given: &Given, enable: bool) -> Result<(), Fail> {
        none(given)?;
        let client = self.auth_client().await?;
        let done = if enable { client.auth_enable().await } else { client.auth_disable().await };
        done.map_err(|error| said(&error))?;
        self.say(if enable { "Authentication Enabled\n" } else { "Authentication Disabled\n" })
    }
}
