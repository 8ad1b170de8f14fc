//! Programs that read no variable for what they trust, but one that names a file of settings: the
//! file is the user's own, with one setting more.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::trust::{Readers, TrustFiles};
use super::variables::Variable;
use crate::config::Environment;

/// Writes the files; the variables name them.
pub(super) fn variables(
    trust: &TrustFiles,
    environment: &Environment,
) -> io::Result<Vec<Variable>> {
    let mut variables = vec![
        ("PHP_INI_SCAN_DIR", Some(php(trust, environment)?)),
        ("WGETRC", Some(wget(trust, environment)?.into())),
        ("APT_CONFIG", Some(apt(trust, environment)?.into())),
    ];
    if let Some(paths) = mercurial(trust, environment)? {
        variables.push(("HGRCPATH", Some(paths)));
    }
    Ok(variables)
}

/// An empty element is the directory that PHP reads by itself.
fn php(trust: &TrustFiles, environment: &Environment) -> io::Result<OsString> {
    let bundle = trust.bundle.display();
    let settings = format!("openssl.cafile=\"{bundle}\"\ncurl.cainfo=\"{bundle}\"\n");
    let file = trust.place("php/keyferry.ini", settings.as_bytes(), Readers::All)?;
    let mut directories = own(environment, "PHP_INI_SCAN_DIR").unwrap_or_default();
    directories.push(":");
    directories.push(file.parent().unwrap_or(&file));
    Ok(directories)
}

/// The user's own may hold a password.
fn wget(trust: &TrustFiles, environment: &Environment) -> io::Result<PathBuf> {
    let usual = || environment.value("HOME").map(|home| Path::new(home).join(".wgetrc"));
    let chosen = own(environment, "WGETRC").map(PathBuf::from).or_else(usual);
    let mut settings = chosen.and_then(|file| fs::read(file).ok()).unwrap_or_default();
    settings.extend(format!("\nca_certificate = {}\n", trust.bundle.display()).into_bytes());
    trust.place("wgetrc", &settings, Readers::Owner)
}

/// The system's own files are read after this one, and win.
fn apt(trust: &TrustFiles, environment: &Environment) -> io::Result<PathBuf> {
    let theirs = own(environment, "APT_CONFIG");
    let include = theirs.map(|file| format!("#include \"{}\";\n", Path::new(&file).display()));
    let include = include.unwrap_or_default();
    let bundle = trust.bundle.display();
    let settings = format!("{include}Acquire::https::CAInfo \"{bundle}\";\n");
    trust.place("apt.conf", settings.as_bytes(), Readers::All)
}

/// Debian's Mercurial has settings of its own that name a bundle, and those win over variables. All
/// that it would have read is read before ours.
fn mercurial(trust: &TrustFiles, environment: &Environment) -> io::Result<Option<OsString>> {
    let system = Path::new("/etc/mercurial");
    let mut paths = match own(environment, "HGRCPATH") {
        Some(paths) => paths,
        None if !system.is_dir() => return Ok(None),
        None => {
            let home = environment.value("HOME").map(PathBuf::from).unwrap_or_default();
            let config = environment.value("XDG_CONFIG_HOME").map(PathBuf::from);
            let config = config.unwrap_or_else(|| home.join(".config"));
            let files = [
                system.join("hgrc.d"),
                system.join("hgrc"),
                config.join("hg/hgrc"),
                home.join(".hgrc"),
            ];
            files.map(OsString::from).join(std::ffi::OsStr::new(":"))
        }
    };
    let settings = format!("[web]\ncacerts = {}\n", trust.bundle.display());
    paths.push(":");
    paths.push(trust.place("hgrc", settings.as_bytes(), Readers::All)?);
    Ok(Some(paths))
}

/// A variable that is set to something.
fn own(environment: &Environment, name: &str) -> Option<OsString> {
    environment.value(name).filter(|value| !value.is_empty()).map(OsString::from)
}

#[cfg(test)]
mod tests {
    use super::super::trust::tests::trust;
    use super::*;

    fn environment(name: &str, value: &Path) -> Environment {
        [(name, value.as_os_str())].into_iter().collect()
    }

    #[test]
    fn a_users_own_settings_come_before_ours() {
        let trust = trust();
        let own = trust.place("own/.wgetrc", b"password=geheim", Readers::Owner).unwrap();
        let bundle = trust.bundle.display().to_string();
        let home = environment("HOME", own.parent().unwrap());
        for environment in [home, environment("WGETRC", &own)] {
            let made = fs::read_to_string(wget(&trust, &environment).unwrap()).unwrap();
            assert_eq!(made, format!("password=geheim\nca_certificate = {bundle}\n"));
        }
        let made = apt(&trust, &environment("APT_CONFIG", &own)).unwrap();
        let first = format!("#include \"{}\";\n", own.display());
        assert!(fs::read_to_string(made).unwrap().starts_with(&first));
        let paths = mercurial(&trust, &environment("HGRCPATH", &own)).unwrap().unwrap();
        let begins = format!("{}:/", own.display());
        assert!(paths.to_str().unwrap().starts_with(&begins), "{}", paths.display());
    }

    #[test]
    fn php_reads_what_it_would_have_read_and_then_ours() {
        let trust = trust();
        let directories =
            |environment: &Environment| php(&trust, environment).unwrap().into_string().unwrap();
        let ours = trust.bundle.with_file_name("php");
        assert_eq!(directories(&Environment::default()), format!(":{}", ours.display()));
        let own = environment("PHP_INI_SCAN_DIR", Path::new("/own:/other"));
        assert_eq!(directories(&own), format!("/own:/other:{}", ours.display()));
        let empty = environment("PHP_INI_SCAN_DIR", Path::new(""));
        assert_eq!(directories(&empty), format!(":{}", ours.display()));
    }
}
