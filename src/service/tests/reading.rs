//! `[Service]` as it is read: options, defaults, warnings, and what is refused.

use seatrial_service::{
    KillMode, Kind, Limit, Machine, NotifyAccess, Restart, ServiceConfig, ServiceType, Signal, Warning, load,
};
use std::sync::Arc;
use std::time::Duration;

fn read(text: &str) -> Result<(Arc<ServiceConfig>, Vec<Warning>), String> {
    let triples = text.lines().map(|line| {
        let (left, value) = line.split_once('=').expect("an assignment");
        left.split_once('.').map_or(("Service", left, value), |(section, option)| (section, option, value))
    });
    let loaded = load("web@7.service", triples, &Machine::default()).map_err(|error| error.to_string())?;
    match loaded.definition.kind {
        Kind::Service(config) => Ok((config, loaded.warnings)),
        other => panic!("{other:?}"),
    }
}

fn good(text: &str) -> ServiceConfig {
    let (config, warnings) = read(text).expect("a good unit");
    assert_eq!(warnings, []);
    Arc::unwrap_or_clone(config)
}

#[test]
fn defaults_are_those_of_systemd() {
    let config = good("ExecStart=/d");
    assert_eq!((config.kind, config.restart), (ServiceType::Simple, Restart::No));
    assert_eq!(config.restart_delay, Duration::from_millis(100));
    assert_eq!((config.start_limit_burst, config.start_limit_interval), (5, Duration::from_secs(10)));
    assert_eq!(config.timeout_start, Some(Duration::from_secs(90)));
    assert_eq!(config.timeout_stop, Some(Duration::from_secs(90)));
    assert_eq!((config.kill.mode, config.kill.signal), (KillMode::ControlGroup, Signal::TERM));
    assert_eq!(config.notify_access, NotifyAccess::None);
    assert_eq!(config.exec.umask, 0o022);
    assert_eq!(good("Type=oneshot\nExecStart=/d").timeout_start, None);
    assert_eq!(good("Type=notify\nExecStart=/d").notify_access, NotifyAccess::Main);
    assert_eq!(good("ExecStop=/s\nRemainAfterExit=yes").kind, ServiceType::Oneshot);
}

#[test]
fn every_option_finds_its_place() {
    let config = good(
        "Type=forking\nExecStart=/d %i\nPIDFile=web.pid\nRestart=on-abnormal\nRestartSec=5min 20s\nRestartSteps=3\n\
         RestartMaxDelaySec=1h\nTimeoutSec=30\nTimeoutStopSec=infinity\nTimeoutAbortSec=7\nRuntimeMaxSec=1d\nWatchdogSec=0\n\
         Unit.StartLimitIntervalSec=1min\nStartLimitBurst=9\nKillMode=mixed\nKillSignal=SIGINT\nFinalKillSignal=SIGQUIT\n\
         RestartKillSignal=HUP\nSendSIGKILL=no\nSendSIGHUP=yes\nWatchdogSignal=SEGV\nUser=web\nGroup=web\nUMask=0077\nNice=-5\n\
         OOMScoreAdjust=500\nLimitNOFILE=1024:4096\nLimitCORE=infinity\nLimitAS=1G\nLimitCPU=1min\nLimitRTTIME=1ms\n\
         StandardOutput=journal\nStandardError=inherit\nSyslogIdentifier=web-%i\nWorkingDirectory=-~\nGuessMainPID=no\n\
         EnvironmentFile=-/etc/%p.env\nPassEnvironment=LANG TZ\nUnsetEnvironment=A B=1\nNotifyAccess=exec",
    );
    let (kill, exec) = (&config.kill, &config.exec);
    assert_eq!(config.pid_file.as_deref(), Some("/run/web.pid"));
    assert_eq!(config.restart_delay, Duration::from_secs(320));
    assert_eq!((config.timeout_start, config.timeout_stop), (Some(Duration::from_secs(30)), None));
    assert_eq!((config.timeout_abort, config.watchdog), (Some(Some(Duration::from_secs(7))), None));
    assert_eq!((config.start_limit_interval, config.start_limit_burst), (Duration::from_secs(60), 9));
    assert_eq!((kill.mode, kill.signal, kill.final_signal), (KillMode::Mixed, Signal(2), Signal(3)));
    assert_eq!((kill.restart_signal, kill.watchdog_signal), (Some(Signal::HUP), Signal(11)));
    assert!(!kill.send_sigkill && kill.send_sighup && !config.guess_main_pid);
    assert_eq!((exec.user.as_deref(), exec.umask, exec.nice), (Some("web"), 0o077, Some(-5)));
    let both = |limit| Limit { soft: limit, hard: limit };
    assert_eq!(exec.limits["NOFILE"], Limit { soft: Some(1024), hard: Some(4096) });
    assert_eq!((exec.limits["CORE"], exec.limits["AS"]), (both(None), both(Some(1 << 30))));
    assert_eq!((exec.limits["CPU"], exec.limits["RTTIME"]), (both(Some(60)), both(Some(1000))));
    assert_eq!(exec.syslog_identifier.as_deref(), Some("web-7"));
    assert!(exec.working_directory.as_ref().is_some_and(|folder| folder.optional && folder.path == "~"));
    assert!(exec.environment_files[0].optional && exec.environment_files[0].path == "/etc/web.env");
    assert_eq!(config.commands.start[0].arguments, ["7"]);
}

