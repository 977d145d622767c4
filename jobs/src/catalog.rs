//! The arguments of `atcost catalog`, and which verb they mean.
//!
//! The words are the verbs'; nothing is decided here.

use clap::{Args, Subcommand};
use jiff::civil::Date;
use jobs::clock;
use jobs::config::Config;
use jobs::show::{Format, Verdict, show};
use jobs::verbs;
use jobs::verbs::import::Wanted;
use jobs::verbs::scaffold::{NewMeter, NewProvider, NewSku};
use rating::meter::Aggregation;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub enum CatalogVerb {
    /// Read a catalog folder and say what would bill twice, never, or wrongly.
    Check { folder: PathBuf },
    /// Say what publishing a catalog folder would change in what was billed until now.
    Diff { folder: PathBuf },
    /// Show the versions that were published.
    List,
    /// Show the files of a version, or write them to a new folder.
    Show {
        /// The beginning of its digest, as `list` has it.
        version: String,
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Put a catalog folder into the journal as the version in force.
    Publish {
        folder: PathBuf,
        /// Change what was billed until now, and record why.
        #[arg(long, value_name = "REASON", value_parser = verbs::reason)]
        allow_past_changes: Option<String>,
    },
    /// Add a commented piece to a catalog folder: a provider, a SKU or a meter. Nothing that is there is
    /// overwritten, and the catalog has no problem afterwards that it had not before.
    #[command(subcommand)]
    New(NewVerb),
    /// Add the prices of another price list to a catalog folder, as a provider of their own.
    #[command(subcommand)]
    Import(ImportVerb),
}

#[derive(Args)]
pub struct IntoFolder {
    /// The catalog folder.
    #[arg(long, value_name = "FOLDER", default_value = "catalog")]
    pub catalog: PathBuf,
    /// Print the piece, instead of adding it to the folder.
    #[arg(long)]
    pub print: bool,
}

#[derive(Subcommand)]
pub enum NewVerb {
    /// A provider, with its terms and a price list of one fee.
    Provider {
        /// Its id, which is the name of its folder.
        #[arg(value_parser = verbs::pieces::folder_name)]
        id: String,
        /// Its name, for people; without it the id.
        #[arg(long)]
        name: Option<String>,
        /// The operator's account with it; without it the id.
        #[arg(long, value_name = "ACCOUNT")]
        billing_account: Option<String>,
        /// The currency of its invoices, like EUR.
        #[arg(long)]
        currency: String,
        /// Where its months begin and end, like Europe/Lisbon.
        #[arg(long, value_name = "ZONE")]
        time_zone: String,
        /// The day from which on its prices are in force, like 2025-10-01.
        #[arg(long, value_name = "DAY", value_parser = verbs::day)]
        from: Date,
        #[command(flatten)]
        into: IntoFolder,
    },
    /// A SKU, at the end of a provider's price list: of a meter, or a fee of every month.
    Sku {
        /// The provider, as its folder is called.
        #[arg(value_parser = verbs::pieces::folder_name)]
        provider: String,
        /// The SKU's id, as invoices name it.
        id: String,
        /// Its name, for people; without it the id.
        #[arg(long)]
        name: Option<String>,
        /// The meter whose events it takes; without it, it is a fee.
        #[arg(long, value_name = "TYPE")]
        meter: Option<String>,
        /// A value that events must have, like class=standard; may be given several times.
        #[arg(long = "match", value_name = "DIMENSION=VALUE", requires = "meter", value_parser = verbs::aggregate::dimension)]
        matches: Vec<(String, String)>,
        /// The unit that is priced, in UCUM; without it that of the meter's result.
        #[arg(long, requires = "meter")]
        unit: Option<String>,
        /// The price of one unit, or the fee of a month.
        #[arg(long)]
        price: String,
        /// Who bears it: proportional, direct, even, fixed, standalone or by_meter. Without it
        /// `proportional` with a meter, and `even` without one.
        #[arg(long, value_name = "RULE")]
        allocation: Option<String>,
        /// The day from which on the price is in force, like 2025-10-01.
        #[arg(long, value_name = "DAY", value_parser = verbs::day)]
        from: Date,
        #[command(flatten)]
        into: IntoFolder,
    },
    /// A meter, at the end of meters.toml.
    Meter {
        /// Its type, which is the CloudEvents type of its events.
        id: String,
        /// The unit of the events' values, in UCUM, like GBy.
        #[arg(long)]
        unit: String,
        /// A dimension that prices may match on; may be given several times.
        #[arg(long = "dimension", value_name = "NAME")]
        dimensions: Vec<String>,
        /// How the values become one.
        #[arg(long, default_value = "sum", value_parser = verbs::scaffold::aggregation)]
        aggregation: Aggregation,
        #[command(flatten)]
        into: IntoFolder,
    },
}

#[derive(Subcommand)]
pub enum ImportVerb {
    /// The open price list of models, model_prices_and_context_window.json of LiteLLM. What cannot be
    /// taken over is listed with the reason.
    Litellm {
        file: PathBuf,
        /// The `litellm_provider` whose models are taken over; needed where the list has several.
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
        /// The provider's id in the catalog; without it the same.
        #[arg(long)]
        id: Option<String>,
        /// A model; may be given several times. Without it all of the provider's.
        #[arg(long = "model", value_name = "NAME")]
        models: Vec<String>,
        /// The currency of the prices. The list is in US dollars.
        #[arg(long, default_value = "USD")]
        currency: String,
        /// Where the provider's months begin and end.
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        time_zone: String,
        /// The day from which on the prices are in force, like 2025-10-01. The list does not say it.
        #[arg(long, value_name = "DAY", value_parser = verbs::day)]
        from: Date,
        /// The catalog folder.
        #[arg(long, value_name = "FOLDER", default_value = "catalog")]
        catalog: PathBuf,
    },
}

/// Runs a verb about catalogs; those that need a ledger read the configuration.
pub async fn run(verb: &CatalogVerb, config: &Path, format: Format) -> anyhow::Result<Verdict> {
    let config = || Config::load(config);
    match verb {
        CatalogVerb::Check { folder } => show(&verbs::catalog::check(folder)?, format),
        CatalogVerb::Diff { folder } => {
            show(&verbs::catalog::diff(&config()?, folder, clock::now()).await?, format)
        }
        CatalogVerb::List => show(&verbs::listing::catalogs(&config()?).await?, format),
        CatalogVerb::Show { version, out } => {
            show(&verbs::listing::catalog(&config()?, version, out.as_deref()).await?, format)
        }
        CatalogVerb::Publish { folder, allow_past_changes } => {
            let reason = allow_past_changes.as_deref();
            show(&verbs::catalog::publish(&config()?, folder, reason, clock::now()).await?, format)
        }
        CatalogVerb::New(new) => add_new(new, format).await,
        CatalogVerb::Import(ImportVerb::Litellm {
            file,
            provider,
            id,
            models,
            currency,
            time_zone,
            from,
            catalog,
        }) => {
            let (provider, id) = (provider.as_deref(), id.as_deref());
            let wanted = Wanted { provider, id, models, currency, time_zone, from: *from };
            show(&verbs::import::litellm(file, catalog, &wanted).await?, format)
        }
    }
}

async fn add_new(new: &NewVerb, format: Format) -> anyhow::Result<Verdict> {
    let (into, pieces) = match new {
        NewVerb::Provider { id, name, billing_account, currency, time_zone, from, into } => {
            let provider = NewProvider {
                id,
                name: name.as_deref().unwrap_or(id),
                billing_account: billing_account.as_deref().unwrap_or(id),
                currency,
                time_zone,
                from: *from,
            };
            (into, verbs::scaffold::provider(&provider))
        }
        NewVerb::Sku { provider, id, name, meter, matches, unit, price, allocation, from, into } => {
            let usual = if meter.is_some() { "proportional" } else { "even" };
            let sku = NewSku {
                provider,
                id,
                name: name.as_deref().unwrap_or(id),
                meter: meter.as_deref(),
                matches,
                unit: unit.as_deref(),
                price,
                allocation: allocation.as_deref().unwrap_or(usual),
                from: *from,
            };
            (into, verbs::scaffold::sku(&into.catalog, &sku, into.print)?)
        }
        NewVerb::Meter { id, unit, dimensions, aggregation, into } => {
            let meter = NewMeter { id, unit, dimensions, aggregation: *aggregation };
            (into, verbs::scaffold::meter(&meter)?)
        }
    };
    show(&verbs::scaffold::scaffold(&into.catalog, pieces, into.print).await?, format)
}
