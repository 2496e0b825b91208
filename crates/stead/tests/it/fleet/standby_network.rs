//! Primary and standby on a network: TLS all the way, and passwords that are in no log.

use stead_peers::{ServerPlace, TempCluster};

use super::harness::{COORDINATOR, Fleet, file, free_port, until};
use crate::stead::Home;

#[test]
fn everything_between_primary_standby_and_coordinator_is_encrypted() {
    let ports = [free_port(), free_port()];
    let primary = TempCluster::start_on_network(ports[0]);
    let place = ServerPlace::empty();
    primary.sql("CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'of the administrator'");
    primary.sql("CREATE ROLE fleet LOGIN PASSWORD 'of the fleet'");
    primary.sql("CREATE SCHEMA stead AUTHORIZATION fleet");
    primary.sql("GRANT EXECUTE ON FUNCTION pg_promote TO fleet");
    primary.sql("ALTER SYSTEM SET log_statement = 'all'");
    primary.sql("SELECT pg_reload_conf()");
    let home = Home::new();
    home.write("admin.password", "of the administrator\n");
    home.write("fleet.password", "of the fleet\n");
    let tls = |mode: &str, authority: &str| format!("sslmode={mode}&sslrootcert={}", primary.folder().join(authority).display());

    // A server with a certificate of somebody else's is not told anything.
    let (data_dir, port) = (place.data_folder().display().to_string(), format!("port={}", ports[1]));
    let folder = format!("unix_socket_directories={}", place.path().display());
    let setup = |how: &str| {
        let url = format!("postgres://admin@localhost:{}/stead?{how}", ports[0]);
        let words = ["standby", "setup", "--primary", &url, "--password-file", "admin.password", "--data-dir", &data_dir];
        home.stead(&[&words[..], &["--write-hba", "--set", &port, "--set", &folder]].concat())
    };
    let refused = setup(&tls("verify-full", "stranger.crt")).fails(8);
    assert!(refused.contains("certificate"), "{refused}");
    let refused = setup("sslmode=disable").fails(8);
    assert!(refused.contains("no encryption"), "{refused}");
    let done = setup(&tls("verify-full", "authority.crt"));
    assert!(done.code == 0 && !done.stderr.contains("not encrypted"), "{done:?}");

    let rules = std::fs::read_to_string(primary.folder().join("data/pg_hba.conf")).unwrap();
    let rule = rules.lines().next().unwrap();
    assert!(rule.starts_with("hostssl  replication  stead_replication  ") && rule.ends_with("  scram-sha-256"), "{rules}");
    assert!(rule.contains(" 127.0.0.1/32 ") || rule.contains(" ::1/128 "), "{rules}");
    let streams = "SELECT s.ssl FROM pg_stat_replication JOIN pg_stat_ssl AS s USING (pid)";
    assert_eq!(primary.sql(streams), "t");
    let passwords = std::fs::read_to_string(place.data_folder().with_extension("pgpass")).unwrap();
    let password = passwords.trim().rsplit(':').next().unwrap();
    let log = primary.log();
    assert!(log.contains("PASSWORD 'SCRAM-SHA-256$4096:") && !log.contains(password), "{log}");

    let servers = format!("postgres://fleet@localhost:{},localhost:{}/stead", ports[0], ports[1]);
    let store = format!("{servers}?{}", tls("verify-full", "authority.crt"));
    let record = ["--store", &store, "--store-password-file", "fleet.password"];
    let plain = format!("{servers}?sslmode=disable");
    let refused = home.stead(&["standby", "status", "--store", &plain, "--store-password-file", "fleet.password"]);
    assert!(refused.code == 4 && refused.stdout.matches("no encryption").count() >= 2, "{refused:?}");

    let fleet = Fleet::found_in(home, &[&COORDINATOR[..], &record].concat());
    fleet.apply("web", file("/motd", "one"));
    let sessions =
        "SELECT bool_and(s.ssl) FROM pg_stat_activity JOIN pg_stat_ssl AS s USING (pid) WHERE application_name = 'stead'";
    assert_eq!(primary.sql(sessions), "t");
    let old = primary.folder().join("data").display().to_string();
    let switched = ["standby", "promote", "--switchover", "--primary-data-dir", &old];
    let switched = fleet.stead(&[&switched[..], &record].concat());
    assert!(switched.code == 0 && switched.stderr.contains("Nothing was lost"), "{switched:?}");
    until("a write on the new primary", || (fleet.apply_with("web", file("/motd", "two"), &[]).code == 0).then_some(()));
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "two");
}
