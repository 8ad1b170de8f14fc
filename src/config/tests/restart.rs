use super::*;

#[test]
fn only_what_is_bound_at_the_start_needs_a_restart() {
    let directory = Directory::new().with("SECRET", "hunter2");
    let running = directory.load("").unwrap().config;
    let differing = |text: &str| {
        let changed = directory.load(text).unwrap().config;
        running.needs_restart(&changed).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let text = "[proxy]\nallowed_ports = [443, 8443]\n[upstream]\nhttp2 = false\n";
    assert!(differing(text).is_empty());
    assert!(differing(&default_file()).is_empty());
    assert!(differing(&format!("{CONNECTION}token = {{ env = \"SECRET\" }}")).is_empty());
    let text = "[proxy]\nlisten = [\"unix:/run/keyferry.sock\"]\n[store]\nurl = \"memory:\"\n";
    assert_eq!(differing(text), ["proxy.listen", "store.url"]);
}

#[test]
fn values_that_are_bound_at_the_start_are_compared_as_they_take_effect() {
    let directory = Directory::new();
    let differing = |one: &str, two: &str| {
        let [one, two] = [one, two].map(|text| directory.load(text).unwrap().config);
        one.needs_restart(&two).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(differing("shutdown_grace = \"60s\"", "shutdown_grace = \"1m\"").is_empty());
    // Where no URL is set, it follows the address.
    assert_eq!(differing("", "[api]\nlisten = \"127.0.0.1:9\""), ["api.listen", "api.public_url"]);
    let store = |password: &str| format!("[store]\nurl = \"postgres://u:{password}@db/k\"");
    assert_eq!(differing(&store("one"), &store("two")), ["store.url"]);
}

#[test]
fn a_data_directory_of_the_command_line_hides_the_files() {
    let mut directory = Directory::new();
    directory.data_dir = Some("/given".into());
    let running = directory.load("data_dir = \"one\"").unwrap().config;
    let changed = directory.load("data_dir = \"two\"").unwrap().config;
    assert!(running.needs_restart(&changed).is_empty());
}
