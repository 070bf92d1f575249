//! The `[Service]` section.

use crate::command::{self, Command};
use crate::config::{
    EnvironmentFile, KillMode, Limit, NotifyAccess, Restart, ServiceConfig, ServiceType, WorkingDirectory,
};
use crate::definition::Place;
use crate::environment::{assignment, is_name};
use crate::error::{UnitError, Warning};
use crate::name::UnitName;
use crate::signal::{Signal, StatusSet};
use crate::words;

/// Limits, and whether they count bytes, seconds, microseconds or things.
const LIMITS: &[(&str, Scale)] = &[
    ("CPU", Scale::Seconds),
    ("FSIZE", Scale::Bytes),
    ("DATA", Scale::Bytes),
    ("STACK", Scale::Bytes),
    ("CORE", Scale::Bytes),
    ("RSS", Scale::Bytes),
    ("NOFILE", Scale::Things),
    ("AS", Scale::Bytes),
    ("NPROC", Scale::Things),
    ("MEMLOCK", Scale::Bytes),
    ("LOCKS", Scale::Things),
    ("SIGPENDING", Scale::Things),
    ("MSGQUEUE", Scale::Bytes),
    ("NICE", Scale::Things),
    ("RTPRIO", Scale::Things),
    ("RTTIME", Scale::Microseconds),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Bytes,
    Seconds,
    Microseconds,
    Things,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    config: ServiceConfig,
    kind: Option<ServiceType>,
    timeout_start_given: bool,
    notify_access_given: bool,
}

/// The start limit stands in `[Unit]` today and stood in `[Service]` once.
pub(crate) fn read_start_limit(reader: &mut Reader, place: &Place<'_>) -> Result<bool, UnitError> {
    match place.option {
        "StartLimitIntervalSec" | "StartLimitInterval" => {
            let span = place.span()?;
            // Infinity: whoever failed so often is never started by itself again; a thousand years will do.
            reader.config.start_limit_interval =
                span.unwrap_or(std::time::Duration::from_secs(1000 * 365 * 86_400));
        }
        "StartLimitBurst" => reader.config.start_limit_burst = place.number("a number from 0")?,
        _ => return Ok(false),
    }
    Ok(true)
}

impl Reader {
    /// Takes one option; false where it is none of ours.
    pub(crate) fn read(&mut self, place: &Place<'_>, warnings: &mut Vec<Warning>) -> Result<bool, UnitError> {
        Ok(self.read_commands(place, warnings)?
            || read_start_limit(self, place)?
            || self.read_lifecycle(place)?
            || self.read_kill(place)?
            || self.read_exec(place, warnings)?)
    }

    fn read_commands(&mut self, place: &Place<'_>, warnings: &mut Vec<Warning>) -> Result<bool, UnitError> {
        let commands = &mut self.config.commands;
        let list: &mut Vec<Command> = match place.option {
            "ExecCondition" => &mut commands.condition,
            "ExecStartPre" => &mut commands.start_pre,
            "ExecStart" => &mut commands.start,
            "ExecStartPost" => &mut commands.start_post,
            "ExecReload" => &mut commands.reload,
            "ExecStop" => &mut commands.stop,
            "ExecStopPost" => &mut commands.stop_post,
            _ => return Ok(false),
        };
        if place.value.is_empty() {
            list.clear();
            return Ok(true);
        }
        let found = command::parse(place.option, place.value, place.name, place.machine, warnings)
            .map_err(|(reason, hint)| place.wrong(reason, hint))?;
        list.extend(found);
        Ok(true)
    }

