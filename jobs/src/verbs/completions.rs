//! `atcost completions`: a script by which a shell completes the arguments.
//!
//! Invariant: it is made from the arguments themselves, so that it cannot lag behind them.

use crate::show::Answer;
use clap_complete::Shell;
use serde_json::{Value, json};

/// A script for a shell to read.
pub struct Script(String);

/// # Errors
/// When the script is no text, which no shell's is.
pub fn completions(shell: Shell, mut command: clap::Command) -> anyhow::Result<Script> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    Ok(Script(String::from_utf8(script)?))
}

impl Answer for Script {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(json!({ "script": self.0 }))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}
