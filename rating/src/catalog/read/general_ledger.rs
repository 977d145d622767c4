//! gl.toml: the accounts of the general ledger.
//!
//! Invariant: a placeholder that is kept is known of every line that is posted to its account.

use super::braces::{Piece, pieces};
use super::files::CatalogFiles;
use super::format::{GENERAL_LEDGER, LEDGER_KEYS};
use super::toml::{Table, TomlFile};
use crate::catalog::general_ledger::{AccountName, GeneralLedger, NamePart, Placeholder};
use crate::catalog::problem::Findings;

/// `None` where there is no file, or a problem has been reported.
pub(super) fn read_general_ledger(files: &CatalogFiles, findings: &Findings) -> Option<GeneralLedger> {
    let (path, text) = files.get_key_value(GENERAL_LEDGER)?;
    let file = TomlFile::parse(path, text, findings)?;
    let root = file.root();
    root.only(LEDGER_KEYS.keys);
    let payable = read_name(&root, "payable", &[Placeholder::Provider]);
    let clearing = read_name(&root, "clearing", &[Placeholder::Provider]);
    let receivable = read_name(&root, "receivable", &[Placeholder::Provider, Placeholder::Customer]);
    let retained = read_name(&root, "retained", &[Placeholder::Provider, Placeholder::Reason]);
    let names = [("payable", &payable), ("receivable", &receivable), ("retained", &retained)];
    for (key, _) in names.into_iter().filter(|(_, name)| clearing.is_some() && **name == clearing) {
        let message = format!("`{key}` and `clearing` are one account, so that nobody sees it end at zero");
        root.problem(root.line_of(key), message, "give each an account of its own");
    }
    Some(GeneralLedger {
        payable: payable?,
        clearing: clearing?,
        receivable: receivable?,
        retained: retained?,
    })
}

fn read_name(root: &Table<'_>, key: &str, known: &[Placeholder]) -> Option<AccountName> {
    root.parsed(key, "an account", |text| {
        let pieces = pieces(text)?;
        if text.trim().is_empty() || pieces.is_empty() {
            return Err("it is empty".to_owned());
        }
        let part = |piece: &Piece<'_>| match *piece {
            Piece::Text(text) => Ok(NamePart::Text(text.into())),
            Piece::Name(name) => {
                let filled = Placeholder::parse(name).filter(|name| known.contains(name));
                filled.map(NamePart::Filled).ok_or_else(|| {
                    let known: Vec<String> = known.iter().map(|known| format!("{{{known}}}")).collect();
                    format!("nothing fills in {{{name}}}; it may have {}", known.join(" and "))
                })
            }
        };
        pieces.iter().map(part).collect::<Result<_, String>>().map(AccountName)
    })
}
