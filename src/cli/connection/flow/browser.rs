//! The browser of this machine.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::cli::OPERATOR_VARIABLES;
use crate::config::Environment;

/// Opens the URL, where there is a screen to show it on. Nothing more than the attempt can be
/// known; a person who reads the URL on the terminal can go there too.
pub(super) fn open(url: &str, environment: &Environment) {
    if !is_web(url) || !has_screen(environment) {
        return;
    }
    let mut command = Command::new(OPENER);
    for variable in OPERATOR_VARIABLES {
        command.env_remove(variable);
    }
    // In a group of its own: Ctrl-C is for this command, not for the browser.
    command.arg(url).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It may become the browser, which outlives this command.
    let _opened_or_not = command.spawn();
}

/// Tells whether a browser opens it, and no program could take it for an option.
fn is_web(url: &str) -> bool {
    let known = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    known && url.bytes().all(|byte| byte.is_ascii_graphic())
}

fn has_screen(environment: &Environment) -> bool {
    cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| environment.text(name).is_some())
}

const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_web_page_is_opened() {
        assert!(is_web("https://id.example/a?b=c&d=%20"));
        assert!(is_web("http://127.0.0.1:8081/"));
        for url in ["", "-h", "--version", "file:///etc/passwd", "https://a b", "https://a\n"] {
            assert!(!is_web(url), "{url}");
        }
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn without_a_screen_there_is_no_browser() {
        let with = |name: &str, value: &str| has_screen(&Environment::from_iter([(name, value)]));
        assert!(with("DISPLAY", ":0") && with("WAYLAND_DISPLAY", "wayland-0"));
        assert!(!with("DISPLAY", "") && !with("PATH", "/bin"));
    }
}