#[test]
fn lists_grow_and_an_empty_value_empties_them() {
    let config = good(
        "Type=oneshot\nExecStart=/a\nExecStart=\nExecStart=/b ; /c\nExecStart=/d\nEnvironment=\"A=1 2\" B=2\n\
         Environment=B=3\nEnvironmentFile=/x\nEnvironmentFile=\nSuccessExitStatus=1\nSuccessExitStatus=\nLimitNOFILE=5\n\
         LimitNOFILE=",
    );
    let programs: Vec<&str> = config.commands.start.iter().map(|command| command.program.as_str()).collect();
    assert_eq!(programs, ["/b", "/c", "/d"]);
    let pairs: Vec<(&str, &str)> =
        config.exec.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("A", "1 2"), ("B", "2"), ("B", "3")]);
    assert!(config.exec.environment_files.is_empty() && config.exec.limits.is_empty());
    assert_eq!(config.success, Default::default());
}

#[test]
fn what_has_no_effect_is_named_and_the_unit_is_loaded() {
    let text = "ExecStart=/d a\\q\nProtectSystem=full\nProtectSystem=strict\nBogus=1\nUnit.ConditionPathExists=/x\n\
                Timer.OnBootSec=1\nMine.x=1\nX-Fleet.Global=true\nInstall.WantedBy=x.target\nX-Note=y\nEnvironment=noassignment";
    let (_, warnings) = read(text).unwrap();
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "ExecStart=: unknown escape sequence '\\q' was kept as it is.",
            "[Service] ProtectSystem= is known to systemd but has no effect where units run without it.",
            "Unknown key name 'Bogus' in section 'Service', ignoring.",
            "[Unit] ConditionPathExists= is known to systemd but has no effect where units run without it.",
            "Unknown section 'Timer'. Ignoring.",
            "Unknown section 'Mine'. Ignoring.",
            "Environment=: 'noassignment' was left out: it is no assignment NAME=value.",
        ]
    );
}

#[test]
fn a_wrong_value_gives_one_error_that_names_place_value_and_remedy() {
    for (text, expected) in [
        ("Restart=sometimes", "[Service] Restart=sometimes: this is none of the words it takes"),
        ("Type=dbus", "no D-Bus"),
        ("Type=notify-reload", "not handled"),
        ("TimeoutSec=5 parsecs", "`parsecs` is no unit of time"),
        ("RestartSec=infinity", "never be restarted"),
        ("KillSignal=SIGFOO", "no such signal"),
        ("SuccessExitStatus=300", "`300` is no exit status"),
        ("UMask=9", "no file mode"),
        ("Nice=20", "out of range"),
        ("LimitNOFILE=1K", "no limit"),
        ("LimitNOFILE=9:5", "soft limit is above"),
        ("WorkingDirectory=var", "not absolute"),
        ("EnvironmentFile=x", "not absolute"),
        ("EnvironmentFile=/x/*.env", "patterns"),
        ("SendSIGKILL=maybe", "neither true nor false"),
        ("StartLimitBurst=-1", "no number"),
        ("ExecStart=!!/bin/x", "`!!`"),
        ("User=%z", "`%z`"),
    ] {
        let error = read(&format!("ExecStart=/d\n{text}")).unwrap_err();
        assert!(error.contains(expected) && error.starts_with("unit web@7.service: "), "{text}: {error}");
        assert_eq!(error.matches("\nhint: ").count(), 1, "{error}");
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for (text, expected) in [
        ("Restart=no", "neither ExecStart= nor ExecStop="),
        ("ExecStop=/s", "no ExecStart="),
        ("Type=simple\nExecStop=/s", "no ExecStart="),
        ("ExecStart=/a\nExecStart=/b", "more than one ExecStart="),
        ("Type=oneshot\nExecStart=/a\nRestart=always", "not allowed with Type=oneshot"),
        ("Type=notify\nExecStart=/a\nNotifyAccess=none", "could never start"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected) && error.contains("\nhint: "), "{text}: {error}");
    }
}
