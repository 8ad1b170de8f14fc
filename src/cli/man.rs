//! `keyferry man`: a manual page for each command.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use serde_json::json;

use super::context::CliContext;
use super::output::{self, CliError};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Directory for the pages; it is made where there is none
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(
    arguments: &Arguments,
    mut program: clap::Command,
    context: &CliContext,
) -> Result<(), CliError> {
    // Without the pages of the command help, which has none.
    program = program.disable_help_subcommand(true);
    program.build();

    // A file for each command.
    let directory = &arguments.directory;
    let shown = directory.display();
    let unwritten = |why: io::Error| {
        CliError::Message(format!("{shown} can't be written ({why}): name another directory"))
    };
    fs::create_dir_all(directory).map_err(unwritten)?;
    let mut names = Vec::new();
    for command in with_all_below(&program) {
        let name = Man::new(command.clone()).get_filename();
        let page = page(&command).map_err(unwritten)?;
        fs::write(directory.join(&name), page).map_err(unwritten)?;
        names.push(name);
    }

    let json = json!({ "directory": shown.to_string(), "pages": names });
    context.emit(&json.to_string(), || {
        let pages = output::count(names.len(), "page");
        Ok(format!("wrote {pages} to {shown}: `man -l {shown}/keyferry.1` shows the first"))
    })
}

fn with_all_below(command: &clap::Command) -> Vec<clap::Command> {
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    std::iter::once(command.clone()).chain(shown.flat_map(with_all_below)).collect()
}

/// A page in roff. The examples are set as they stand, and not filled like prose.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let (man, mut page) = (Man::new(command.clone()), Vec::new());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(examples) = command.get_after_help() {
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLES"]).control("nf", []);
        let examples = examples.to_string();
        for line in examples.lines().skip(1) {
            section.text([roman(line)]);
        }
        section.control("fi", []);
        section.to_writer(&mut page)?;
    }
    Ok(page)
}
