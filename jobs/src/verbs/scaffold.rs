//! `atcost catalog new provider`, `sku` and `meter`: a commented piece of a catalog that checks.
//!
//! What must be decided is asked for, and nothing about money is made up; the rest stands beside it as
//! comments. Every key is explained in docs/catalog.md.

use super::pieces::{Added, Piece, Place, add, quoted};
use crate::show::Answer;
use anyhow::bail;
use jiff::civil::Date;
use rating::catalog::{Catalog, CatalogFiles};
use rating::meter::Aggregation;
use schemas::id::MeterType;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// A provider that is to be added.
#[derive(Debug, Clone)]
pub struct NewProvider<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub billing_account: &'a str,
    pub currency: &'a str,
    pub time_zone: &'a str,
    /// The day from which on its prices are in force.
    pub from: Date,
}

/// How values become one, as an argument says it.
///
/// # Errors
/// A sentence with all that there are.
pub fn aggregation(word: &str) -> Result<Aggregation, String> {
    let all = || Aggregation::ALL.map(Aggregation::as_str).join(", ");
    Aggregation::parse(word).ok_or_else(|| format!("it must be one of: {}", all()))
}

/// A SKU that is to be added.
#[derive(Debug, Clone)]
pub struct NewSku<'a> {
    pub provider: &'a str,
    pub id: &'a str,
    pub name: &'a str,
    /// What it counts; `None` for a fee.
    pub meter: Option<&'a str>,
    pub matches: &'a [(String, String)],
    /// The unit that is priced; `None` for that of the meter's result.
    pub unit: Option<&'a str>,
    /// Of one unit, or of every month.
    pub price: &'a str,
    pub allocation: &'a str,
    pub from: Date,
}

/// A meter that is to be added.
#[derive(Debug, Clone)]
pub struct NewMeter<'a> {
    pub id: &'a str,
    pub unit: &'a str,
    pub dimensions: &'a [String],
    pub aggregation: Aggregation,
}

/// What was added, or what would be.
pub enum Scaffold {
    Added(Added),
    Printed(Vec<Piece>),
}

/// Adds pieces, or only shows them.
///
/// # Errors
/// As [`add`].
pub async fn scaffold(folder: &Path, pieces: Vec<Piece>, print: bool) -> anyhow::Result<Scaffold> {
    if print {
        return Ok(Scaffold::Printed(pieces));
    }
    Ok(Scaffold::Added(add(folder, &pieces).await?))
}

/// The terms of a provider.
pub fn terms(provider: &NewProvider<'_>) -> Piece {
    let NewProvider { id, name, billing_account, currency, time_zone, .. } = provider;
    let text = format!(
        "# Who bills the operator, and how. Every key is in docs/catalog.md.\n\
         id              = {}\n\
         name            = {}\n\
         billing_account = {}    # as its invoices name it\n\
         currency        = {}    # of its invoices\n\
         time_zone       = {}    # where its months and days begin\n\
         # anchor        = \"15\"     # if its billing periods begin on another day than the first\n\
         \n\
         [rounding]\n\
         mode = \"half-up\"           # how a line of its invoice is rounded: compare with one\n\
         # steps = {{ places = \"4\", mode = \"half-up\" }}    # if it rounds before it adds up\n",
        quoted(id),
        quoted(name),
        quoted(billing_account),
        quoted(currency),
        quoted(time_zone),
    );
    Piece { path: format!("providers/{id}/provider.toml"), text, place: Place::NewFile }
}

/// A provider with a price list of one fee.
pub fn provider(provider: &NewProvider<'_>) -> Vec<Piece> {
    let text = format!(
        "# A [[sku]] for every line of its invoices; `atcost catalog new sku` adds one.\n\
         \n\
         [[sku]]\n\
         id         = \"BASE\"        # as its invoices name it\n\
         name       = \"Base fee\"\n\
         allocation = \"even\"        # among the customers that have a binding in the month\n\
         # among    = [\"acme\"]      # or only among these\n\
         \n\
         \x20 [[sku.price]]\n\
         \x20 from    = {}    # midnight in the provider's time zone\n\
         \x20 # until = \"…\"           # the day after the last one\n\
         \x20 model   = \"flat\"\n\
         \x20 amount  = \"0\"           # a line of 0.00 until it is filled in\n\
         \x20 every   = \"month\"       # or \"once\"\n",
        quoted(&provider.from.to_string()),
    );
    let path = format!("providers/{}/prices.toml", provider.id);
    vec![terms(provider), Piece { path, text, place: Place::NewFile }]
}

