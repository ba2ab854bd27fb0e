//! The order of the layers, and the file that is read.

use std::time::Duration;

use super::*;

#[test]
fn the_environment_stands_above_the_file_and_the_file_above_the_defaults() {
    let loaded = Draft::valid()
        .with("delivery.timeout", "\"10s\"")
        .with("delivery.connect_timeout", "\"3s\"")
        .env("FINI_BRIDGE__DELIVERY__TIMEOUT", "7s")
        .loaded();
    let delivery = &loaded.config.delivery;
    assert_eq!(delivery.timeout, Duration::from_secs(7));
    assert_eq!(delivery.connect_timeout, Duration::from_secs(3));
    assert_eq!(delivery.lease, Duration::from_secs(22), "timeout and 15 s");
    assert_eq!(delivery.max_in_flight_per_frontend, 64);
    assert_eq!(loaded.origin.variables, ["FINI_BRIDGE__DELIVERY__TIMEOUT"]);
    assert!(loaded.origin.file.is_some());
}

#[test]
fn the_file_is_chosen_by_option_then_variable_then_presence() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, level: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("[log]\nlevel = {level:?}\n")).unwrap();
        path
    };
    let mut sources = Sources { needs: Needs::Nothing, ..sources(None, folder.path()) };
    let level = |sources: &Sources| load(sources).unwrap_or_else(|errors| panic!("{errors}")).config.log.level;
    assert_eq!(level(&sources), "info", "nothing is there");
    write("config/default.toml", "warn");
    assert_eq!(level(&sources), "warn");
    let named = write("named.toml", "error");
    sources.env.insert("FINI_BRIDGE_CONFIG".to_owned(), named.into());
    assert_eq!(level(&sources), "error");
    sources.file = Some(write("option.toml", "debug"));
    assert_eq!(level(&sources), "debug");
    sources.env.insert("FINI_BRIDGE__LOG__LEVEL".to_owned(), "trace".into());
    assert_eq!(level(&sources), "trace");
}

#[test]
fn a_named_file_must_be_there() {
    let folder = TempDir::new().unwrap();
    let absent = folder.path().join("absent.toml");
    let errors = load(&sources(Some(absent.clone()), folder.path())).expect_err("no file").errors;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].what.contains("cannot be read"));
    assert!(errors[0].place.to_string().contains("absent.toml"));
    let mut named = sources(None, folder.path());
    named.env.insert("FINI_BRIDGE_CONFIG".to_owned(), absent.into());
    assert_eq!(load(&named).expect_err("no file").errors.len(), 1);
}
