//! The deployment files: their numbers fit the default settings and each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use volery::Settings;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every number that stands behind a key, in seconds: `key: 5` or `Key=5`.
fn seconds(text: &str, key: &str) -> Vec<Duration> {
    let values = text.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once([':', '='])?;
        (name == key).then(|| value.trim().parse().unwrap_or_else(|_| panic!("{key} is {value}")))
    });
    let found: Vec<_> = values.map(Duration::from_secs).collect();
    assert!(!found.is_empty(), "{key} is missing");
    found
}

/// How late a stop may be, and what a process needs to end: more than enough.
const MARGIN: Duration = Duration::from_secs(2);

#[test]
fn systemd_waits_longer_than_a_shutdown_takes() {
    let unit = read("volery.service");
    let within = Settings::default().shutdown_within;
    assert!(seconds(&unit, "TimeoutStopSec")[0] >= within + MARGIN);
    assert!(seconds(&unit, "WatchdogSec")[0] > Duration::from_secs(4));
    for line in ["Type=notify", "NotifyAccess=main", "KillMode=mixed", "Restart=on-failure"] {
        assert!(unit.lines().any(|found| found == line), "{line} is missing");
    }
    let prevented = format!("RestartPreventExitStatus={}", volery::report::EXIT_CODE_INTERRUPTED);
    assert!(unit.contains(&prevented), "{prevented} is missing");
}

#[test]
fn kubernetes_waits_longer_than_the_pause_and_a_shutdown_take() {
    let manifest = read("kubernetes.yaml");
    let within = Settings::default().shutdown_within;
    let pause = seconds(&manifest, "seconds")[0];
    assert!(seconds(&manifest, "terminationGracePeriodSeconds")[0] >= pause + within + MARGIN);
    let time_outs = seconds(&manifest, "timeoutSeconds");
    assert_eq!(time_outs.len(), 3, "startup, liveness, readiness");
    assert!(time_outs.iter().all(|time_out| *time_out > Duration::from_secs(1)), "{time_outs:?}");
    for path in ["/health/live", "/health/ready"] {
        assert!(manifest.contains(&format!("path: {path}")), "{path} is not probed");
        let example = fs::read_to_string(file("../examples/11_service.rs")).expect("the service's side");
        assert!(example.contains(path), "{path} is not answered");
    }
}

#[test]
fn systemd_understands_the_unit() {
    // The binary is the service's; the check wants one that is there.
    let unit = read("volery.service").replace("/usr/local/bin/service", "/bin/sh");
    let folder = std::env::temp_dir().join(format!("volery-unit-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let path = folder.join("volery.service");
    fs::write(&path, unit).expect("a file can be written");
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
    fs::remove_dir_all(&folder).expect("it was made above");
    // Where there is no systemd, there is nobody to ask.
    let Ok(verified) = verified else { return };
    let said = String::from_utf8_lossy(&verified.stderr);
    let about_it: Vec<_> = said.lines().filter(|line| line.contains("volery.service")).collect();
    assert!(about_it.is_empty(), "{about_it:#?}");
}