/// A SKU, at the end of its provider's price list.
///
/// # Errors
/// When there is no such provider, or no unit is said and the catalog has none for it.
pub fn sku(folder: &Path, sku: &NewSku<'_>, print: bool) -> anyhow::Result<Vec<Piece>> {
    let path = format!("providers/{}/prices.toml", sku.provider);
    if !print && !folder.join(&path).is_file() {
        bail!(
            "there is no {}; `atcost catalog new provider {}` makes it",
            folder.join(&path).display(),
            sku.provider
        );
    }
    let mut text = format!("[[sku]]\nid         = {}\nname       = {}\n", quoted(sku.id), quoted(sku.name));
    match sku.meter {
        None => {
            write!(
                text,
                "allocation = {}    # even, fixed with `shares`, or by_meter with `key`\n\
                 \n\
                 \x20 [[sku.price]]\n\
                 \x20 from    = {}    # midnight in the provider's time zone\n\
                 \x20 # until = \"…\"           # the day after the last one\n\
                 \x20 model   = \"flat\"\n\
                 \x20 amount  = {}\n\
                 \x20 every   = \"month\"       # or \"once\"\n",
                quoted(sku.allocation),
                quoted(&sku.from.to_string()),
                quoted(sku.price),
            )?;
        }
        Some(meter) => {
            let unit = match sku.unit {
                Some(unit) => unit.to_owned(),
                None => unit_of(folder, meter)?,
            };
            let matches = match sku.matches {
                [] => "# match    = { region = \"eu\" }    # without it, whatever no other SKU takes\n"
                    .to_owned(),
                matches => {
                    let matches: Vec<String> = matches
                        .iter()
                        .map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)))
                        .collect();
                    format!("match      = {{ {} }}\n", matches.join(", "))
                }
            };
            write!(
                text,
                "meter      = {}\n\
                 {matches}\
                 unit       = {}    # that is priced\n\
                 allocation = {}    # proportional, direct, standalone, even, fixed or by_meter\n\
                 \n\
                 \x20 [[sku.price]]\n\
                 \x20 from       = {}    # midnight in the provider's time zone\n\
                 \x20 # until    = \"…\"           # the day after the last one\n\
                 \x20 model      = \"per_unit\"    # or graduated, volume, package, zero\n\
                 \x20 unit_price = {}\n\
                 \x20 # free     = \"…\"           # so many first units of a month cost nothing\n",
                quoted(meter),
                quoted(&unit),
                quoted(sku.allocation),
                quoted(&sku.from.to_string()),
                quoted(sku.price),
            )?;
        }
    }
    Ok(vec![Piece { path, text, place: Place::End }])
}

/// The unit of a meter's result.
fn unit_of(folder: &Path, meter: &str) -> anyhow::Result<String> {
    let catalog = Catalog::load(&CatalogFiles::read_folder(folder)?);
    let Ok((catalog, _)) = catalog else {
        bail!("the catalog has problems, so that the unit must be said: add --unit, like --unit GBy");
    };
    let found = MeterType::new(meter).ok().and_then(|meter| catalog.meters.get(&meter));
    let Some(found) = found else {
        let known: Vec<&str> = catalog.meters.keys().map(MeterType::as_str).collect();
        bail!(
            "the meter {meter} is not declared; `atcost catalog new meter` adds it, or use one of: {}",
            known.join(", ")
        );
    };
    Ok(found.rules.unit_of_result(found.unit.as_str()))
}

/// A meter, at the end of meters.toml.
///
/// # Errors
/// When `unique` has no dimension to count.
pub fn meter(meter: &NewMeter<'_>) -> anyhow::Result<Vec<Piece>> {
    let NewMeter { id, unit, dimensions, aggregation } = meter;
    let dimensions_line = match dimensions {
        [] => "# dimensions = [\"region\"]    # that prices may match on\n".to_owned(),
        dimensions => {
            let names: Vec<String> = dimensions.iter().map(|name| quoted(name)).collect();
            format!("dimensions  = [{}]    # that prices may match on\n", names.join(", "))
        }
    };
    let more = match aggregation {
        Aggregation::Sum | Aggregation::Count | Aggregation::Rate => String::new(),
        Aggregation::TimeWeighted => {
            "carry       = \"1 h\"    # how long a level holds; what is silent for longer is a gap\n"
                .to_owned()
        }
        Aggregation::Unique => match dimensions.first() {
            Some(first) => {
                format!("distinct    = {}    # whose values are counted\n{}", quoted(first), per_account())
            }
            None => {
                bail!("unique counts the values of a dimension: add --dimension, like --dimension address")
            }
        },
        Aggregation::Max | Aggregation::Min | Aggregation::Average | Aggregation::Latest => per_account(),
    };
    let text = format!(
        "[[meter]]\n\
         type        = {}\n\
         # events    = \"…\"      # the type of the events that it reads, if it is another\n\
         unit        = {}    # of the events' values, in UCUM\n\
         {dimensions_line}\
         aggregation = {}\n\
         {more}",
        quoted(id),
        quoted(unit),
        quoted(aggregation.as_str()),
    );
    Ok(vec![Piece { path: "meters.toml".to_owned(), text, place: Place::End }])
}

fn per_account() -> String {
    "per         = \"account\"    # or customer, subject, resource: within what values become one\n"
        .to_owned()
}

impl Answer for Scaffold {
    fn json(&self) -> anyhow::Result<Value> {
        match self {
            Self::Added(added) => added.json(),
            Self::Printed(pieces) => {
                let pieces: serde_json::Map<String, Value> =
                    pieces.iter().map(|piece| (piece.path.clone(), json!(piece.text))).collect();
                Ok(pieces.into())
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Added(added) => added.text(),
            Self::Printed(pieces) if pieces.len() == 1 => pieces[0].text.clone(),
            Self::Printed(pieces) => {
                let texts = pieces.iter().map(|piece| format!("# {}\n\n{}", piece.path, piece.text));
                texts.collect::<Vec<_>>().join("\n")
            }
        }
    }
}