    fn read_lifecycle(&mut self, place: &Place<'_>) -> Result<bool, UnitError> {
        let config = &mut self.config;
        match place.option {
            "Type" => {
                self.kind = Some(match place.value {
                    "dbus" => {
                        let hint = "use Type=notify, or Type=exec where the program cannot tell";
                        return Err(place.not_here("there is no D-Bus here to wait for", hint));
                    }
                    "notify-reload" => {
                        let hint = "use Type=notify with ExecReload=";
                        return Err(place.not_here("this type is not handled here", hint));
                    }
                    _ => place.word(ServiceType::parse, ServiceType::ALL, ServiceType::as_str)?,
                });
            }
            "Restart" => config.restart = place.word(Restart::parse, Restart::ALL, Restart::as_str)?,
            "RestartSec" => {
                config.restart_delay = place
                    .span()?
                    .ok_or_else(|| place.wrong("it would never be restarted", "use Restart=no instead"))?;
            }
            "RestartSteps" => config.restart_steps = place.number("a number from 0")?,
            "RestartMaxDelaySec" => config.restart_delay_max = place.span()?,
            "RestartPreventExitStatus" => add_status(&mut config.restart_prevent, place)?,
            "RestartForceExitStatus" => add_status(&mut config.restart_force, place)?,
            "SuccessExitStatus" => add_status(&mut config.success, place)?,
            "TimeoutStartSec" => {
                config.timeout_start = place.limit()?;
                self.timeout_start_given = true;
            }
            "TimeoutStopSec" => config.timeout_stop = place.limit()?,
            "TimeoutSec" => {
                config.timeout_start = place.limit()?;
                config.timeout_stop = config.timeout_start;
                self.timeout_start_given = true;
            }
            "TimeoutAbortSec" => {
                config.timeout_abort = if place.value.is_empty() { None } else { Some(place.limit()?) }
            }
            "RuntimeMaxSec" => config.runtime_max = place.limit()?,
            "WatchdogSec" => config.watchdog = place.limit()?,
            "RemainAfterExit" => config.remain_after_exit = place.boolean()?,
            "GuessMainPID" => config.guess_main_pid = place.boolean()?,
            "PIDFile" => {
                let path = place.expanded(place.value)?;
                config.pid_file = match path.as_str() {
                    "" => None,
                    path if path.starts_with('/') => Some(path.to_owned()),
                    // As in systemd, a relative path is one below the runtime folder.
                    path => Some(format!("{}/{path}", place.machine.runtime_folder)),
                };
            }
            "NotifyAccess" => {
                config.notify_access =
                    place.word(NotifyAccess::parse, NotifyAccess::ALL, NotifyAccess::as_str)?;
                self.notify_access_given = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_kill(&mut self, place: &Place<'_>) -> Result<bool, UnitError> {
        let kill = &mut self.config.kill;
        let signal = || {
            Signal::parse(place.value).ok_or_else(|| {
                place.wrong("there is no such signal", "write a name like SIGINT, or a number")
            })
        };
        match place.option {
            "KillMode" => kill.mode = place.word(KillMode::parse, KillMode::ALL, KillMode::as_str)?,
            "KillSignal" => kill.signal = signal()?,
            "RestartKillSignal" => {
                kill.restart_signal = if place.value.is_empty() { None } else { Some(signal()?) };
            }
            "FinalKillSignal" => kill.final_signal = signal()?,
            "WatchdogSignal" => kill.watchdog_signal = signal()?,
            "SendSIGKILL" => kill.send_sigkill = place.boolean()?,
            "SendSIGHUP" => kill.send_sighup = place.boolean()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_exec(&mut self, place: &Place<'_>, warnings: &mut Vec<Warning>) -> Result<bool, UnitError> {
        let exec = &mut self.config.exec;
        let text = || Ok(Some(place.expanded(place.value)?).filter(|text| !text.is_empty()));
        match place.option {
            "WorkingDirectory" => exec.working_directory = working_directory(place)?,
            "User" => exec.user = text()?,
            "Group" => exec.group = text()?,
            "UMask" => {
                let mask = u32::from_str_radix(place.value, 8).ok().filter(|mask| *mask <= 0o777);
                exec.umask =
                    mask.ok_or_else(|| place.wrong("this is no file mode", "write octal, like 0022"))?;
            }
            "Nice" => {
                let nice =
                    place.number("a number from -20 to 19").ok().filter(|nice| (-20..=19).contains(nice));
                exec.nice =
                    Some(nice.ok_or_else(|| place.wrong("out of range", "write a number from -20 to 19"))?);
            }
            "OOMScoreAdjust" => {
                let hint = "a number from -1000 to 1000";
                let adjust: i16 = place.number(hint)?;
                if !(-1000..=1000).contains(&adjust) {
                    return Err(place.wrong("out of range", format!("write {hint}")));
                }
                exec.oom_score_adjust = Some(adjust);
            }
            "Environment" => {
                if place.value.is_empty() {
                    exec.environment.clear();
                }
                for word in split(place, warnings)? {
                    let word = place.expanded(&word)?;
                    match assignment(&word) {
                        Some(found) => exec.environment.push(found),
                        None => warnings.push(Warning::Skipped {
                            option: place.option.to_owned(),
                            value: word,
                            reason: "it is no assignment NAME=value".to_owned(),
                        }),
                    }
                }
            }
            "EnvironmentFile" => {
                if place.value.is_empty() {
                    exec.environment_files.clear();
                    return Ok(true);
                }
                let optional = place.value.starts_with('-');
                let path = place.expanded(place.value.strip_prefix('-').unwrap_or(place.value))?;
                if !path.starts_with('/') {
                    return Err(place.wrong("the path is not absolute", "write the whole path from `/`"));
                }
                if path.contains(['*', '?', '[']) {
                    return Err(place
                        .not_here("patterns are not handled here", "name each file on a line of its own"));
                }
                exec.environment_files.push(EnvironmentFile { path, optional });
            }
            "PassEnvironment" => {
                if place.value.is_empty() {
                    exec.pass_environment.clear();
                }
                for word in split(place, warnings)? {
                    if is_name(&word) {
                        exec.pass_environment.push(word);
                    } else {
                        let reason = "it is no name of a variable".to_owned();
                        warnings.push(Warning::Skipped {
                            option: place.option.to_owned(),
                            value: word,
                            reason,
                        });
                    }
                }
            }
            "UnsetEnvironment" => {
                if place.value.is_empty() {
                    exec.unset_environment.clear();
                }
                exec.unset_environment.extend(split(place, warnings)?);
            }
            "StandardOutput" => exec.standard_output = text()?,
            "StandardError" => exec.standard_error = text()?,
            "SyslogIdentifier" => exec.syslog_identifier = text()?,
            option => {
                let Some(name) = option.strip_prefix("Limit") else { return Ok(false) };
                let Some((_, scale)) = LIMITS.iter().find(|(known, _)| *known == name) else {
                    return Ok(false);
                };
                if place.value.is_empty() {
                    exec.limits.remove(name);
                    return Ok(true);
                }
                exec.limits.insert(name.to_owned(), limit(place, *scale)?);
            }
        }
        Ok(true)
    }

    /// Fills in what depends on other options, and refuses what does not go together.
    pub(crate) fn finish(mut self, name: &UnitName) -> Result<ServiceConfig, UnitError> {
        let config = &mut self.config;
        let wrong = |reason: &str, hint: &str| UnitError::Incomplete {
            unit: name.to_string(),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        };
        let (start, stop) = (config.commands.start.len(), config.commands.stop.len());
        // Without a command to start there is nothing to watch: systemd takes the type to be oneshot.
        config.kind =
            self.kind.unwrap_or(if start == 0 { ServiceType::Oneshot } else { ServiceType::Simple });
        if start == 0 && stop == 0 {
            return Err(wrong(
                "there is neither ExecStart= nor ExecStop=",
                "say in [Service] what is to be run",
            ));
        }
        if start == 0 && config.kind != ServiceType::Oneshot {
            return Err(wrong("there is no ExecStart=", "only Type=oneshot can do without"));
        }
        if start == 0 && !config.remain_after_exit {
            return Err(wrong("there is no ExecStart=", "only RemainAfterExit=yes can do without"));
        }
        if start > 1 && config.kind != ServiceType::Oneshot {
            return Err(wrong("there is more than one ExecStart=", "use Type=oneshot, or ExecStartPre="));
        }
        if config.kind == ServiceType::Oneshot
            && matches!(config.restart, Restart::Always | Restart::OnSuccess)
        {
            let reason = format!("Restart={} is not allowed with Type=oneshot", config.restart);
            return Err(wrong(&reason, "use Restart=on-failure, or a timer"));
        }
        if config.kind == ServiceType::Oneshot && !self.timeout_start_given {
            config.timeout_start = None;
        }
        if !self.notify_access_given && (config.kind == ServiceType::Notify || config.watchdog.is_some()) {
            config.notify_access = NotifyAccess::Main;
        }
        if config.kind == ServiceType::Notify && config.notify_access == NotifyAccess::None {
            return Err(wrong(
                "Type=notify with NotifyAccess=none could never start",
                "use NotifyAccess=main",
            ));
        }
        Ok(self.config)
    }
}

fn add_status(set: &mut StatusSet, place: &Place<'_>) -> Result<(), UnitError> {
    set.add(place.value).map_err(|word| {
        place.wrong(format!("`{word}` is no exit status and no signal"), "write 1, TEMPFAIL or SIGKILL")
    })
}

fn split(place: &Place<'_>, warnings: &mut Vec<Warning>) -> Result<Vec<String>, UnitError> {
    let (found, unknown) =
        words::split(place.value).map_err(|e| place.wrong(e.text(), "see systemd.syntax(7) on quoting"))?;
    let option = place.option;
    warnings.extend(
        unknown.into_iter().map(|escape| Warning::UnknownEscape { option: option.to_owned(), escape }),
    );
    Ok(found)
}

fn working_directory(place: &Place<'_>) -> Result<Option<WorkingDirectory>, UnitError> {
    let optional = place.value.starts_with('-');
    let path = place.expanded(place.value.strip_prefix('-').unwrap_or(place.value))?;
    match path.as_str() {
        "" => Ok(None),
        "~" => Ok(Some(WorkingDirectory { path, optional })),
        absolute if absolute.starts_with('/') => Ok(Some(WorkingDirectory { path, optional })),
        _ => Err(place.wrong("the path is not absolute", "write the whole path from `/`, or ~")),
    }
}

fn limit(place: &Place<'_>, scale: Scale) -> Result<Limit, UnitError> {
    let one = |text: &str| -> Result<Option<u64>, UnitError> {
        let wrong = || place.wrong("this is no limit", "write a number, soft:hard, or infinity");
        let text = text.trim();
        if text == "infinity" {
            return Ok(None);
        }
        if let Ok(number) = text.parse() {
            return Ok(Some(number));
        }
        let scaled = match scale {
            Scale::Things => None,
            Scale::Bytes => {
                let last = text.chars().last().ok_or_else(wrong)?;
                let power = "KMGTPE".find(last.to_ascii_uppercase()).ok_or_else(wrong)?;
                let number: u64 = text[..text.len() - last.len_utf8()].trim().parse().map_err(|_| wrong())?;
                let factor = 1024_u64.pow(u32::try_from(power).expect("six letters") + 1);
                number.checked_mul(factor)
            }
            Scale::Seconds | Scale::Microseconds => {
                let span = crate::span::parse_span(text).map_err(|_| wrong())?.ok_or_else(wrong)?;
                let number =
                    if scale == Scale::Seconds { u128::from(span.as_secs()) } else { span.as_micros() };
                u64::try_from(number).ok()
            }
        };
        scaled.map(Some).ok_or_else(wrong)
    };
    let (soft, hard) = match place.value.split_once(':') {
        Some((soft, hard)) => (one(soft)?, one(hard)?),
        None => {
            let both = one(place.value)?;
            (both, both)
        }
    };
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err(place.wrong("the soft limit is above the hard one", "write soft:hard"));
    }
    Ok(Limit { soft, hard })
}
