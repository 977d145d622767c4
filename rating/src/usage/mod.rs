//! From ledger rows to usage totals: deduplicated, corrected, attributed, summed. No price is known
//! here.
//!
//! Sums are read from cells where those are kept (`derived::totals`), and are SQL over rows where they
//! are not. Plans are ordinary DataFusion plans: scans of pinned Parquet files, built-in functions, and
//! `dimension` and `event_key`, which are registered by name. So the same plans can run on any
//! executor that registers them.
//!
//! Rules, each one SQL expression:
//! - The first row of a (`source`, `id`) in ledger order counts; later ones are duplicates, or
//!   conflicts where the content differs.
//! - A correction takes its target out; of several corrections of one target the first counts, the
//!   others are conflicts.
//! - A row belongs to the customer whose binding of its subject contains the row's time, or to
//!   nobody.
//! - Time is cut at every instant where a period or a price begins or ends, so a total never
//!   straddles one.

// Modules in reading order.
mod text; // texts of columns and of SQL
mod dimension; // the SQL function for dimensions
mod event_key; // the SQL function for names of events
mod memory; // when plans spill
mod engine; // the engine, and the files that it scans
mod cuts; // the instants that no total straddles
mod summing; // cells and samples into sums
mod folded; // what counts, as usage totals have it
mod counted; // which record counts
mod by_days; // the files with rows of some days
mod attributed; // whose it is
mod reported; // an event with its place, and its corrections
mod totals; // how much
mod events; // the first ones behind a charge
mod largest; // the largest behind a number
mod earlier; // what series need of before a period
mod samples; // series by series
mod missing; // what is not there
mod holdings; // how many, by kind
mod streams; // how many, by stream
mod arrivals; // how many, and when the last, by meter and source
mod refused; // refused records, a page of them or all
mod mistakes; // conflicts and corrections that somebody has to look at
mod asked; // events for questions in SQL
mod observed; // for hints: values of dimensions, and when nobody was bound

pub use arrivals::{Arrivals, SourceArrivals};
pub use asked::EVENTS;
pub(crate) use asked::reading;
pub(crate) use attributed::AttributedRows;
pub use attributed::UsageKey;
pub use counted::{CountedRows, DEFAULT_MEMORY};
pub(crate) use cuts::{Cuts, ProviderCuts};
pub(crate) use earlier::Wanted;
pub use events::EventRow;
pub(crate) use events::LookedFor;
pub use holdings::LedgerCounts;
pub(crate) use largest::LargestEvent;
pub(crate) use missing::{SequenceGap, Silence};
pub use mistakes::{Mistake, MistakeKind, Mistakes, Target};
pub(crate) use observed::Observed;
pub use refused::{Cursor, RefusedBytes, RefusedRecord};
pub use reported::{ReportedEvent, RowPlace};
pub(crate) use samples::{Original, SampleRow, SeriesText, labels};
pub use streams::StreamCounts;
pub(crate) use totals::UsageTotal;
