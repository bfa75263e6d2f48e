//! Tells which changes concern a component, where packages and programs have different names.
//!
//! A change of no package (a deployment, a commit) concerns the component with exactly its name. A package
//! change also concerns the programs of that package. A program's package is decided by these rules, never by
//! what is installed:
//!
//! 1. the folder is dropped and the name lower-cased: `/usr/sbin/CRON` is `cron`;
//! 2. a program of the table below belongs to the package named there;
//! 3. `systemd-*` belongs to `systemd`, `postfix/*` to `postfix`;
//! 4. else it belongs to the package of its own name, or of its name without the final `d`: `rsyslogd`.
//!
//! Package names are compared without a version at the end (`-15`, `-8.0`) and without the endings `-server`,
//! `-daemon`, `-common`, `-core`, `-light`, `-full`, `-extras`, `-bin`; `linux-image-*` is `linux`. So
//! `openssh-server` and `nginx-core` concern `sshd` and `nginx`, while `openssh-client` does not concern
//! `sshd`. Pure: no I/O, no clock.

use super::changes::Change;

/// Programs whose package has another name, and packages that go by two names.
const PACKAGES: [(&str, &str); 28] = [
    ("agetty", "util-linux"),
    ("dbus-daemon", "dbus"),
    ("default-mysql-server", "mysql-server"),
    ("dhclient", "isc-dhcp-client"),
    ("dhcpd", "isc-dhcp-server"),
    ("docker-ce", "docker"),
    ("docker.io", "docker"),
    ("dockerd", "docker"),
    ("freshclam", "clamav-freshclam"),
    ("httpd", "apache2"),
    ("imapd", "dovecot-imapd"),
    ("kernel", "linux"),
    ("mysqld", "mysql-server"),
    ("mariadbd", "mariadb-server"),
    ("named", "bind9"),
    ("networkmanager", "network-manager"),
    ("node", "nodejs"),
    ("nmbd", "samba"),
    ("ntpd", "ntp"),
    ("polkitd", "policykit-1"),
    ("postgres", "postgresql"),
    ("sftp-server", "openssh-sftp-server"),
    ("smbd", "samba"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("sshd-session", "openssh-server"),
    ("su", "util-linux"),
    ("wpa_supplicant", "wpasupplicant"),
];

/// Endings that split one program over several packages.
const ENDINGS: [&str; 8] = ["-server", "-daemon", "-common", "-core", "-light", "-full", "-extras", "-bin"];

/// Returns the name of the package a program belongs to, by rules 1 to 4 without the final `d` of rule 4.
pub(crate) fn package_of(program: &str) -> String {
    if program.starts_with("postfix/") {
        return "postfix".to_owned();
    }
    let name = program.rsplit('/').next().unwrap_or(program).to_ascii_lowercase();
    if name.starts_with("systemd-") {
        return "systemd".to_owned();
    }
    PACKAGES.iter().find(|(known, _)| *known == name).map_or(name, |(_, package)| (*package).to_owned())
}

/// Tells whether a change concerns the component of an incident.
pub(crate) fn same_component(component: &str, change: &Change) -> bool {
    if component == change.component {
        return true;
    }
    if !change.package {
        return false;
    }
    let package = stem(&package_of(&change.component)).to_owned();
    let program = package_of(component);
    let owner = stem(&program);
    owner == package || owner.strip_suffix('d') == Some(package.as_str())
}

/// Returns a key that is equal for a component and every change that [`same_component`] accepts.
///
/// The converse does not hold: equal keys only say that a comparison is worth while.
pub(crate) fn join_key(component: &str) -> String {
    let package = package_of(component);
    stem(&package).trim_end_matches('d').to_owned()
}

/// A package name without its version and endings.
fn stem(package: &str) -> &str {
    if package.starts_with("linux-image") {
        return "linux";
    }
    let mut name = package;
    while let Some(shorter) = without_version(name).or_else(|| without_ending(name)) {
        name = shorter;
    }
    name
}

fn without_version(name: &str) -> Option<&str> {
    let (rest, version) = name.rsplit_once('-')?;
    let number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (number && !rest.is_empty()).then_some(rest)
}

fn without_ending(name: &str) -> Option<&str> {
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(component: &str, package: bool) -> Change {
        Change { source: "a".into(), at: 0, component: component.into(), summary: String::new(), package }
    }

    #[test]
    fn package_changes_concern_their_programs() {
        for (program, package) in [
            ("sshd", "openssh-server"),
            ("sshd-session", "openssh-server"),
            ("ssh", "openssh-client"),
            ("/usr/sbin/CRON", "cron"),
            ("rsyslogd", "rsyslog"),
            ("nginx", "nginx-core"),
            ("nginx", "nginx"),
            ("postgres", "postgresql-15"),
            ("mysqld", "mysql-server-8.0"),
            ("mysqld", "mysql-server-core-8.0"),
            ("mysqld", "default-mysql-server"),
            ("mariadbd", "mariadb-server"),
            ("dockerd", "docker-ce"),
            ("dockerd", "docker.io"),
            ("containerd", "containerd"),
            ("kernel", "linux-image-6.1.0-40-amd64"),
            ("systemd-logind", "systemd"),
            ("systemd", "systemd"),
            ("postfix/smtpd", "postfix"),
            ("apache2", "apache2-bin"),
            ("redis-server", "redis-server"),
            ("NetworkManager", "network-manager"),
            ("named", "bind9"),
        ] {
            assert!(same_component(program, &change(package, true)), "{program} {package}");
            assert_eq!(join_key(program), join_key(package), "{program} {package}");
        }
    }

    #[test]
    fn other_packages_do_not_concern_a_program() {
        for (program, package) in
            [("sshd", "openssh-client"), ("nginx", "libnginx-mod-stream"), ("-", "dash"), ("api", "apid")]
        {
            assert!(!same_component(program, &change(package, true)), "{program} {package}");
        }
    }

    #[test]
    fn other_changes_concern_only_their_exact_name() {
        assert!(same_component("api", &change("api", false)));
        assert!(!same_component("sshd", &change("openssh-server", false)));
        assert!(!same_component("API", &change("api", false)));
    }

    fn name() -> impl Strategy<Value = String> {
        let known = PACKAGES.iter().flat_map(|(program, package)| [*program, *package]).collect::<Vec<_>>();
        let endings = ["", "d", "dd", "-server", "-15", "-core", "-8.0", "-serverd", "-", "-d", "-image-1"];
        let stems = prop_oneof![
            proptest::sample::select(known).prop_map(str::to_owned),
            "[a-dA-D./-]{0,4}",
            proptest::sample::select(vec!["linux", "systemd-x", "x"]).prop_map(str::to_owned),
        ];
        (stems, proptest::sample::select(endings.to_vec()), proptest::sample::select(endings.to_vec()))
            .prop_map(|(stem, first, second)| format!("{stem}{first}{second}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_same_component_has_the_same_key(component in name(), other in name(), package: bool) {
            if same_component(&component, &change(&other, package)) {
                prop_assert_eq!(join_key(&component), join_key(&other));
            }
        }
    }
}
