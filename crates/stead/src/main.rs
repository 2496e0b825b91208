//! The binary: the command line over the house below it. Nothing but assembly and presentation.
//!
//! A command line becomes a [`cli::Cli`], the layers of configuration become [`config::Settings`], and one module under
//! `commands` does what was asked for. Every error ends here: printed once, with its causes and what to do, and an exit code.

mod agent;
mod aligned;
mod backup;
mod change;
mod cli;
mod client;
mod commands;
mod config;
mod coordinator;
mod dev;
mod difference;
mod duration;
mod exit_code;
mod failure;
mod follow;
mod history;
mod identity;
mod intent;
mod keyring;
mod kind_word;
mod kubeconfig;
mod logging;
mod login;
mod manifest;
mod merge;
mod metrics;
mod offline;
mod online_key;
mod outbox;
mod output;
mod plugin;
mod private_file;
mod proposal;
mod proxy;
mod record;
mod resign;
mod root_file;
mod seen;
mod signer;
mod terminal;
mod token;
mod trace;

use std::process::ExitCode as ProcessExitCode;

use crate::exit_code::ExitCode;
use crate::terminal::Terminal;

fn main() -> ProcessExitCode {
    let terminal = Terminal::detect();
    if plugin::is_completer() {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let mut tree = cli::tree();
        tree.build();
        let printed = commands::print(&plugin::completions(&tree, &words));
        return ProcessExitCode::from(printed.map_or_else(|failure| failure.exit_code(), |()| ExitCode::Success).number());
    }
    let outcome = cli::parse().and_then(|parsed| commands::run(parsed, terminal));
    let code = outcome.unwrap_or_else(|failure| {
        eprint!("{}", failure.render(terminal));
        failure.exit_code()
    });
    ProcessExitCode::from(code.number())
}

/// The cryptography of TLS: installed once, before anything connects.
pub(crate) fn install_tls() -> Result<(), failure::Failure> {
    if rustls::crypto::CryptoProvider::get_default().is_some() {
        return Ok(());
    }
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| failure::Failure::internal("the TLS library was set up twice"))
}

/// The exit code of a command that did what it was asked.
pub(crate) type Outcome = Result<ExitCode, failure::Failure>;
