//! A fleet as its HTTP interface shows it.

use super::dial::{self, Connection, Credentials, Place};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use seatrial_fleet::unit::{MachineId, Requirements, UnitFile, UnitName, UnitOption};
use seatrial_world::timeout;
use seatrial_world_real::RealWorld;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UnitView {
    /// Empty for a global unit.
    pub(super) current_state: String,
    pub(super) desired_state: String,
    #[serde(rename = "machineID")]
    pub(super) machine_id: String,
    pub(super) name: String,
    options: Vec<OptionView>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct OptionView {
    section: String,
    name: String,
    value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StateView {
    pub(super) hash: String,
    #[serde(rename = "machineID")]
    pub(super) machine_id: String,
    pub(super) name: String,
    pub(super) systemd_active_state: String,
    pub(super) systemd_load_state: String,
    pub(super) systemd_sub_state: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct MachineView {
    pub(super) id: String,
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(rename = "primaryIP")]
    pub(super) primary_ip: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PlanView {
    pub(super) decisions: Vec<DecisionView>,
    pub(super) waiting: Vec<WaitingView>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DecisionView {
    pub(super) unit: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) why: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WaitingView {
    pub(super) unit: String,
    pub(super) reason: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Page {
    units: Vec<UnitView>,
    states: Vec<StateView>,
    machines: Vec<MachineView>,
    next_page_token: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnitBody<'a> {
    name: &'a str,
    desired_state: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<OptionView>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorEntity,
}

#[derive(Deserialize)]
struct ErrorEntity {
    message: String,
}

impl UnitView {
    pub(super) fn file(&self) -> UnitFile {
        let options = self.options.iter().cloned();
        let options = options.map(|OptionView { section, name, value }| UnitOption { section, name, value });
        // One that cannot be written down is shown empty rather than not at all.
        UnitFile::from_options(options.collect()).unwrap_or_default()
    }

    pub(super) fn is_global(&self) -> bool {
        let Ok(name) = UnitName::parse(&self.name) else { return false };
        Requirements::of(&name, &self.file()).is_ok_and(|asks| asks.is_global)
    }
}

impl MachineView {
    /// `113f16a7.../10.0.0.1`, the whole id where it is wanted.
    pub(super) fn legend(id: &str, machines: &[Self], is_full: bool) -> String {
        if id.is_empty() {
            return "-".to_owned();
        }
        let shown = shown(id, is_full);
        match machines.iter().find(|machine| machine.id == id) {
            Some(machine) if !machine.primary_ip.is_empty() => format!("{shown}/{}", machine.primary_ip),
            _ => shown,
        }
    }
}

/// An id as people are shown it.
pub(super) fn shown(id: &str, is_full: bool) -> String {
    match MachineId::parse(id) {
        Ok(parsed) if !is_full => format!("{}...", parsed.short()),
        _ => id.to_owned(),
    }
}

/// Percent-encoding for a part of a path or a query.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' | b':' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A client of one fleetd.
pub(super) struct Fleet {
    pub(super) world: RealWorld,
    pub(super) place: Place,
    pub(super) credentials: Credentials,
    /// As it was given, for messages.
    pub(super) endpoint: String,
    pub(super) timeout: Duration,
    pub(super) connection: Option<Connection>,
}

impl Fleet {
    fn unreachable(&self, why: impl std::fmt::Display) -> String {
        format!(
            "Error: {}: {why}\nhint: is fleetd there? --endpoint or FLEETCTL_ENDPOINT says where it is heard",
            self.endpoint
        )
    }

    async fn send(&mut self, method: &str, path: &str, body: &Bytes) -> Result<Response<Incoming>, String> {
        let path = format!("/fleet/v1/{path}");
        // A connection that was kept may have been closed meanwhile; what was not sent is sent on another one.
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
        {
            let request = dial::request(&self.place, &self.credentials, method, &path, body.clone())?;
            let answer = kept.send_request(request).await.map_err(|error| error.to_string())?;
            self.connection = Some(kept);
            return Ok(answer);
        }
        let request = dial::request(&self.place, &self.credentials, method, &path, body.clone())?;
        let mut new = dial::connect(&self.world, &self.place, &self.credentials).await?;
        let answer = new.send_request(request).await.map_err(|error| error.to_string())?;
        self.connection = Some(new);
        Ok(answer)
    }

    async fn ask(&mut self, method: &str, path: &str, body: Bytes) -> Result<(u16, Bytes), String> {
        let (world, limit) = (self.world.clone(), self.timeout);
        let asked = async {
            let answer = self.send(method, path, &body).await?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((status, body.to_bytes()))
        };
        match timeout(&world, limit, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(why)) => Err(self.unreachable(why)),
            Err(elapsed) => Err(self.unreachable(elapsed)),
        }
    }

    /// What an answer that is none says.
    fn refused(status: u16, body: &[u8]) -> String {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(ErrorBody { error }) => format!("Error: {}", error.message),
            Err(_) => format!("Error: HTTP status {status}"),
        }
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<Option<T>, String> {
        let (status, body) = self.ask("GET", path, Bytes::new()).await?;
        match status {
            200 => serde_json::from_slice(&body).map(Some).map_err(|error| self.unreachable(error)),
            404 => Ok(None),
            _ => Err(Self::refused(status, &body)),
        }
    }

    async fn pages(&mut self, path: &str, mut take: impl FnMut(Page)) -> Result<(), String> {
        let mut token = String::new();
        loop {
            let path = match token.as_str() {
                "" => path.to_owned(),
                token => format!("{path}?nextPageToken={}", encode(token)),
            };
            let mut page: Page = self.get(&path).await?.unwrap_or_default();
            token = std::mem::take(&mut page.next_page_token);
            take(page);
            if token.is_empty() {
                return Ok(());
            }
        }
    }

    pub(super) async fn units(&mut self) -> Result<Vec<UnitView>, String> {
        let mut all = Vec::new();
        self.pages("units", |page| all.extend(page.units)).await?;
        Ok(all)
    }

    pub(super) async fn states(&mut self) -> Result<Vec<StateView>, String> {
        let mut all = Vec::new();
        self.pages("state", |page| all.extend(page.states)).await?;
        Ok(all)
    }

    pub(super) async fn machines(&mut self) -> Result<Vec<MachineView>, String> {
        let mut all = Vec::new();
        self.pages("machines", |page| all.extend(page.machines)).await?;
        Ok(all)
    }

    pub(super) async fn unit(&mut self, name: &str) -> Result<Option<UnitView>, String> {
        self.get(&format!("units/{}", encode(name))).await
    }

    pub(super) async fn plan(&mut self) -> Result<PlanView, String> {
        Ok(self.get("plan").await?.unwrap_or_default())
    }

    /// Creates a unit, gives it another file, or says what it is to be.
    pub(super) async fn put(
        &mut self,
        name: &str,
        desired_state: &str,
        file: Option<&UnitFile>,
    ) -> Result<(), String> {
        let options = file.map_or(&[][..], UnitFile::options).iter().cloned();
        let options = options.map(|UnitOption { section, name, value }| OptionView { section, name, value });
        let body = UnitBody { name, desired_state, options: options.collect() };
        let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
        let (status, body) = self.ask("PUT", &format!("units/{}", encode(name)), body.into()).await?;
        if status < 300 { Ok(()) } else { Err(Self::refused(status, &body)) }
    }

    /// False where there is none.
    pub(super) async fn delete(&mut self, name: &str) -> Result<bool, String> {
        let (status, body) = self.ask("DELETE", &format!("units/{}", encode(name)), Bytes::new()).await?;
        match status {
            404 => Ok(false),
            200..300 => Ok(true),
            _ => Err(Self::refused(status, &body)),
        }
    }

    pub(super) async fn status<T: DeserializeOwned>(
        &mut self,
        name: &str,
        machine: &str,
        lines: usize,
    ) -> Result<T, String> {
        let machine = encode(machine);
        let path = format!("status/{}?lines={lines}&machine={machine}", encode(name));
        let (status, body) = self.ask("GET", &path, Bytes::new()).await?;
        if status != 200 {
            return Err(Self::refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| self.unreachable(error))
    }

    /// A unit's log, piece by piece.
    pub(super) async fn logs(
        &mut self,
        name: &str,
        machine: &str,
        lines: usize,
        follow: bool,
        mut take: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let (name, machine) = (encode(name), encode(machine));
        let path = format!("logs/{name}?lines={lines}&machine={machine}&follow={}", u8::from(follow));
        let answer = self.send("GET", &path, &Bytes::new()).await;
        let answer = answer.map_err(|why| self.unreachable(why))?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        if status != 200 {
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            return Err(Self::refused(status, &body));
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("Error: the log broke off: {error}"))?;
            if let Ok(data) = frame.into_data() {
                take(&data)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_shown_short_with_its_address() {
        let id = "113f16a7dcd54a5f8ebdf34e7a3a1a6a".to_owned();
        let with =
            |ip: &str| [MachineView { id: id.clone(), primary_ip: ip.into(), ..MachineView::default() }];
        assert_eq!(MachineView::legend(&id, &with("10.0.0.1"), false), "113f16a7.../10.0.0.1");
        assert_eq!(MachineView::legend(&id, &with(""), false), "113f16a7...");
        assert_eq!(MachineView::legend(&id, &with("10.0.0.1"), true), format!("{id}/10.0.0.1"));
        assert_eq!(MachineView::legend("", &[], true), "-");
    }

    #[test]
    fn what_a_path_cannot_carry_is_encoded() {
        assert_eq!(encode("web@1.service"), "web@1.service");
        assert_eq!(encode("ZAABAA=="), "ZAABAA%3D%3D");
        assert_eq!(encode("a b/c"), "a%20b%2Fc");
    }
}
