//! Options that systemd knows and that have no effect here: the unit is loaded, and a warning names them.

const UNIT: &str = "\
    AllowIsolate AssertACPower AssertArchitecture AssertCPUFeature AssertCPUPressure AssertCPUs \
    AssertCapability AssertControlGroupController AssertCredential AssertDirectoryNotEmpty \
    AssertEnvironment AssertFileIsExecutable AssertFileNotEmpty AssertFirstBoot AssertGroup AssertHost \
    AssertIOPressure AssertKernelCommandLine AssertKernelVersion AssertMemory AssertMemoryPressure \
    AssertNeedsUpdate AssertOSRelease AssertPathExists AssertPathExistsGlob AssertPathIsDirectory \
    AssertPathIsEncrypted AssertPathIsMountPoint AssertPathIsReadWrite AssertPathIsSymbolicLink \
    AssertSecurity AssertUser AssertVirtualization CollectMode ConditionACPower ConditionArchitecture \
    ConditionCPUFeature ConditionCPUPressure ConditionCPUs ConditionCapability \
    ConditionControlGroupController ConditionCredential ConditionDirectoryNotEmpty ConditionEnvironment \
    ConditionFileIsExecutable ConditionFileNotEmpty ConditionFirmware ConditionFirstBoot ConditionGroup \
    ConditionHost ConditionIOPressure ConditionKernelCommandLine ConditionKernelVersion ConditionMemory \
    ConditionMemoryPressure ConditionNeedsUpdate ConditionOSRelease ConditionPathExists \
    ConditionPathExistsGlob ConditionPathIsDirectory ConditionPathIsEncrypted ConditionPathIsMountPoint \
    ConditionPathIsReadWrite ConditionPathIsSymbolicLink ConditionSecurity ConditionUser \
    ConditionVirtualization DefaultDependencies FailureAction FailureActionExitStatus IgnoreOnIsolate \
    IgnoreOnSnapshot JobRunningTimeoutSec JobTimeoutAction JobTimeoutRebootArgument JobTimeoutSec \
    JoinsNamespaceOf OnFailure OnFailureIsolate OnFailureJobMode OnSuccess OnSuccessJobMode \
    PropagateReloadFrom PropagateReloadTo PropagatesReloadTo PropagatesStopTo RebootArgument \
    RefuseManualStart RefuseManualStop ReloadPropagatedFrom RequiresMountsFor RequiresOverridable \
    RequisiteOverridable StartLimitAction StopPropagatedFrom StopWhenUnneeded SuccessAction \
    SuccessActionExitStatus Upholds";

const SERVICE: &str = "\
    AllowedCPUs AllowedMemoryNodes AmbientCapabilities AppArmorProfile BPFProgram BindPaths \
    BindReadOnlyPaths BlockIOAccounting BlockIODeviceWeight BlockIOReadBandwidth BlockIOWeight \
    BlockIOWriteBandwidth BusName BusPolicy CPUAccounting CPUAffinity CPUQuota CPUQuotaPeriodSec \
    CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork CPUShares CPUWeight \
    CacheDirectory CacheDirectoryMode Capabilities CapabilityBoundingSet ConfigurationDirectory \
    ConfigurationDirectoryMode CoredumpFilter CoredumpReceive DefaultMemoryLow DefaultMemoryMin Delegate \
    DelegateSubgroup DeviceAllow DevicePolicy DisableControllers DynamicUser ExecPaths ExecSearchPath \
    ExitType ExtensionDirectories ExtensionImages FailureAction FileDescriptorStoreMax \
    FileDescriptorStorePreserve IOAccounting IODeviceLatencyTargetSec IODeviceWeight IOReadBandwidthMax \
    IOReadIOPSMax IOSchedulingClass IOSchedulingPriority IOWeight IOWriteBandwidthMax IOWriteIOPSMax \
    IPAccounting IPAddressAllow IPAddressDeny IPCNamespacePath IPEgressFilterPath IPIngressFilterPath \
    IgnoreSIGPIPE ImportCredential InaccessibleDirectories InaccessiblePaths KeyringMode LoadCredential \
    LoadCredentialEncrypted LockPersonality LogExtraFields LogLevelMax LogNamespace LogRateLimitBurst \
    LogRateLimitIntervalSec LogsDirectory LogsDirectoryMode ManagedOOMMemoryPressure \
    ManagedOOMMemoryPressureLimit ManagedOOMPreference ManagedOOMSwap MemoryAccounting \
    MemoryDenyWriteExecute MemoryHigh MemoryKSM MemoryLimit MemoryLow MemoryMax MemoryMin MemorySwapMax \
    MemoryZSwapMax MountAPIVFS MountFlags MountImages NUMAMask NUMAPolicy NetClass NetworkNamespacePath \
    NoExecPaths NoNewPrivileges NonBlocking OOMPolicy OpenFile PAMName PermissionsStartOnly Personality \
    PrivateDevices PrivateIPC PrivateMounts PrivateNetwork PrivateTmp PrivateUsers ProcSubset \
    ProtectClock ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules \
    ProtectKernelTunables ProtectProc ProtectSystem ReadOnlyDirectories ReadOnlyPaths \
    ReadWriteDirectories ReadWritePaths RebootArgument ReloadSignal RemoveIPC RestartMode \
    RestrictAddressFamilies RestrictFileSystems RestrictNamespaces RestrictNetworkInterfaces \
    RestrictRealtime RestrictSUIDSGID RootDirectory RootDirectoryStartOnly RootEphemeral RootHash \
    RootHashSignature RootImage RootImageOptions RootVerity RuntimeDirectory RuntimeDirectoryMode \
    RuntimeDirectoryPreserve RuntimeRandomizedExtraSec SELinuxContext SecureBits SetCredential \
    SetCredentialEncrypted SetLoginEnvironment Slice SmackProcessLabel SocketBindAllow SocketBindDeny \
    Sockets StandardInput StandardInputData StandardInputText StartLimitAction StartupAllowedCPUs \
    StartupAllowedMemoryNodes StartupBlockIOWeight StartupCPUShares StartupCPUWeight StartupIOWeight \
    StartupMemoryMax StateDirectory StateDirectoryMode SupplementaryGroups SurviveFinalKillSignal \
    SysVStartPriority SyslogFacility SyslogLevel SyslogLevelPrefix SystemCallArchitectures \
    SystemCallErrorNumber SystemCallFilter SystemCallLog TTYColumns TTYPath TTYReset TTYRows TTYVHangup \
    TTYVTDisallocate TasksAccounting TasksMax TemporaryFileSystem TimeoutCleanSec \
    TimeoutStartFailureMode TimeoutStopFailureMode TimerSlackNSec USBFunctionDescriptors \
    USBFunctionStrings UtmpIdentifier UtmpMode";

const TIMER: &str = "\
    AccuracySec FixedRandomDelay OnClockChange OnTimezoneChange Persistent RandomizedDelaySec \
    RemainAfterElapse WakeSystem";

/// Whether systemd knows this option of this section.
pub(crate) fn is_known(section: &str, option: &str) -> bool {
    let names = match section {
        "Unit" => UNIT,
        "Service" => SERVICE,
        "Timer" => TIMER,
        _ => return false,
    };
    names.split_ascii_whitespace().any(|name| name == option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_known_in_its_own_section_only() {
        assert!(is_known("Service", "ProtectSystem") && !is_known("Unit", "ProtectSystem"));
        assert!(is_known("Unit", "ConditionPathExists") && !is_known("Service", "Protect"));
        assert!(!is_known("Service", ""));
    }
}
