//! Commands as the configuration names them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;

use crate::config::item::{Item, Mark};
use crate::config::readers::{duration, some, text};
use crate::secret::command::SecretCommand;

/// Reads a command: a program that exists, its arguments, and the time for which its output is
/// good.
pub(in crate::config) fn command(
    command: Item<'_>,
    ttl: Option<Item<'_>>,
    mark: &Mark<'_>,
) -> Option<SecretCommand> {
    let word = text("a text", ".", |text| match text {
        text if text.contains('\0') => Err("must not contain a NUL character"),
        text => Ok(Box::<str>::from(text)),
    });
    let words = some(word).read(command);
    let ttl = match ttl {
        Some(item) => Some(lifetime(item)?),
        None => None,
    };
    let mut words = words?.into_iter();
    let name = words.next()?;
    let program = program(&name, mark)?;
    Some(SecretCommand { program, name, arguments: words.collect(), ttl })
}

fn lifetime(item: Item<'_>) -> Option<Duration> {
    let mark = item.mark();
    let ttl = duration().read(item)?;
    if ttl < SHORTEST_TTL { mark.refuse("must be at least \"1s\"") } else { Some(ttl) }
}

/// The file that is run: a path is relative to the file that names it, a name is looked for in
/// PATH.
fn program(name: &str, mark: &Mark<'_>) -> Option<PathBuf> {
    if name.contains('/') {
        let path = mark.place.directory().join(name);
        // The system would look for a name without a slash.
        let path = std::path::absolute(&path).unwrap_or(path);
        return match std::fs::metadata(&path) {
            Err(why) => mark.refuse(format!("the program {} can't be run: {why}", path.display())),
            Ok(_) if !is_executable(&path) => mark.refuse(format!(
                "the program {} can't be run: run chmod +x on it, if it is one",
                path.display()
            )),
            Ok(_) => Some(checked(path, mark)),
        };
    }
    let Some(directories) = mark.report.source.environment.value("PATH") else {
        return mark.refuse(format!(
            "the program {name} can't be found, because PATH is not set: name it by its path"
        ));
    };
    let candidates = std::env::split_paths(directories).map(|directory| directory.join(name));
    match candidates.into_iter().find(|path| path.is_absolute() && is_executable(path)) {
        Some(path) => Some(checked(path, mark)),
        None => mark.refuse(format!(
            "the program {name} is in no directory of PATH: install it, or name it by its path"
        )),
    }
}

/// Warns of a program that others can replace by one of their own.
fn checked(path: PathBuf, mark: &Mark<'_>) -> PathBuf {
    let mode = std::fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o002 != 0 {
        let shown = path.display();
        mark.warning(format!("everyone on this machine can change the program {shown}"));
    }
    path
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

/// Shorter than that, a secret would be read more often than it is used.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
