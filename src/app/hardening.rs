//! Hardens the process before it reads a secret.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// No core dumps, no look into our memory by other processes of the same user, and as many file
/// descriptors as the system grants. Gives what the system refused, in words: none of it is
/// needed to serve, but the operator should know.
#[must_use]
pub fn harden() -> Vec<String> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let most = getrlimit(Resource::Nofile).maximum;
    let files = Rlimit { current: most, maximum: most };
    let done = [
        ("core dumps can't be turned off", setrlimit(Resource::Core, none)),
        (
            "the process can't be hidden from debuggers",
            set_dumpable_behavior(DumpableBehavior::NotDumpable),
        ),
        ("the limit of open files can't be raised", setrlimit(Resource::Nofile, files)),
    ];
    let refused = |(what, done): (&str, rustix::io::Result<()>)| {
        done.err().map(|error| format!("{what}: {error}"))
    };
    done.into_iter().filter_map(refused).collect()
}
