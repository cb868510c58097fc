//! Completions and manual pages, from the definitions of the options themselves.

use clap::{Command, CommandFactory};
use clap_complete::shells;

use super::{Arguments, Shell};

/// The program's name, for completions and pages.
const NAME: &str = "onnxd";

/// The script that makes `shell` complete onnxd's words.
pub fn completions(shell: Shell) -> Vec<u8> {
    let (mut command, mut script) = (Arguments::command(), Vec::new());
    let into = &mut script;
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, NAME, into),
        Shell::Elvish => clap_complete::generate(shells::Elvish, &mut command, NAME, into),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, NAME, into),
        Shell::Powershell => clap_complete::generate(shells::PowerShell, &mut command, NAME, into),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, NAME, into),
    }
    script
}

/// Every manual page with its file's name, the program's own first.
pub fn manual_pages() -> Vec<(String, Vec<u8>)> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add_page(NAME.to_owned(), &command, &mut pages);
    pages
}

/// Adds the page of a command and those of its subcommands.
fn add_page(name: String, command: &Command, pages: &mut Vec<(String, Vec<u8>)>) {
    let mut page = Vec::new();
    let named = command.clone().name(name.clone()).display_name(name.clone());
    clap_mangen::Man::new(named).render(&mut page).expect("a vector takes all that is written");
    pages.push((format!("{name}.1"), page));
    for subcommand in command.get_subcommands() {
        add_page(format!("{name}-{}", subcommand.get_name()), subcommand, pages);
    }
}
