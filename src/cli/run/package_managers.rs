//! Package managers whose settings name the CAs that they trust: such a setting wins over what the
//! usual variables say, and the variables that are set here win over the setting.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::trust::TrustFiles;
use super::variables::Variable;
use crate::config::Environment;

/// The variables, for a program that starts in `directory`. What the settings name is still
/// trusted, beside the interception CA.
pub(super) fn variables(
    trust: &TrustFiles,
    environment: &Environment,
    directory: &Path,
) -> Vec<Variable> {
    let mut variables = Vec::new();
    if let Some(bundle) = npm(trust, environment, directory) {
        let bundle = OsString::from(bundle);
        variables.extend(NPM.map(|name| (name, Some(bundle.clone()))));
    }
    // Yarn ends with an error at a variable of a setting that its version does not know, so that
    // only one is set whose setting is in use.
    let yarnrcs = settings_files(environment, directory, ".yarnrc.yml");
    for (name, key) in YARN {
        let find = |file: &PathBuf| setting(file, key, ':');
        let own = environment.value(name).map(PathBuf::from);
        if let Some(own) = own.or_else(|| yarnrcs.iter().find_map(find)) {
            let bundle = trust.beside(&own).unwrap_or_else(|| trust.bundle.clone());
            variables.push((name, Some(bundle.into())));
        }
    }
    variables
}

/// The bundle for npm and for programs that read its settings. Node has CAs of its own, which a setting
/// takes away: where there would be nothing in their place, none is set.
fn npm(trust: &TrustFiles, environment: &Environment, directory: &Path) -> Option<PathBuf> {
    let named = NPM.iter().find_map(|name| environment.value(name)).map(PathBuf::from);
    let find = |file: &PathBuf| setting(file, "cafile", '=');
    let own = named.or_else(|| {
        let chosen = ["npm_config_userconfig", "NPM_CONFIG_USERCONFIG"];
        let chosen = chosen.iter().find_map(|name| environment.value(name)).map(PathBuf::from);
        let files = settings_files(environment, directory, ".npmrc");
        files.iter().chain(&chosen).find_map(find)
    });
    match own {
        Some(own) => Some(trust.beside(&own).unwrap_or_else(|| trust.bundle.clone())),
        None => trust.has_system.then(|| trust.bundle.clone()),
    }
}

/// The files of this name that a program in `directory` reads, the one that wins first.
fn settings_files(environment: &Environment, directory: &Path, name: &str) -> Vec<PathBuf> {
    let home = environment.value("HOME").map(Path::new);
    directory.ancestors().chain(home).map(|place| place.join(name)).collect()
}

/// The path that a file sets `key` to.
fn setting(file: &Path, key: &str, separator: char) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    let found = text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        let value = value.trim().trim_matches(['"', '\'']);
        (name.trim() == key && !value.is_empty()).then_some(value)
    })?;
    Some(file.parent()?.join(found))
}

/// In both spellings: a program that finds two takes either.
const NPM: [&str; 2] = ["npm_config_cafile", "NPM_CONFIG_CAFILE"];

/// Of Yarn 4, and of Yarn 2 and 3.
const YARN: [(&str, &str); 2] =
    [("YARN_HTTPS_CA_FILE_PATH", "httpsCaFilePath"), ("YARN_CA_FILE_PATH", "caFilePath")];

#[cfg(test)]
mod tests {
    use super::super::trust::Readers;
    use super::super::trust::tests::trust;
    use super::*;

    fn set(name: &str, content: &str) -> Vec<(&'static str, String)> {
        let trust = trust();
        trust.place("project/company.pem", b"the company's", Readers::All).unwrap();
        let file = trust.place(&format!("project/{name}"), content.as_bytes(), Readers::All);
        let variables = variables(&trust, &Environment::default(), file.unwrap().parent().unwrap());
        let read = |value: Option<OsString>| fs::read_to_string(value.unwrap()).unwrap();
        variables.into_iter().map(|(name, value)| (name, read(value))).collect()
    }

    #[test]
    fn a_projects_own_ca_stays_trusted_beside_ours() {
        let both = "the company's\nthe CA\n".to_owned();
        for content in ["cafile=company.pem", "registry=https://x/\n cafile = \"company.pem\" \n"] {
            let expected = NPM.map(|name| (name, both.clone()));
            assert_eq!(set(".npmrc", content), expected, "{content}");
        }
        let yarn_4 = set(".yarnrc.yml", "a: b\nhttpsCaFilePath: ./company.pem\n");
        assert_eq!(yarn_4, [("YARN_HTTPS_CA_FILE_PATH", both.clone())]);
        let yarn_3 = set(".yarnrc.yml", "caFilePath: 'company.pem'\n");
        assert_eq!(yarn_3, [("YARN_CA_FILE_PATH", both)]);
    }

    #[test]
    fn node_keeps_its_own_cas_where_nothing_takes_their_place() {
        assert_eq!(set(".npmrc", "registry=https://x/"), []);
        assert_eq!(set(".npmrc", "cafile="), []);
    }

    #[test]
    fn what_a_setting_names_need_not_be_there() {
        let system = "the system's\nthe CA\n".to_owned();
        assert_eq!(set(".npmrc", "cafile=gone.pem"), NPM.map(|name| (name, system.clone())));
    }
}
